"""The speed benchmark: turns, rows and ratios, and its sides at toy size."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.flop_counter import FlopCounterMode

from benchmarks import speed
from benchmarks.processes import Lap, WorkError
from benchmarks.results import Results, Row, show
from benchmarks.settings import model_settings
from benchmarks.timing import limits, ours, synthetic
from benchmarks.timing.cases import Available, all_cases, epoch_sides, flops_per_user
from benchmarks.timing.comparisons import SideSpec, Turns, compare
from diffrec_core.models.kinds import create
from tests.benchmarks import toys
from tests.benchmarks.conftest import LATENT, TINY, laps_of


class FakeSide:
    """Laps of given seconds; fails where there is none."""

    def __init__(self, name: str, seconds: list[float], log: list[str]) -> None:
        self.name, self.seconds, self.log = name, iter(seconds), log
        self.laps: list[Lap] = []

    def lap(self) -> None:
        self.log.append(self.name)
        for seconds in self.seconds:
            self.laps.append(Lap(seconds, 100.0 + len(self.laps), {}))
            return
        raise WorkError("ValueError: it is broken")

    def close(self) -> None:
        self.log.append(f"close {self.name}")


def take_turns(rounds: int, missing: str = "", **seconds: list[float]) -> tuple[Turns, list[str]]:
    """Turns of fake sides, and what happened; a side without seconds does not even start."""
    log: list[str] = []
    sides = {name: SideSpec(toys.count, {"name": name}) for name in seconds}
    if missing:
        sides["missing"] = SideSpec(toys.count, {}, missing)

    def start(function: Any, settings: Any) -> Any:
        name = settings["name"]
        if not seconds[name]:
            raise WorkError("ValueError: it is broken")
        return FakeSide(name, seconds[name], log)

    return Turns(sides, rounds, start), log


def verdict(row: Row) -> tuple[Any, ...]:
    return tuple(row[name] for name in ("ours", "other", "ratio", "target", "met", "note"))


def test_sides_take_turns_and_medians_are_compared() -> None:
    turns, log = take_turns(3, ours=[1.0, 2.0, 9.0], them=[6.0, 5.0, 1.0])
    assert log == ["ours", "them"] * 3 + ["close ours", "close them"]
    assert turns.peak_mib("ours") == 102.0
    row = compare(turns, "a.case", "them", "ours", "them", target=2.0)
    assert (row["case"], row["against"], row["unit"]) == ("a.case", "them", "s")
    assert verdict(row) == (2.0, 5.0, 2.5, "≥ 2", True, "")


@pytest.mark.parametrize(("target", "met"), [(1.1, False), (1.25, True), (None, None)])
def test_ours_is_divided_by_a_limit(target: float | None, met: bool | None) -> None:
    turns, _ = take_turns(1, ours=[5.0])
    limit = Turns.peak_mib
    row = compare(
        turns, "a", "it", "ours", lambda t: limit(t, "ours") / 25, is_limit=True, target=target
    )
    assert verdict(row)[:3] == (5.0, 4.0, 1.25)
    assert (row["met"], row["target"]) == (met, f"≤ {target:g}" if target else "")
    assert compare(turns, "a", "it", "ours", 2.5, is_limit=True)["ratio"] == 2.0


def test_what_is_missing_is_noted_and_not_started() -> None:
    turns, log = take_turns(1, missing="not measured: nobody gave it", ours=[1.0])
    row = compare(turns, "a", "it", "ours", "missing", target=2.0)
    assert verdict(row) == (None, None, None, "≥ 2", None, "not measured: nobody gave it")
    assert compare(turns, "a", "it", "ours", 4.0)["ratio"] == 4.0
    assert log == ["ours", "close ours"]


@pytest.mark.parametrize("them", [[], [1.0]], ids=["at once", "in its second lap"])
def test_a_side_that_fails_costs_its_own_rows(
    them: list[float], caplog: pytest.LogCaptureFixture
) -> None:
    turns, log = take_turns(3, ours=[1.0, 2.0, 3.0], them=them)
    row = compare(turns, "a", "it", "ours", "them")
    assert (row["ratio"], row["note"]) == (None, "failed: ValueError: it is broken")
    assert compare(turns, "a", "it", "ours", 4.0)["ratio"] == 2.0
    assert log.count("ours") == 3
    assert log.count("them") == (2 if them else 0)
    assert "close ours" in log
    assert "them: ValueError: it is broken" in caplog.text


def test_real_sides_take_turns() -> None:
    turns = Turns({"a": SideSpec(toys.count, {}), "b": SideSpec(toys.fail_in_lap, {"lap": 0})}, 2)
    assert [lap.facts["number"] for lap in turns.laps("a")] == [1, 2]
    assert turns.missing == {"b": "failed: ValueError: as it is meant to"}


def test_without_data_or_checkout_rows_say_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"amx_bf16": True})
    cases = {
        name: case for name, case in all_cases().items() if name.split(".")[0].endswith("diffrec")
    }
    assert len(cases) == 4
    for case in cases.values():
        assert {row["note"] for row in case(Available())} == {
            "not measured: DIFFREC_BENCH_DATA names no data"
        }
    missing = {
        name: spec.missing for name, spec in epoch_sides("diffrec", Available("data")).items()
    }
    nobody = "not measured: REFERENCE names no checkout"
    assert {name for name, why in missing.items() if why == nobody} == {"authors", "no workers"}
    assert {why for name, why in missing.items() if why != nobody} == {""}


def test_settings_of_models_are_allowed() -> None:
    for name in ("diffrec", "l_diffrec"):
        for spec in epoch_sides(name, Available("data")).values():
            create(spec.settings["model"], "model")


@pytest.mark.parametrize("model", [TINY, LATENT], ids=["diffrec", "l_diffrec"])
def test_an_epoch_and_an_evaluation_are_laps(wide_data: str, model: dict[str, Any]) -> None:
    told = {"data": wide_data, "model": model}
    assert len(laps_of(ours.train_epoch, told, 3)) == 4
    facts = laps_of(ours.evaluate, {**told, "train_epochs": 1})[-1].facts
    assert 0 < facts["recall@100"] <= 1


@pytest.mark.parametrize("model", [TINY, LATENT], ids=["diffrec", "l_diffrec"])
def test_a_catalogue_is_trained_then_scored(model: dict[str, Any]) -> None:
    section = {**model, "batch_size": 10, "epochs": 3, "validate_every_epochs": 3}
    told = {"shape": [60, 200, 400], "model": section, "steps": 2, "users": 7}
    phases = [lap.facts["phase"] for lap in laps_of(ours.catalogue, told, 5)]
    # the end of the training is reported once more
    assert phases == ["train", "train", "validate", "validate", "evaluate", "evaluate"]


def test_a_large_evaluation_measures_everything_beside_its_scores_alone() -> None:
    told = {"shape": [60, 200, 400], "batch": 16}
    facts = laps_of(ours.evaluate_large, told)[1].facts
    assert facts["users"] == 60
    assert {f"{name}@100" for name in ("recall", "map", "gini", "diversity")} <= set(facts)
    assert len(laps_of(ours.scores_and_top_k, told)) == 2


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_limits_do_an_epoch_a_lap(wide_data: str, precision: str) -> None:
    model = {"hidden_dims": [2, 5], "batch_size": 5, "precision": precision}
    assert len(laps_of(limits.train_step, {"data": wide_data, "model": model})) == 2
    assert laps_of(limits.products, {"model": model, "items": 6})[-1].facts == {"flops": 120}


def test_arithmetic_of_a_training_step_is_what_torch_counts() -> None:
    network, users, model = limits.mlp([8], 30, 30), 4, {"hidden_dims": [8], "steps": 3}
    with FlopCounterMode(display=False) as counter:
        network(torch.rand(users, 30)).sum().backward()
    training, scoring = flops_per_user({**model, "latent": False}, 30)
    assert counter.get_total_flops() == users * training
    assert scoring == 2 * 30 * 8 + 2 * 2 * 8 * 8


def test_a_catalogue_is_scaled_to_an_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    batch = model_settings("diffrec", "amazon-book-clean")["batch_size"]
    steps_of_an_epoch = -(-synthetic.AMAZON_BOOK.users // batch)
    train, evaluation = Lap(8.0, 900.0, {"phase": "train"}), Lap(3.0, 950.0, {"phase": "evaluate"})
    laps = {"ours": [train, Lap(99.0, 9.0, {"phase": "validate"}), evaluation]}
    laps["products"] = [Lap(1.0, 1.0, {"flops": 1e12})]
    turns, _ = take_turns(0)
    turns._laps = laps
    monkeypatch.setattr("benchmarks.timing.cases.Turns", lambda sides, rounds: turns)
    epoch, users, memory = all_cases()["catalogue.diffrec"](Available())
    assert epoch["ours"] == pytest.approx(8.0 * steps_of_an_epoch / 4, rel=1e-4)
    assert epoch["other"] == pytest.approx(
        10.0 * synthetic.AMAZON_BOOK.items * 1000 * synthetic.AMAZON_BOOK.users / 1e12, rel=1e-4
    )
    assert users["ours"] == 3.0
    assert (memory["ours"], memory["unit"], memory["met"]) == (950.0, "MiB", True)


@given(st.integers(1, 40), st.integers(20, 60), st.integers(0, 200), st.integers(0, 5))
@settings(deadline=None, max_examples=30)
def test_synthetic_pairs_are_distinct_and_as_many_as_asked(
    users: int, items: int, more: int, seed: int
) -> None:
    shape = synthetic.Shape(users, items, min(users + more, users * items // 3 + users))
    made = synthetic.histories(shape, seed=seed)
    assert made.lengths.sum() == shape.interactions
    assert len(made) == users
    assert made.lengths.min() >= 1
    assert len(np.unique(made.rows * items + made.items)) == shape.interactions
    assert np.array_equal(made.items, synthetic.histories(shape, seed=seed).items)


def test_synthetic_items_are_of_very_different_popularity() -> None:
    made = synthetic.histories(synthetic.Shape(2000, 1000, 40_000), seed=0)
    counts = np.sort(np.bincount(made.items, minlength=1000))[::-1]
    assert counts[:100].sum() > 0.3 * counts.sum()
    assert counts[500:].sum() > 0.1 * counts.sum()


def inputs(out: Path, **options: Any) -> speed.SpeedInputs:
    return speed.SpeedInputs(data="gone", out=out, **options)


def row(case: str, note: str = "", **numbers: Any) -> Row:
    measured = {"ratio": 1.0, "ours": 1.0, "other": 1.0, "met": None, **numbers}
    if note:
        measured = dict.fromkeys(measured)
    return {"case": case, "against": "it", "target": "", "unit": "s", "note": note, **measured}


@pytest.fixture
def fake_cases(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    def fake(**rows: Row) -> None:
        cases = {name: lambda available, name=name: [rows[name]] for name in rows}
        monkeypatch.setattr(speed, "all_cases", lambda: cases)

    return fake


def test_chosen_cases_are_measured_and_other_rows_stay(
    tmp_path: Path, fake_cases: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    results = Results(tmp_path / "speed.json", ("case", "against"))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    fake_cases(a=row("a"), b=row("b", ratio=2.0))
    speed.run(inputs(tmp_path))
    fake_cases(a=row("a", ratio=7.0), b=row("b", ratio=7.0))
    speed.run(inputs(tmp_path, cases=("b",), threads=3))
    assert [(row["case"], row["ratio"]) for row in results.rows()] == [("a", 1.0), ("b", 7.0)]
    assert os.environ["OMP_NUM_THREADS"] == "3"  # of the sides to come


def test_a_failure_replaces_a_row_and_a_missing_side_does_not(
    tmp_path: Path, fake_cases: Callable[..., None]
) -> None:
    results = Results(tmp_path / "speed.json", ("case", "against"))
    fake_cases(a=row("a"), b=row("b"))
    speed.run(inputs(tmp_path))
    fake_cases(a=row("a", "not measured: no checkout"), b=row("b", "failed: it is broken"))
    with pytest.raises(speed.SpeedError, match="1 of 2 comparisons failed: b"):
        speed.run(inputs(tmp_path))
    assert [(row["ratio"], row["note"]) for row in results.rows()] == [
        (1.0, ""),
        (None, "failed: it is broken"),
    ]


def test_the_table_shows_the_verdict(capsys: pytest.CaptureFixture[str]) -> None:
    low = row("a", ratio=1.154, ours=1234.5, target="≤ 1.1", met=False)
    show(speed.table([low, row("b", "not measured: [none] given")]))
    first, second = capsys.readouterr().out.splitlines()[2:4]
    assert first.split() == ["a", "it", "1.15", "≤", "1.1", "no", "1,234", "1", "s"]
    assert "not measured: [none] given" in second
