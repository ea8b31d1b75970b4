"""Popularity of recommended items, beside the training data and beside users' histories."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from diffrec_core.evaluation.items import GROUPS
from diffrec_core.report import canvas
from diffrec_core.report.data import ModelResult
from diffrec_core.report.facts import percent
from diffrec_core.report.style import LIGHT
from diffrec_core.report.svg import MOST_NAMED, Panel, ReportFigure

_COLOURS = ("accent", "torso", "tail")
_POPULARITY_GROUPS = 10
_Shares = tuple[float, ...]
"""Of `GROUPS`."""


def popularity(
    models: Sequence[ModelResult], item_popularity: NDArray[np.int64], list_length: int
) -> ReportFigure:
    """Show which share of the slots goes to each popularity group, head to tail.

    Args:
        models: the winner first.
        item_popularity: (I,) interactions of each item in the train part.
        list_length: slots of each user's list.
    """
    groups = popularity_groups(item_popularity)
    reference = group_shares(item_popularity, groups)
    shares = {model.name: group_shares(model.item_counts, groups) for model in models}
    highest = max([*reference, *(value for row in shares.values() for value in row)])
    panels = []
    for model in models:
        row = shares[model.name]
        reached = int((model.item_counts > 0).sum())
        remark = f"recommends {reached:,} of {len(item_popularity):,} items"
        numbers = ", ".join(map(percent, row))
        label = f"{model.name} {remark}. Share of slots by group, most popular first: {numbers}."
        drawing = draw_groups(row, reference, highest, canvas.tone(model.selected))
        panels.append(Panel(model.name, remark, drawing, label))
    heads = _heads_in_words({name: row[0] for name, row in shares.items()}, models[0].name)
    finding = (
        f"The {len(groups[0]):,} most popular of {len(item_popularity):,} items have "
        f"{percent(reference[0])} of the training interactions. Their share of the "
        f"top-{list_length} slots: {heads}."
    )
    return ReportFigure(
        "popularity", "Popularity of recommended items", finding, panels, "popularity"
    )


def _heads_in_words(heads: Mapping[str, float], winner: str) -> str:
    """Name every model's share, or where there are many the winner's, the least and the most."""
    if len(heads) <= MOST_NAMED:
        return ", ".join(f"{name} {percent(share)}" for name, share in heads.items())
    least, most = (choose(heads, key=lambda name: heads[name]) for choose in (min, max))
    return (
        f"{winner} {percent(heads[winner])}, from {percent(heads[least])} ({least}) "
        f"to {percent(heads[most])} ({most})"
    )


def popularity_groups(item_popularity: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    """Divide items into up to ten groups of nearly equal size, most popular first.

    Args:
        item_popularity: (I,) interactions; ties keep the order of the items.

    Returns:
        Item indices of each group.
    """
    order = np.argsort(-item_popularity, kind="stable")
    return np.array_split(order, min(_POPULARITY_GROUPS, len(order)))


def group_shares(counts: NDArray[np.int64], groups: Sequence[NDArray[np.int64]]) -> list[float]:
    """Share of all counts that falls into each group; zeros where nothing was counted.

    >>> group_shares(np.array([1, 3]), [np.array([1]), np.array([0])])
    [0.75, 0.25]
    """
    total = max(int(counts.sum()), 1)
    return [int(counts[group].sum()) / total for group in groups]


@canvas.drawing_style()
def draw_groups(
    shares: Sequence[float], reference: Sequence[float], highest: float, colour: str
) -> Figure:
    """A bar per popularity group, head first, with a line at the training data's share."""
    figure, axes = canvas.new_axes((264, 160), (40, 12, 8, 22), "y")
    places = np.arange(1, len(shares) + 1)
    axes.bar(places, shares, 0.72, color=colour)
    axes.hlines(reference, places - 0.45, places + 0.45, color=LIGHT["text"], linewidth=2.4)
    axes.set_xlim(0.5, len(shares) + 0.5)
    axes.set_ylim(0.0, highest or 1.0)
    axes.set_xticks(places, ["head", *map(str, places[1:-1]), "tail"][: len(places)])
    axes.yaxis.set_major_formatter(lambda value, _: percent(value))
    return figure


def calibration(models: Sequence[ModelResult], cutoff: int) -> ReportFigure | None:
    """Shares of head, torso and tail in histories and in recommendations, on the test part.

    None where they were not measured, or where no user has a history.
    """
    had = _shares(models[0].popularity_groups, "history_share")
    rows = {m.name: _shares(m.popularity_groups, f"recommended_share@{cutoff}") for m in models}
    measured = {name: shares for name, shares in rows.items() if shares}
    if had is None or not measured:
        return None
    lines = {"users' histories": had, **measured}
    numbers = "; ".join(f"{name} {_in_words(shares)}" for name, shares in lines.items())
    finding = _finding(models[0].name, measured, had)
    label = f"Shares of head, torso and tail: {numbers}. {finding}"
    panel = Panel(f"Of the first {cutoff} recommended items", "", draw_shares(lines), label)
    heading = "Calibration by popularity groups"
    return ReportFigure("calibration", heading, finding, [panel], "calibration")


def _shares(groups: Mapping[str, Mapping[str, float]], key: str) -> _Shares | None:
    known = all(key in groups.get(name, {}) for name in GROUPS)
    return tuple(groups[name][key] for name in GROUPS) if known else None


def _in_words(shares: _Shares) -> str:
    return ", ".join(f"{name} {percent(share)}" for name, share in zip(GROUPS, shares, strict=True))


def _finding(winner: str, measured: Mapping[str, _Shares], had: _Shares) -> str:
    """Name the model nearest to what users had, by the sum of differences of shares."""

    def distance(name: str) -> float:
        return sum(abs(a - b) for a, b in zip(measured[name], had, strict=True))

    nearest = min(measured, key=distance)
    words = f"Users had {_in_words(had)}. "
    if winner in measured:
        words += f"{winner} recommends {_in_words(measured[winner])}"
    if nearest == winner:
        return f"{words}: nearest to what users had."
    return f"{words}; nearest to what users had is {nearest}: {_in_words(measured[nearest])}."


@canvas.drawing_style()
def draw_shares(lines: Mapping[str, _Shares]) -> Figure:
    """A bar per line, filled by three shares; dotted lines carry on the edges of the first one."""
    figure, axes = canvas.new_axes((440, 26 + 24 * len(lines)), (132, 20, 110, 6))
    canvas.name_rows(axes, list(lines), list(lines)[:1])
    axes.set_xlim(0.0, 1.0)
    axes.set_xticks([])
    shares = np.array(list(lines.values()))
    edges = np.cumsum(shares, axis=1)
    for number, colour in enumerate(_COLOURS):
        begin = edges[:, number] - shares[:, number]
        axes.barh(range(len(lines)), shares[:, number], 0.66, begin, color=LIGHT[colour])
    for edge in edges[0, :2]:
        axes.axvline(edge, color=LIGHT["text"], linestyle=":", linewidth=1)
    canvas.note(axes, " / ".join(GROUPS), (1.0, -0.5), (8, 2))
    for row, values in enumerate(lines.values()):
        words = " / ".join(map(percent, values))
        canvas.note(axes, words, (1.0, row), (8, 0), va="center_baseline")
    return figure
