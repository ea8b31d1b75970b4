"""Accuracy against what it costs: time to fit, and memory."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from markupsafe import Markup

from diffrec_core.report import svg
from diffrec_core.report.data import ModelResult
from diffrec_core.report.figure import Figure
from diffrec_core.report.figures import tone
from diffrec_core.report.svg import Point, Scale
from diffrec_core.report.tables import write_seconds

_CHARACTER = 7.2  # px: a wide guess at the mean width of a character of 12.5 px text
_LOG_RATIO = 20.0
"""Costs that differ by more than this factor are drawn on a logarithmic axis."""


@dataclass(frozen=True, slots=True)
class Cost:
    """Something that a model costs.

    Attributes:
        axis: its name and unit.
        better: what a model would be that costs less and is better.
        value: reads it.
        write: formats it, with its unit.
        least: lower costs are drawn here: a logarithmic axis has no zero.
    """

    axis: str
    better: str
    value: Callable[[ModelResult], float]
    write: Callable[[float], str]
    least: float


TIME = Cost(
    "seconds to fit",
    "is both quicker to fit and better",
    lambda model: model.fit_seconds,
    lambda value: f"{write_seconds(value)} s",
    0.001,
)
MEMORY = Cost(
    "peak memory while fitting, MiB",
    "both needs less memory and is better",
    lambda model: model.peak_memory_mib,
    "{:,.0f} MiB".format,
    1.0,
)


def accuracy_and_cost(models: Sequence[ModelResult], metric: str) -> Figure:
    """Test accuracy against time and against memory."""
    findings, panels = [], []
    for cost in (TIME, MEMORY):
        finding = _finding(models, metric, cost)
        label = f"Test {metric} against {cost.axis}. {finding}"
        drawing, nameless = scatter(models, metric, cost, label)
        remark = f"no room to name {', '.join(nameless)}" if nameless else ""
        findings.append(finding)
        panels.append((f"Test {metric} and {cost.axis}", remark, drawing))
    return Figure("cost", "Accuracy and cost", " ".join(findings), panels, "scatter")


def _finding(models: Sequence[ModelResult], metric: str, cost: Cost) -> str:
    efficient = [m for m in models if not any(_dominates(o, m, metric, cost) for o in models)]
    named = ", ".join(
        f"{model.name} ({cost.write(cost.value(model))}, {model.test[metric]:.4f})"
        for model in sorted(efficient, key=cost.value)
    )
    return f"No model {cost.better} than those on the dashed line: {named}."


def _dominates(other: ModelResult, model: ModelResult, metric: str, cost: Cost) -> bool:
    ours = (-cost.value(other), other.test[metric])
    theirs = (-cost.value(model), model.test[metric])
    return ours != theirs and ours[0] >= theirs[0] and ours[1] >= theirs[1]


def scatter(
    models: Sequence[ModelResult], metric: str, cost: Cost, label: str
) -> tuple[Markup, list[str]]:
    """Test accuracy against a cost, with the line of the best accuracy for each cost.

    The first model is drawn last, on top.

    Returns:
        The drawing, and the models that it has no room to name.
    """
    width, height, left, bottom = 440, 320, 48, 278
    costs = [max(cost.value(model), cost.least) for model in models]
    values = [model.test[metric] for model in models]
    margin = (max(values) - min(values)) * 0.12 or 0.01
    x = _cost_axis(costs, left, width - 12)
    y = Scale(max(0.0, min(values) - margin), max(values) + margin, bottom, 14)
    points = [(x(spent), y(value)) for spent, value in zip(costs, values, strict=True)]
    names, nameless = _point_labels(points, models, (left, width))
    kind = " (logarithmic)" if x.log else ""
    parts = [
        svg.grid_x(x, 14, bottom),
        svg.grid_y(y, left, width - 12),
        svg.line(_staircase(points), "frontier"),
        *names,
        *(_point(points[i], models[i], metric, cost) for i in reversed(range(len(models)))),
        svg.text((left + width) / 2, height - 6, f"{cost.axis}{kind}", "middle"),
    ]
    return svg.picture(width, height, label, parts), nameless


def _point(at: Point, model: ModelResult, metric: str, cost: Cost) -> Markup:
    told = f"{model.name}: {metric} {model.test[metric]:.4f}, {cost.write(cost.value(model))}"
    return svg.titled(told, svg.circle(at, 6, tone(model)))


def _cost_axis(costs: Sequence[float], start: float, end: float) -> Scale:
    if max(costs) <= _LOG_RATIO * min(costs):
        margin = (max(costs) - min(costs)) * 0.08 or 0.1 * max(costs)
        return Scale(min(costs) - margin, max(costs) + margin, start, end)
    return Scale(_decade(min(costs), -1), _decade(max(costs), 1), start, end, log=True)


def _decade(value: float, direction: int) -> float:
    """Return a power of ten below (-1) or above (1) a value, so that no point is on the edge."""
    power = math.log10(value)
    edge = math.floor(power - 0.1) if direction < 0 else math.ceil(power + 0.1)
    return float(10.0**edge)


def _staircase(points: Sequence[Point]) -> list[Point]:
    """Corners of the line above which no point lies, from left to right.

    >>> _staircase([(9.0, 1.0), (1.0, 5.0), (3.0, 6.0)])  # y points down
    [(1.0, 5.0), (9.0, 5.0), (9.0, 1.0)]
    """
    corners: list[Point] = []
    for x, y in sorted(points):
        if corners and y >= corners[-1][1]:
            continue
        if corners:
            corners.append((x, corners[-1][1]))
        corners.append((x, y))
    return corners


def _point_labels(
    points: Sequence[Point], models: Sequence[ModelResult], limits: tuple[float, float]
) -> tuple[list[Markup], list[str]]:
    """Name each point beside it where no other name, point or line is, the first models first.

    The first one is named in any case.
    """
    taken = [(x - 7, y - 7, x + 7, y + 7) for x, y in points]
    taken += [(a, min(b, d), c, max(b, d)) for (a, b), (c, d) in pairwise(_staircase(points))]
    labels: list[Markup] = []
    nameless: list[str] = []
    for point, model in zip(points, models, strict=True):
        name = svg.clip(model.name, 18)
        around = _spots(point, len(name))
        spots = [spot for spot in around if limits[0] <= spot[0][0] and spot[0][2] <= limits[1]]
        free = [spot for spot in spots if not any(_overlap(spot[0], other) for other in taken)]
        if not free and labels:
            nameless.append(model.name)
            continue
        box, (at, base, anchor) = next(iter(free or spots or around))
        taken.append(box)
        labels.append(svg.text(at, base, name, f"{anchor} strong" if model.selected else anchor))
    return labels, nameless


_Box = tuple[float, float, float, float]


def _spots(point: Point, length: int) -> list[tuple[_Box, tuple[float, float, str]]]:
    """Where the name of a point may stand, best first: its box; its anchor, base line and style."""
    x, y = point
    size = length * _CHARACTER
    anchors = [
        *((x + 10, y + 4, "start"), (x - 10, y + 4, "end")),
        *((x, y - 12, "middle"), (x, y + 20, "middle")),
        *((x + 8, y - 10, "start"), (x - 8, y - 10, "end")),
        *((x + 8, y + 18, "start"), (x - 8, y + 18, "end")),
    ]
    begins = {"start": 0.0, "middle": size / 2, "end": size}
    return [
        ((at - begins[anchor], base - 11, at - begins[anchor] + size, base + 3), (at, base, anchor))
        for at, base, anchor in anchors
    ]


def _overlap(a: _Box, b: _Box) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]
