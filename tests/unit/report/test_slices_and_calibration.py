"""Slices and popularity groups: what is drawn and said is what was measured."""

import re
from typing import Any

import pytest

from diffrec_core.report.calibration import calibration
from diffrec_core.report.slices import slice_table, slices
from tests.unit.report.runs import make_model
from tests.unit.report.test_figures import polyline, rects


def sliced(name: str, short: float, long: float, **changes: Any) -> Any:
    """A model with a value for short and for long histories, and one for the warm users."""
    rows = [
        {"slice": "5 to 9", "from": 5.0, "to": 9.0, "users": 30.0, "recall@20": short},
        {"slice": "10 to 99", "from": 10.0, "to": 99.0, "users": 13.0, "recall@20": long},
    ]
    warm = [{"slice": "warm", "users": 43.0, "recall@20": (short + long) / 2}]
    return make_model(name, 0.2, slices={"history_length": rows, "history": warm}, **changes)


def test_the_winner_is_told_where_another_model_is_better():
    models = [sliced("ease", 0.4, 0.2, selected=True), sliced("slim", 0.1, 0.3)]
    figure = slices(models, "recall@20")
    assert figure is not None
    assert figure.finding == (
        "ease is the best on 1 of 2 slices; elsewhere: slim (items in the history: 10–99). "
        "Every user of the test part has a history."
    )
    ((title, _, drawing),) = figure.panels  # one slice of warm users alone is no panel
    assert title == "items in the history"
    assert "the winner: 5–9 0.4000 (30 users), 10–99 0.2000 (13 users)." in drawing
    winner, other = polyline(drawing, "of-model accent"), polyline(drawing, "of-model plain")
    assert [x for x, _ in winner] == [x for x, _ in other]
    assert winner[0][1] < winner[1][1]  # y points down
    assert winner[0][1] < other[0][1]
    assert winner[1][1] > other[1][1]


def test_a_winner_that_is_the_best_everywhere_is_told_so():
    models = [sliced("ease", 0.4, 0.4, selected=True), sliced("popularity", 0.1, 0.3)]
    figure = slices(models, "recall@20")
    assert figure is not None
    assert figure.finding.startswith("ease is the best on all 2 slices.")
    assert "of-model usual" in figure.panels[0][2]  # the baseline


def test_the_table_has_every_slice_of_every_model():
    models = [sliced("ease", 0.4, 0.2, selected=True), sliced("slim", 0.1, 0.3)]
    table = slice_table(models, "recall@20")
    assert table is not None
    assert table.groups == [("items in the history", 2), ("with or without a history", 1)]
    assert [column.heading for column in table.columns] == ["5–9", "10–99", "warm"]
    rows = {model.name: [(cell.text, cell.best) for cell in cells] for model, cells in table.rows}
    assert rows["ease"] == [("0.4000", True), ("0.2000", False), ("0.3000", True)]
    assert rows["slim"] == [("0.1000", False), ("0.3000", True), ("0.2000", False)]


def test_without_slices_there_is_neither_figure_nor_table():
    models = [sliced("ease", 0.4, 0.2, selected=True), make_model("old", 0.1)]
    assert slices(models, "recall@20") is None
    assert slice_table(models, "recall@20") is None


def grouped(name: str, *shares: float, **changes: Any) -> Any:
    had = dict(zip(("head", "torso", "tail"), (0.5, 0.3, 0.2), strict=True))
    recommended = dict(zip(had, shares, strict=True))
    groups = {
        group: {"history_share": had[group], "recommended_share@20": recommended[group]}
        for group in had
    }
    return make_model(name, 0.2, popularity_groups=groups, **changes)


def test_shares_fill_the_bar_in_order_and_the_nearest_model_is_named():
    models = [grouped("ease", 0.8, 0.1, 0.1, selected=True), grouped("slim", 0.5, 0.25, 0.25)]
    figure = calibration(models, 20)
    assert figure is not None
    assert figure.finding == (
        "Users had head 50%, torso 30%, tail 20%. ease recommends head 80%, torso 10%, tail 10%; "
        "nearest to what users had is slim: head 50%, torso 25%, tail 25%."
    )
    drawing = figure.panels[0][2]
    heads, torsos, tails = (rects(drawing, group) for group in ("head", "torso", "tail"))
    assert len(heads) == len(torsos) == len(tails) == 3  # histories, and two models
    for head, torso, tail in zip(heads, torsos, tails, strict=True):
        assert torso["x"] == pytest.approx(head["x"] + head["width"], abs=0.2)
        assert tail["x"] == pytest.approx(torso["x"] + torso["width"], abs=0.2)
    assert heads[1]["width"] == pytest.approx(1.6 * heads[0]["width"], abs=0.3)
    assert re.findall(r"\d+% / \d+% / \d+%", drawing)[1] == "80% / 10% / 10%"


def test_the_winner_may_be_the_nearest():
    figure = calibration([grouped("ease", 0.5, 0.3, 0.2, selected=True)], 20)
    assert figure is not None
    assert figure.finding.endswith(": nearest to what users had.")


def test_unmeasured_groups_are_no_figure():
    assert calibration([make_model("ease", 0.2, selected=True)], 20) is None
    assert calibration([grouped("ease", 0.5, 0.3, 0.2, selected=True)], 10) is None
