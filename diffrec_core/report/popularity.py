"""How popular what is recommended is: against the training data, and against what users had."""

from collections.abc import Mapping, Sequence

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from diffrec_core.report import svg
from diffrec_core.report.data import ModelResult
from diffrec_core.report.figure import MOST_NAMED, Figure
from diffrec_core.report.figures import percent, tone
from diffrec_core.report.svg import Scale

_POPULARITY_GROUPS = 10


def popularity(
    models: Sequence[ModelResult], item_popularity: NDArray[np.int64], list_length: int
) -> Figure:
    """Which share of the slots goes to which popularity group, head to tail.

    Args:
        models: the winner first.
        item_popularity: (I,) interactions of each item in the train part.
        list_length: slots of each user's list.
    """
    groups = popularity_groups(item_popularity)
    reference = group_shares(item_popularity, groups)
    shares = {model.name: group_shares(model.item_counts, groups) for model in models}
    highest = max([*reference, *(value for row in shares.values() for value in row)])
    n_items = len(item_popularity)
    panels = []
    for model in models:
        row = shares[model.name]
        reached = int((model.item_counts > 0).sum())
        remark = f"recommends {reached:,} of {n_items:,} items"
        numbers = ", ".join(map(percent, row))
        label = f"{model.name} {remark}. Share of slots by group, most popular first: {numbers}."
        drawing = draw_popularity_groups(row, reference, highest, label, tone(model))
        panels.append((model.name, remark, drawing))
    heads = _in_words({name: row[0] for name, row in shares.items()}, models[0].name)
    finding = (
        f"The {len(groups[0]):,} most popular of {n_items:,} items have "
        f"{percent(reference[0])} of the training interactions. Their share of the "
        f"top-{list_length} slots: {heads}."
    )
    return Figure("popularity", "Popularity of recommended items", finding, panels, "popularity")


def _in_words(heads: Mapping[str, float], winner: str) -> str:
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


def draw_popularity_groups(
    shares: Sequence[float], reference: Sequence[float], highest: float, label: str, style: str
) -> Markup:
    """A bar per popularity group, head first, with a line at the training data's share.

    Args:
        shares: of the recommended slots, by group.
        reference: of the training interactions, by group.
        highest: of the axis, which all models of a run share.
        label: what a screen reader says.
        style: of the bars, see `tone`.
    """
    width, height, left, bottom = 264, 168, 40, 136
    step = (width - 8 - left) / len(shares)
    y = Scale(0.0, highest or 1.0, bottom, 12)
    parts = [svg.grid_y(y, left, width - 8, percent)]
    for number, (share, usual) in enumerate(zip(shares, reference, strict=True)):
        x = left + number * step
        parts += [
            svg.rect(x + step * 0.14, y(share), step * 0.72, bottom - y(share), style),
            svg.line([(x + 1, y(usual)), (x + step - 1, y(usual))], "usual"),
            svg.text(x + step / 2, bottom + 14, str(number + 1), "middle small"),
        ]
    parts.append(svg.text(left, height - 4, "head", "small"))
    parts.append(svg.text(width - 8, height - 4, "tail", "end small"))
    return svg.picture(width, height, label, parts)
