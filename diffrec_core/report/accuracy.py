"""Accuracy of all models: on both parts, and against what it costs in time and memory."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator
from matplotlib.transforms import Bbox

from diffrec_core.report import canvas
from diffrec_core.report.data import ModelResult
from diffrec_core.report.style import LIGHT
from diffrec_core.report.svg import Panel, ReportFigure
from diffrec_core.report.tables import write_seconds

_LOG_RATIO = 20.0
"""Costs that differ by more than this factor are drawn on a logarithmic axis."""
_SPOTS = (
    *((9, 0, "left", "center"), (-9, 0, "right", "center")),
    *((0, 9, "center", "bottom"), (0, -9, "center", "top")),
    *((7, 6, "left", "bottom"), (-7, 6, "right", "bottom")),
    *((7, -6, "left", "top"), (-7, -6, "right", "top")),
)
"""Where the name of a point may stand, best first: offset in pixels, and alignment."""


def metric_comparison(models: Sequence[ModelResult], cutoff: int) -> ReportFigure:
    """Bars of recall and ndcg on both parts; the winner first."""
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
        panels.append(Panel(metric, "", draw_bars(models, metric), label))
    return ReportFigure("comparison", "Metric comparison", finding, panels, "parts")


@canvas.drawing_style()
def draw_bars(models: Sequence[ModelResult], metric: str) -> Figure:
    """Two bars per model, test with its interval above validation."""
    figure, axes = canvas.new_axes((440, 30 + 42 * len(models)), (132, 8, 48, 22), "x")
    canvas.name_rows(axes, [model.name for model in models], {m.name for m in models if m.selected})
    rows, colours = np.arange(len(models)), [canvas.tone(model.selected) for model in models]
    tests = np.array([model.test[metric] for model in models])
    certainties = [model.certainty.get("test") for model in models]
    known = [certainty.intervals if certainty else {} for certainty in certainties]
    lows, highs = np.array([k.get(metric, (v, v)) for k, v in zip(known, tests, strict=True)]).T
    axes.barh(rows - 0.19, tests, 0.36, color=colours)
    axes.hlines(rows - 0.19, lows, highs, color=LIGHT["text"], linewidth=1.6)
    for row, (value, end) in enumerate(zip(tests, np.maximum(tests, highs), strict=True)):
        look = canvas.STRONG | {"va": "center_baseline"}
        canvas.note(axes, f"{value:.4f}", (end, row - 0.19), (5, 0), **look)
    validations = [model.validation[metric] for model in models]
    bars = axes.barh(rows + 0.19, validations, 0.29, color="none", edgecolor=colours, linewidth=1.5)
    axes.bar_label(bars, fmt="{:.4f}", padding=5, **canvas.QUIET)
    axes.set_xlim(left=0.0)
    return figure


@dataclass(frozen=True, slots=True)
class Cost:
    """Something that a model costs.

    Attributes:
        axis: its name and unit.
        better: said of a model that costs less and is more accurate.
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


def accuracy_and_cost(models: Sequence[ModelResult], metric: str) -> ReportFigure:
    """Test accuracy against time and against memory."""
    findings, panels = [], []
    for cost in (TIME, MEMORY):
        best = _undominated(models, metric, cost)
        named = ", ".join(
            f"{model.name} ({cost.write(cost.value(model))}, {model.test[metric]:.4f})"
            for model in best
        )
        finding = f"No model {cost.better} than those on the dashed line: {named}."
        drawing, nameless = draw_scatter(models, metric, cost, best)
        remark = f"no room to name {', '.join(nameless)}" if nameless else ""
        label = f"Test {metric} against {cost.axis}. {finding}"
        findings.append(finding)
        panels.append(Panel(f"Test {metric} and {cost.axis}", remark, drawing, label))
    return ReportFigure("cost", "Accuracy and cost", " ".join(findings), panels, "scatter")


def _undominated(models: Sequence[ModelResult], metric: str, cost: Cost) -> list[ModelResult]:
    """Return the models that no other one beats in one thing and equals in the other."""

    def dominates(other: ModelResult, model: ModelResult) -> bool:
        ours = (-cost.value(other), other.test[metric])
        theirs = (-cost.value(model), model.test[metric])
        return ours != theirs and ours[0] >= theirs[0] and ours[1] >= theirs[1]

    best = [m for m in models if not any(dominates(other, m) for other in models)]
    return sorted(best, key=cost.value)


@canvas.drawing_style()
def draw_scatter(
    models: Sequence[ModelResult], metric: str, cost: Cost, best: Sequence[ModelResult]
) -> tuple[Figure, list[str]]:
    """Test accuracy against a cost; a line joins those of the best accuracy for their cost.

    Returns:
        The drawing, and the models that it has no room to name.
    """
    figure, axes = canvas.new_axes((440, 320), (48, 14, 12, 42), "both")
    axes.margins(0.08)
    points = {m.name: (max(cost.value(m), cost.least), m.test[metric]) for m in models}
    costs = [x for x, _ in points.values()]
    if logarithmic := max(costs) > _LOG_RATIO * min(costs):
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 3.0)))
        axes.xaxis.set_major_formatter("{x:g}")
    axes.set_xlabel(f"{cost.axis}{' (logarithmic)' * logarithmic}", color=LIGHT["text"])
    line = np.array([points[model.name] for model in best])
    axes.step(*line.T, where="post", color=LIGHT["mark"], linestyle="--", linewidth=1.2)
    for model in reversed(models):
        tip = f"{model.name}: {metric} {model.test[metric]:.4f}, {cost.write(cost.value(model))}"
        (mark,) = axes.plot(*points[model.name], "o", markersize=12, gid=canvas.TIP + tip)
        mark.set_color(canvas.tone(model.selected))
    return figure, _name_points(axes, points)


def _name_points(axes: Axes, points: Mapping[str, tuple[float, float]]) -> list[str]:
    """Name each point where nothing else is, the first ones first, and return those without room.

    The first one, the winner, is named in any case.
    """
    axes.autoscale_view()  # from here on, pixels are known
    places = axes.transData.transform(list(points.values()))
    taken = [Bbox([place, place]).padded(7.0) for place in places]
    frame, nameless = axes.bbox.padded(12.0), []
    for number, (name, at) in enumerate(points.items()):
        look = canvas.STRONG | {"fontweight": "normal" if number else "bold"}
        text = canvas.note(axes, canvas.clip(name, 18), at, (0, 0), **look)
        for x, y, side, height in _SPOTS:
            text.set(position=(x, y), horizontalalignment=side, verticalalignment=height)
            box = text.get_window_extent()
            inside = frame.x0 <= box.x0 and box.x1 <= frame.x1
            if inside and not box.count_overlaps(taken):
                taken.append(box)
                break
        else:
            if number:
                text.remove()
                nameless.append(name)
    return nameless
