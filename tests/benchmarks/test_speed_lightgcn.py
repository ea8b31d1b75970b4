"""LightGCN in the speed benchmark: its sides at toy size, and what their rows say."""

from typing import Any

import pytest

from benchmarks import _lightgcn
from benchmarks._comparison import Row
from benchmarks._laps import Lap
from benchmarks._specs import Others
from diffrec_core.common.errors import DataError
from tests.benchmarks.conftest import laps_of

TINY = {"embedding_dim": 4, "epochs": 3, "validate_every_epochs": 1, "patience_epochs": 3}
SHAPE = [60, 200, 400]
OTHERS = Others(data="somewhere")


def rows_of(case: str, others: Others = OTHERS, **laps: list[Lap]) -> list[Row]:
    """The rows of a case, from laps of its sides."""
    found = [c for group in _lightgcn.lightgcn(others, 1) for c in group.comparisons]
    return [c.row(laps) for c in found if c.case == case and set(c.sides) <= set(laps)]


def test_it_is_trained_until_a_level(wide_data: str) -> None:
    told = {"data": wide_data, "model": TINY, "recall@20": 0.0}
    laps = laps_of(_lightgcn.to_level, told, 1)
    assert laps[-1].facts["epochs"] == 1
    assert 0 <= laps[-1].facts["recall@20"] <= 1
    with pytest.raises(DataError, match="stayed below 2"):
        laps_of(_lightgcn.to_level, {**told, "recall@20": 2.0}, 1)


def test_a_number_from_another_machine_gets_no_verdict() -> None:
    ours = [Lap(10.0, 300.0, {"recall@20": 0.138, "epochs": 7})]
    (quoted,) = rows_of("lightgcn.to_recbole", ours=ours)
    assert (quoted.against, quoted.other, quoted.ratio) == ("RecBole, quoted", 756.0, 75.6)
    assert (quoted.target, quoted.met) == ("", None)
    assert "on two cores of another machine, not measured in this run" in quoted.note
    recbole = [Lap(5.0, 1.0, {})]
    measured, again = rows_of("lightgcn.to_recbole", ours=ours, recbole=recbole)
    assert (measured.other, measured.target, measured.met) == (150.0, "≥ 10", True)
    assert again == quoted


def test_a_pretraining_is_a_lap_of_all_its_epochs() -> None:
    laps = laps_of(_lightgcn.pretraining, {"shape": SHAPE, "model": TINY}, 2)
    assert [lap.facts.get("epochs") for lap in laps] == [None, 3, 3]
    (group,) = (
        g for g in _lightgcn.lightgcn(OTHERS, 1) if g.comparisons[0].case == "lightgcn.pretraining"
    )
    settings = group.sides["ours"].settings
    assert settings["shape"] == (943, 1008, 55_000)
    assert settings["model"]["patience_epochs"] == settings["model"]["epochs"] == 100
    (row,) = rows_of("lightgcn.pretraining", ours=[Lap(18.0, 300.0, {})])
    assert (row.ratio, row.target, row.met) == (0.9, "≤ 1", True)


@pytest.mark.parametrize(("recall", "met"), [(0.1748, True), (0.1699, False)])
def test_convergence_is_a_recall_to_reach(recall: float, met: bool) -> None:
    facts = {"recall@20": recall, "epochs": 40, "best_epoch": 30}
    (row,) = rows_of("lightgcn.convergence", ours=[Lap(60.0, 500.0, facts)])
    assert (row.ours, row.other, row.met) == (recall, 0.17, met)
    assert row.note == "stopped after 40 epochs, best 30; one seed"


def test_convergence_is_stopped_by_the_selection_and_measured_on_the_test(
    wide_data: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []
    fit = _lightgcn.fit_lightgcn

    def watched(*arguments: Any) -> Any:
        asked.append(arguments[-1].name)
        return fit(*arguments)

    monkeypatch.setattr(_lightgcn, "fit_lightgcn", watched)
    laps = laps_of(_lightgcn.convergence, {"data": wide_data, "model": TINY}, 2)
    assert asked == ["valid"]
    assert len(laps) == 2
    assert set(laps[1].facts) >= {"epochs", "best_epoch", "recall@20", "ndcg@10"}


@pytest.mark.parametrize(("third", "met"), [(600.0, True), (650.0, False)])
def test_memory_is_held_to_a_straight_line(third: float, met: bool) -> None:
    sides = {"1": [Lap(1.0, 400.0, {})], "2": [Lap(1.0, 500.0, {})], "3": [Lap(1.0, third, {})]}
    (row,) = rows_of("lightgcn.memory", **sides)
    assert (row.ours, row.other, row.met) == (third, 600.0, met)
    assert row.note.startswith("400, 500, ")
    (group,) = (
        g for g in _lightgcn.lightgcn(OTHERS, 1) if g.comparisons[0].case == "lightgcn.memory"
    )
    shapes = [side.settings["shape"] for side in group.sides.values()]
    assert [shape.interactions for shape in shapes] == [500_000, 1_000_000, 1_500_000]
    assert len({shape[:2] for shape in shapes}) == 1


def test_an_epoch_is_a_lap() -> None:
    assert len(laps_of(_lightgcn.epoch, {"shape": SHAPE, "model": TINY}, 2)) == 2
