"""Slices: what is drawn and said is what was measured."""

from typing import Any

from diffrec_core.report.slices import slice_table, slices
from diffrec_core.report.style import LIGHT
from tests.unit.report.drawn import points, texts
from tests.unit.report.runs import make_model


def sliced(name: str, short: float, long: float, **changes: Any) -> Any:
    """A model with a value for short and for long histories, and one for the warm users."""
    rows = [
        {"slice": "5 to 9", "from": 5.0, "to": 9.0, "users": 30.0, "recall@20": short},
        {"slice": "10 to 99", "from": 10.0, "to": 99.0, "users": 13.0, "recall@20": long},
    ]
    warm = [{"slice": "warm", "users": 43.0, "recall@20": (short + long) / 2}]
    return make_model(name, 0.2, slices={"history_length": rows, "history": warm}, **changes)


def test_the_finding_names_the_slices_where_another_model_is_better():
    models = [sliced("ease", 0.4, 0.2, selected=True), sliced("slim", 0.1, 0.3)]
    figure = slices(models, "recall@20")
    assert figure is not None
    assert figure.finding == (
        "ease is the best on 1 of 2 slices; elsewhere: slim (items in the history: 10–99). "
        "Every user of the test part has a history."
    )
    (panel,) = figure.panels  # one slice of warm users alone is no panel
    assert panel.title == "items in the history"
    assert "the winner: 5–9 0.4000 (30 users), 10–99 0.2000 (13 users)." in panel.label
    lines = {str(line.get_gid()): points(line) for line in panel.drawing.axes[0].lines}
    assert lines == {"tip:slim": [(0, 0.1), (1, 0.3)], "tip:ease": [(0, 0.4), (1, 0.2)]}
    assert list(lines)[-1] == "tip:ease"  # on top
    assert {"5–9", "10–99", "30", "13", "0.400", "0.200"} <= set(texts(panel.drawing))


def test_the_finding_says_that_the_winner_is_the_best_everywhere():
    models = [sliced("ease", 0.4, 0.4, selected=True), sliced("popularity", 0.1, 0.3)]
    figure = slices(models, "recall@20")
    assert figure is not None
    assert figure.finding.startswith("ease is the best on all 2 slices.")
    baseline, winner = figure.panels[0].drawing.axes[0].lines
    assert baseline.get_color() == LIGHT["text"]
    assert winner.get_color() == LIGHT["accent"]


def test_zeros_alone_are_drawn():
    figure = slices([sliced("ease", 0.0, 0.0, selected=True)], "recall@20")
    assert figure is not None
    assert figure.panels[0].drawing.axes[0].get_ylim() == (0, 1)


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
