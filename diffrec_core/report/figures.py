"""The figures of the report: sets of panels that are narrow enough for a phone.

What a figure says is said by its caller and given as `label`.
"""

import math
from collections.abc import Sequence

from markupsafe import Markup

from diffrec_core.report import svg
from diffrec_core.report.data import ModelResult
from diffrec_core.report.svg import Point, Scale

_MAX_POINTS = 300  # more points than pixels add bytes, not detail


def bars(models: Sequence[ModelResult], metric: str, label: str) -> Markup:
    """Two bars per model, test with its interval above validation, from zero."""
    width, left, row_height = 440, 132, 42
    height = 8 + row_height * len(models) + 22
    values = [value for m in models for value in (m.test[metric], m.validation[metric])]
    largest = max([*values, *(ends[1] for m in models if (ends := _interval(m, metric)))])
    x = Scale(0.0, largest or 1.0, left, width - 56)
    parts = [svg.grid_x(x, 4, height - 20)]
    for number, model in enumerate(models):
        parts += _bars_of(model, metric, x, 8 + number * row_height)
    return svg.picture(width, height, label, parts)


def _bars_of(model: ModelResult, metric: str, x: Scale, top: float) -> list[Markup]:
    test, validation, left = model.test[metric], model.validation[metric], x.start
    low, high = _interval(model, metric) or (test, test)
    return [
        svg.text(
            left - 8, top + 21, svg.clip(model.name, 17), "end strong" if model.selected else "end"
        ),
        svg.rect(left, top + 3, x(test) - left, 15, tone(model)),
        *([svg.line([(x(low), top + 10.5), (x(high), top + 10.5)], "whisker")] * (high > low)),
        svg.text(x(max(high, test)) + 5, top + 15, f"{test:.4f}", "strong"),
        svg.rect(left, top + 20, x(validation) - left, 12, f"{tone(model)} hollow"),
        svg.text(x(validation) + 5, top + 31, f"{validation:.4f}", "small"),
    ]


def _interval(model: ModelResult, metric: str) -> tuple[float, float] | None:
    certainty = model.certainty.get("test")
    return certainty.intervals.get(metric) if certainty else None


def training_curve(
    losses: Sequence[Point], validation: Sequence[Point], highest: float, label: str
) -> Markup:
    """Validation recall above, loss below, over the same epochs; the best epoch marked.

    Args:
        losses: (epoch, loss) by epoch; may be empty.
        validation: (epoch, recall) where it was measured; may be empty, but not both.
        highest: of the validation axis, which all models of a run share.
        label: what a screen reader says.
    """
    width, height, left, right = 264, 232, 42, 256
    last = max(epoch for epoch, _ in [*losses, *validation])
    x = Scale(min(1.0, last), last, left, right)
    parts = [svg.text(left, 12, "validation recall", "small"), svg.text(left, 136, "loss", "small")]
    if validation:
        y = Scale(0.0, highest or 1.0, 112, 20)
        best = max(validation, key=lambda point: point[1])
        parts += [
            svg.grid_y(y, left, right),
            svg.line([(x(best[0]), 20), (x(best[0]), 206)], "best"),
            svg.line(_pixels(validation, x, y), "line accent"),
            svg.circle((x(best[0]), y(best[1])), 4.5, "accent"),
        ]
    if losses:
        values = [value for _, value in losses]
        y = Scale(min(values), max(values), 206, 146)
        parts += [svg.grid_y(y, left, right), svg.line(_pixels(losses, x, y), "line plain")]
    whole = [tick for tick in x.ticks if tick == round(tick)]
    parts += [svg.text(x(tick), 222, f"{tick:g}", "middle small") for tick in whole]
    return svg.picture(width, height, label, parts)


def _pixels(points: Sequence[Point], x: Scale, y: Scale) -> list[Point]:
    """Points on the panel, thinned to what can be seen; the last one stays."""
    stride = max(1, math.ceil(len(points) / _MAX_POINTS))
    kept = [*points[:-1:stride], points[-1]]
    return [(x(a), y(b)) for a, b in kept]


def tone(model: ModelResult) -> str:
    """Return the style of a model's marks: the one accent colour is the winner's."""
    return "accent" if model.selected else "plain"


def percent(value: float) -> str:
    """Write a share.

    >>> percent(0.25), percent(0.004)
    ('25%', '0.4%')
    """
    return f"{100 * value:.0f}%" if value == 0 or value >= 0.01 else f"{100 * value:.1f}%"
