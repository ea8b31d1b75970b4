"""Accuracy by slice: for whom, and on which items, each model does well."""

from collections.abc import Sequence
from typing import Any

from matplotlib.figure import Figure

from diffrec_core.report import canvas
from diffrec_core.report.data import BASELINE, ModelResult
from diffrec_core.report.style import LIGHT
from diffrec_core.report.svg import Panel, ReportFigure
from diffrec_core.report.tables import Column, Leaderboard, table_of

KINDS = {
    "history_length": "items in the history",
    "days_since_last_action": "days since the last action",
    "history": "with or without a history",
    "target_popularity": "popularity of the items to find",
}
"""Kinds of slices of users and targets, in words."""

_Slice = dict[str, Any]


def slices(models: Sequence[ModelResult], metric: str) -> ReportFigure | None:
    """A panel per kind of slice with a line per model; None if no slices were measured.

    Args:
        models: best first; measured on the same slices.
        metric: one that each slice has.
    """
    kinds = [kind for kind in _kinds(models) if len(models[0].slices[kind]) > 1]
    if not kinds:
        return None
    panels = []
    for kind in kinds:
        of_winner = _in_words(models[0].slices[kind], metric)
        label = f"Test {metric} of {len(models)} models by {KINDS[kind]}; the winner: {of_winner}."
        panels.append(Panel(KINDS[kind], "", draw_slices(models, kind, metric), label))
    finding = _finding(models, kinds, metric)
    return ReportFigure("slices", f"Test {metric} by slice", finding, panels, "slices")


def slice_table(models: Sequence[ModelResult], metric: str) -> Leaderboard | None:
    """A row per model, a column per slice; None if no slices were measured."""
    columns = [
        Column(KINDS[kind], _name(row), _reader(kind, number, metric))
        for kind in _kinds(models)
        for number, row in enumerate(models[0].slices[kind])
    ]
    return table_of(models, columns) if columns else None


def _reader(kind: str, number: int, metric: str) -> Any:
    return lambda model: model.slices[kind][number][metric]


def _kinds(models: Sequence[ModelResult]) -> list[str]:
    """The kinds that every model was measured by."""
    return [kind for kind in KINDS if all(model.slices.get(kind) for model in models)]


def _name(row: _Slice) -> str:
    """Write a slice as short as it can be read.

    >>> _name({"slice": "new"}), _name({"slice": "3", "from": 3.0, "to": 3.0})
    ('new', '3')
    >>> _name({"slice": "0.0 to 12.4", "from": 0.0, "to": 12.4})
    '0–12'
    """
    if "from" not in row:
        return str(row["slice"])
    ends = [f"{row[end]:.1f}" if 0 < row[end] < 1 else f"{row[end]:.0f}" for end in ("from", "to")]
    return "–".join(dict.fromkeys(ends))


def _in_words(rows: Sequence[_Slice], metric: str) -> str:
    return ", ".join(f"{_name(r)} {r[metric]:.4f} ({r['users']:,.0f} users)" for r in rows)


def _finding(models: Sequence[ModelResult], kinds: Sequence[str], metric: str) -> str:
    """Say on which slices the winner is the best, and who is elsewhere."""
    cells = [(kind, n) for kind in kinds for n in range(len(models[0].slices[kind]))]
    elsewhere: dict[str, list[str]] = {}
    for kind, number in cells:
        best = max(models, key=lambda model: float(model.slices[kind][number][metric]))
        if best is not models[0]:
            place = f"{KINDS[kind]}: {_name(models[0].slices[kind][number])}"
            elsewhere.setdefault(best.name, []).append(place)
    best_on = len(cells) - sum(map(len, elsewhere.values()))
    if len(models) == 1:
        words = f"{models[0].name} on {len(cells)} slices."
    elif not elsewhere:
        words = f"{models[0].name} is the best on all {len(cells)} slices."
    else:
        others = "; ".join(f"{name} ({', '.join(places)})" for name, places in elsewhere.items())
        words = f"{models[0].name} is the best on {best_on} of {len(cells)} slices; "
        words += f"elsewhere: {others}."
    states = {row["slice"] for row in models[0].slices.get("history", [])}
    return words + (" Every user of the test part has a history." if states == {"warm"} else "")


@canvas.drawing_style()
def draw_slices(models: Sequence[ModelResult], kind: str, metric: str) -> Figure:
    """A line per model over the slices; the winner's on top, with its numbers."""
    figure, axes = canvas.new_axes((268, 208), (36, 26, 8, 44), "y")
    for model in reversed(models):
        look: dict[str, Any] = {"color": LIGHT["mark"], "linewidth": 1.4, "alpha": 0.55}
        if model.selected:
            look = {"color": LIGHT["accent"], "linewidth": 2.6, "marker": "o", "markersize": 8}
        elif model.name == BASELINE:
            look = {"color": LIGHT["text"], "linewidth": 1.8}
        values = [row[metric] for row in model.slices[kind]]
        axes.plot(range(len(values)), values, gid=canvas.TIP + model.name, **look)
    rows = models[0].slices[kind]
    axes.set_xlim(-0.5, len(rows) - 0.5)
    axes.set_ylim(0.0, axes.dataLim.ymax or 1.0)
    axes.set_xticks(range(len(rows)), map(_name, rows))
    axes.tick_params(axis="x", labelcolor=LIGHT["text"])
    for number, row in enumerate(rows):
        canvas.note(axes, f"{row[metric]:.3f}", (number, row[metric]), (0, 8), ha="center")
        below = {"xycoords": ("data", "axes fraction"), "ha": "center", "va": "top"}
        canvas.note(axes, f"{row['users']:,.0f}", (number, 0.0), (0, -20), **below)
    return figure
