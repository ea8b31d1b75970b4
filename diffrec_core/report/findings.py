"""What each figure says: its panels, and its finding in words and numbers."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from diffrec_core.errors import DataError
from diffrec_core.report import figures
from diffrec_core.report.data import ModelResult, ReportData
from diffrec_core.report.figures import Span, percent
from diffrec_core.report.svg import Point
from diffrec_core.report.tables import write_seconds

_POPULARITY_GROUPS = 10


@dataclass(frozen=True, slots=True)
class Figure:
    """Panels (title, remark, SVG) under one heading.

    Attributes:
        name: for links.
        heading: what is shown.
        finding: what is seen.
        panels: the drawings.
        legend: name of the template's key to the marks.
    """

    name: str
    heading: str
    finding: str
    panels: list[tuple[str, str, Markup]]
    legend: str


def build_figures(models: Sequence[ModelResult], data: ReportData) -> list[Figure]:
    """Return the figures that the run has data for; models best first."""
    curves = training_curves(models)
    return [
        metric_comparison(models, data.cutoff),
        accuracy_and_time(models, f"recall@{data.cutoff}"),
        *([curves] if curves else []),
        popularity(models, data.item_popularity),
    ]


def metric_comparison(models: Sequence[ModelResult], cutoff: int) -> Figure:
    """Bars of recall and ndcg on both parts."""
    metrics = [f"recall@{cutoff}", f"ndcg@{cutoff}"]
    winner, shown = models[0], metrics[0]
    best = max(models, key=lambda model: model.test[shown])
    finding = f"{winner.name} has test {shown} {winner.test[shown]:.4f}"
    if best.test[shown] > winner.test[shown]:
        finding += f"; {best.name}, not chosen by validation, has more: {best.test[shown]:.4f}."
    else:
        finding += ", the highest." if len(models) > 1 else "."
    panels = []
    for metric in metrics:
        numbers = "; ".join(
            f"{m.name} test {m.test[metric]:.4f}, validation {m.validation[metric]:.4f}"
            for m in models
        )
        label = f"Bars of {metric}: {numbers}."
        panels.append((metric, "", figures.bars(models, metric, label)))
    return Figure("comparison", "Metric comparison", finding, panels, "parts")


def accuracy_and_time(models: Sequence[ModelResult], metric: str) -> Figure:
    """Test accuracy against the time to fit."""
    efficient = [
        model for model in models if not any(_dominates(other, model, metric) for other in models)
    ]
    named = ", ".join(
        f"{model.name} ({write_seconds(model.fit_seconds)} s, {model.test[metric]:.4f})"
        for model in sorted(efficient, key=lambda model: model.fit_seconds)
    )
    finding = f"No model is both quicker to fit and better than those on the dashed line: {named}."
    label = f"Test {metric} against seconds to fit. {finding}"
    panel = (f"Test {metric}", "", figures.scatter(models, metric, label))
    return Figure("time", "Accuracy and time to fit", finding, [panel], "")


def _dominates(other: ModelResult, model: ModelResult, metric: str) -> bool:
    ours = (-other.fit_seconds, other.test[metric])
    theirs = (-model.fit_seconds, model.test[metric])
    return ours != theirs and ours[0] >= theirs[0] and ours[1] >= theirs[1]


def training_curves(models: Sequence[ModelResult]) -> Figure | None:
    """A panel for each model that was trained in epochs; None if there is no such model."""
    curves = {m.name: (_series(m, _loss_key(m)), _series(m, "validation")) for m in models}
    trained = {name: curve for name, curve in curves.items() if any(curve)}
    if not trained:
        return None
    highest = max((value for _, points in trained.values() for _, value in points), default=1.0)
    panels, findings = [], []
    for name, (losses, validation) in trained.items():
        remark = _best_epoch(losses, validation)
        label = f"Training of {name}: {remark}. {_loss_in_words(losses)}"
        drawing = figures.training_curve(losses, validation, highest, label)
        panels.append((name, remark, drawing))
        findings.append(f"{name} {remark}")
    finding = "; ".join(findings) + "."
    untrained = [name for name in curves if name not in trained]
    if untrained:
        finding += f" Without epochs: {', '.join(untrained)}."
    return Figure("training", "Training curves", finding, panels, "curves")


def _loss_key(model: ModelResult) -> str:
    """`loss`, or else the first column that is named like one."""
    keys = dict.fromkeys(key for record in model.curve for key in record)
    return "loss" if "loss" in keys else next((key for key in keys if "loss" in key), "loss")


def _series(model: ModelResult, key: str) -> list[Point]:
    """Points of a curve where it was measured and is a number."""
    return [
        (record["epoch"], record[key])
        for record in model.curve
        if key in record and math.isfinite(record[key])
    ]


def _best_epoch(losses: Sequence[Point], validation: Sequence[Point]) -> str:
    last = max(epoch for epoch, _ in [*losses, *validation])
    if not validation:
        return f"trained to epoch {last:g}, not validated"
    epoch, value = max(validation, key=lambda point: point[1])
    return f"best {value:.4f} in epoch {epoch:g} of {last:g}"


def _loss_in_words(losses: Sequence[Point]) -> str:
    if not losses:
        return "No loss was recorded."
    (first, start), (last, end) = losses[0], losses[-1]
    return f"Loss {start:.4g} in epoch {first:g}, {end:.4g} in epoch {last:g}."


def popularity(models: Sequence[ModelResult], item_popularity: NDArray[np.int64]) -> Figure:
    """Which share of the top-20 slots goes to which popularity group, head to tail."""
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
        drawing = figures.popularity_groups(row, reference, highest, label, figures.tone(model))
        panels.append((model.name, remark, drawing))
    heads = ", ".join(f"{name} {percent(row[0])}" for name, row in shares.items())
    finding = (
        f"The {len(groups[0]):,} most popular of {n_items:,} items have "
        f"{percent(reference[0])} of the training interactions. Their share of the top-20 "
        f"slots: {heads}."
    )
    return Figure("popularity", "Popularity of recommended items", finding, panels, "popularity")


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


def split_timeline(protocol: Mapping[str, Any]) -> Figure | None:
    """The time spans of the parts; None if `parts` does not give them.

    Raises:
        DataError: a time is not ISO 8601.
    """
    parts = protocol.get("parts")
    facts = parts if isinstance(parts, Mapping) else {}
    spans = [
        Span(name, _time(name, part["first"]), _time(name, part["last"]), _size(part))
        for name, part in facts.items()
        if isinstance(part, Mapping) and {"first", "last"} <= part.keys()
    ]
    if not spans:
        return None
    overlap = any(before.last > after.first for before, after in pairwise(spans))
    finding = (
        "The spans overlap: the cut is not at one time for all users."
        if overlap
        else "The parts follow one another in time."
    )
    named = "; ".join(f"{s.name} {s.first:%Y-%m-%d} to {s.last:%Y-%m-%d}, {s.note}" for s in spans)
    panel = ("", "", figures.timeline(spans, f"Time spans: {named}. {finding}"))
    return Figure("timeline", "Time spans", finding, [panel], "")


def _time(part: str, value: object) -> datetime:
    try:
        time = datetime.fromisoformat(str(value))
    except ValueError as error:
        raise DataError(
            f"report: protocol.parts.{part} has the time {value!r}: must be ISO 8601, "
            f"such as 1998-04-22T23:10:38+00:00"
        ) from error
    return time if time.tzinfo else time.replace(tzinfo=UTC)


def _size(part: Mapping[str, Any]) -> str:
    sizes = [f"{part[key]:,} {key}" for key in ("interactions", "users", "items") if key in part]
    return ", ".join(sizes)
