"""Rows and ratios of the speed benchmark, from sides that measure nothing."""

from typing import Any

import pytest

from benchmarks._comparison import (
    Comparison,
    Group,
    Reading,
    Row,
    SideSpec,
    peak_mib,
    total_seconds,
)
from benchmarks._laps import Lap, SideError


class FakeSide:
    """Laps of given seconds."""

    def __init__(self, name: str, seconds: list[float], log: list[str]) -> None:
        self.name, self.seconds, self.log = name, iter(seconds), log
        self.laps: list[Lap] = []

    def lap(self) -> bool:
        self.log.append(self.name)
        self.laps.append(Lap(next(self.seconds), 100.0 + len(self.laps), {}))
        return True

    def close(self) -> None:
        self.log.append(f"close {self.name}")


def run(
    comparisons: list[Comparison],
    seconds: dict[str, list[float]],
    rounds: int = 3,
    **specs: SideSpec,
) -> tuple[list[Row], list[str]]:
    """Run a group of fake sides; returns its rows and what happened."""
    log: list[str] = []
    sides = {name: specs.get(name, SideSpec(name)) for name in (*seconds, *specs)}

    def start(spec: SideSpec) -> Any:
        return FakeSide(spec.function, seconds[spec.function], log)

    return Group(sides, comparisons, rounds).run(start), log


def compare(other: tuple[Reading, ...] | float, **more: Any) -> Comparison:
    return Comparison("a.case", "it", Reading("ours"), other, **more)


def test_others_time_divided_by_ours_of_medians_in_turns() -> None:
    rows, log = run(
        [compare((Reading("them"),), target=2.0)],
        {"ours": [1.0, 2.0, 9.0], "them": [6.0, 5.0, 1.0]},
    )
    assert log == ["ours", "them"] * 3 + ["close ours", "close them"]
    (row,) = rows
    assert (row.ours, row.other, row.ratio, row.target, row.met) == (2.0, 5.0, 2.5, "≥ 2", True)
    assert row.peak_mib == 102.0


@pytest.mark.parametrize(("target", "met"), [(1.1, False), (1.25, True), (None, None)])
def test_ours_divided_by_a_sum_of_limits(target: float | None, met: bool | None) -> None:
    limits = (Reading("a"), Reading("b"))
    rows, _ = run(
        [compare(limits, wanted="less", target=target)],
        {"ours": [5.0], "a": [3.0], "b": [1.0]},
        rounds=1,
    )
    assert (rows[0].other, rows[0].ratio, rows[0].met) == (4.0, 1.25, met)


@pytest.mark.parametrize(("recall", "met"), [(0.18, True), (0.16, False)])
def test_a_quality_is_to_be_at_least_the_target(recall: float, met: bool) -> None:
    rows, _ = run([compare(0.17, wanted="higher", target=1.0)], {"ours": [recall]}, rounds=1)
    assert (rows[0].ratio, rows[0].target, rows[0].met) == (recall / 0.17, "≥ 1", met)


def test_totals_constants_and_fewer_laps() -> None:
    rows, log = run(
        [
            Comparison("a", "b", Reading("ours", total_seconds), (Reading("slow"),)),
            Comparison("a", "known", Reading("ours", peak_mib), 204.0, wanted="less"),
        ],
        {"ours": [1.0, 2.0, 3.0], "slow": [60.0]},
        slow=SideSpec("slow", most_laps=1),
    )
    assert [row.ratio for row in rows] == [10.0, 0.5]
    assert log[:4] == ["ours", "slow", "ours", "ours"]


def test_what_is_missing_is_skipped_and_noted() -> None:
    absent = SideSpec("absent", missing="not measured: nobody gave it")
    rows, log = run(
        [compare((Reading("absent"),), target=2.0), compare(4.0)],
        {"ours": [1.0, 1.0, 1.0]},
        absent=absent,
    )
    assert rows[0].note == "not measured: nobody gave it"
    assert (rows[0].ratio, rows[0].met, rows[0].target) == (None, None, "≥ 2")
    assert rows[1].ratio == 4.0
    assert "absent" not in log


class Failing(FakeSide):
    """Fails in its second lap."""

    def lap(self) -> bool:
        if self.laps:
            raise SideError("them ended with 1\nit is broken")
        return super().lap()


@pytest.mark.parametrize("at_once", [True, False])
def test_a_side_that_fails_costs_its_own_comparisons(
    at_once: bool, caplog: pytest.LogCaptureFixture
) -> None:
    log: list[str] = []

    def start(spec: SideSpec) -> Any:
        if spec.function == "them" and at_once:
            raise SideError("them ended with 1\nit is broken")
        kind = Failing if spec.function == "them" else FakeSide
        return kind(spec.function, [1.0, 2.0, 3.0], log)

    sides = {name: SideSpec(name) for name in ("ours", "them")}
    rows = Group(sides, [compare((Reading("them"),)), compare(4.0)], 3).run(start)
    assert [(row.note, row.ratio) for row in rows] == [("failed: it is broken", None), ("", 2.0)]
    assert log.count("ours") == 3
    assert "close ours" in log
    assert "it is broken" in caplog.text


def test_a_side_that_ends_is_not_asked_again() -> None:
    log: list[str] = []

    class Short(FakeSide):
        def lap(self) -> bool:
            log.append("asked")
            return len(self.laps) < 2 and super().lap()

    sides = {"ours": SideSpec("ours")}
    rows = Group(sides, [compare(4.0)], 9).run(lambda spec: Short("ours", [1.0, 3.0], log))
    assert log.count("asked") == 3
    assert rows[0].ratio == 2.0
