"""Accuracy by slice: for whom, and on which items, each model does well."""

from collections.abc import Sequence
from typing import Any

from markupsafe import Markup

from diffrec_core.report import svg
from diffrec_core.report.data import BASELINE, ModelResult
from diffrec_core.report.figure import Figure
from diffrec_core.report.figures import tone
from diffrec_core.report.svg import Scale
from diffrec_core.report.tables import Column, Leaderboard, table_of

KINDS = {
    "history_length": "items in the history",
    "days_since_last_action": "days since the last action",
    "history": "with or without a history",
    "target_popularity": "popularity of the items to find",
}
"""What `evaluate` divides users and targets by, in words."""

_Slice = dict[str, Any]


def slices(models: Sequence[ModelResult], metric: str) -> Figure | None:
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
        drawing = draw_slices(models, kind, metric, label)
        panels.append((KINDS[kind], "", drawing))
    finding = _finding(models, kinds, metric)
    return Figure("slices", f"Test {metric} by slice", finding, panels, "slices")


def slice_table(models: Sequence[ModelResult], metric: str) -> Leaderboard | None:
    """A row per model, a column per slice; None if no slices were measured."""
    columns = [
        Column(KINDS[kind], _name(row), _reader(kind, number, metric))
        for kind in _kinds(models)
        for number, row in enumerate(models[0].slices[kind])
    ]
    groups = [(KINDS[kind], len(models[0].slices[kind])) for kind in _kinds(models)]
    return table_of(models, columns, groups) if columns else None


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
    """On which slices the winner is the best, and who is it elsewhere."""
    cells = [(kind, n) for kind in kinds for n in range(len(models[0].slices[kind]))]
    elsewhere: dict[str, list[str]] = {}
    for kind, number in cells:
        best = max(models, key=lambda model: float(model.slices[kind][number][metric]))
        if best is not models[0]:
            place = f"{KINDS[kind]}: {_name(models[0].slices[kind][number])}"
            elsewhere.setdefault(best.name, []).append(place)
    best_on = len(cells) - sum(map(len, elsewhere.values()))
    if len(models) == 1:
        told = f"{models[0].name} on {len(cells)} slices."
    elif not elsewhere:
        told = f"{models[0].name} is the best on all {len(cells)} slices."
    else:
        others = "; ".join(f"{name} ({', '.join(places)})" for name, places in elsewhere.items())
        told = f"{models[0].name} is the best on {best_on} of {len(cells)} slices; "
        told += f"elsewhere: {others}."
    states = {row["slice"] for row in models[0].slices.get("history", [])}
    return told + (" Every user of the test part has a history." if states == {"warm"} else "")


def draw_slices(models: Sequence[ModelResult], kind: str, metric: str, label: str) -> Markup:
    """A line per model over the slices, the winner's with its numbers.

    Args:
        models: the winner first; it is drawn on top.
        kind: of slices.
        metric: what is drawn.
        label: what a screen reader says.
    """
    width, height, left, bottom = 268, 208, 36, 164
    rows = models[0].slices[kind]
    step = (width - 8 - left) / len(rows)
    xs = [left + step * (number + 0.5) for number in range(len(rows))]
    highest = max(row[metric] for model in models for row in model.slices[kind])
    y = Scale(0.0, highest or 1.0, bottom, 26)
    parts = [svg.grid_y(y, left, width - 8)]
    for model in reversed(models):
        points = [(x, y(row[metric])) for x, row in zip(xs, model.slices[kind], strict=True)]
        style = "accent" if model.selected else "usual" if model.name == BASELINE else tone(model)
        parts.append(svg.titled(model.name, svg.line(points, f"of-model {style}")))
    for x, row in zip(xs, rows, strict=True):
        parts += [
            svg.circle((x, y(row[metric])), 3.5, "accent"),
            svg.text(x, y(row[metric]) - 8, f"{row[metric]:.3f}", "middle small"),
            svg.text(x, bottom + 16, _name(row), "middle dense" if len(rows) > 3 else "middle"),
            svg.text(x, bottom + 32, f"{row['users']:,.0f}", "middle small"),
        ]
    return svg.picture(width, height, label, parts)
