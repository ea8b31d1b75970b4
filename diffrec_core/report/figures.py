"""The figures of the report: sets of panels that are narrow enough for a phone.

What a figure says is said by its caller (findings.py) and given as `label`.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise

from markupsafe import Markup

from diffrec_core.report import svg
from diffrec_core.report.data import ModelResult
from diffrec_core.report.svg import Point, Scale

_CHARACTER = 7.2  # px: a wide guess at the mean width of a character of 12.5 px text
_MAX_POINTS = 300  # more points than pixels add bytes, not detail
_SHORTEST_SECONDS = 0.001  # shorter fits are drawn here: a logarithmic axis has no zero


def bars(models: Sequence[ModelResult], metric: str, label: str) -> Markup:
    """Two bars per model, test above validation, from zero."""
    width, left, row_height = 420, 112, 42
    height = 8 + row_height * len(models) + 22
    largest = max(max(model.test[metric], model.validation[metric]) for model in models)
    x = Scale(0.0, largest or 1.0, left, width - 56)
    parts = [svg.grid_x(x, 4, height - 20)]
    for number, model in enumerate(models):
        top, test, validation = (
            8 + number * row_height,
            model.test[metric],
            model.validation[metric],
        )
        name_style = "end strong" if model.selected else "end"
        parts += [
            svg.text(left - 8, top + 21, svg.clip(model.name, 13), name_style),
            svg.rect(left, top + 3, x(test) - left, 15, tone(model)),
            svg.text(x(test) + 5, top + 15, f"{test:.4f}", "strong"),
            svg.rect(left, top + 20, x(validation) - left, 12, f"{tone(model)} hollow"),
            svg.text(x(validation) + 5, top + 31, f"{validation:.4f}", "small"),
        ]
    return svg.picture(width, height, label, parts)


def scatter(models: Sequence[ModelResult], metric: str, label: str) -> Markup:
    """Test accuracy against the time to fit, with the line of the best accuracy for each time.

    The first model is drawn last, on top.
    """
    width, height, left, bottom = 440, 300, 48, 258
    seconds = [max(model.fit_seconds, _SHORTEST_SECONDS) for model in models]
    values = [model.test[metric] for model in models]
    margin = (max(values) - min(values)) * 0.12 or 0.01
    x = Scale(_decade(min(seconds), -1), _decade(max(seconds), 1), left, width - 12, log=True)
    y = Scale(max(0.0, min(values) - margin), max(values) + margin, bottom, 14)
    points = [(x(second), y(value)) for second, value in zip(seconds, values, strict=True)]
    return svg.picture(
        width,
        height,
        label,
        [
            svg.grid_x(x, 14, bottom),
            svg.grid_y(y, left, width - 12),
            svg.line(_staircase(points), "frontier"),
            *_point_labels(points, models, (left, width)),
            *(svg.circle(points[i], 6, tone(models[i])) for i in reversed(range(len(models)))),
            svg.text((left + width) / 2, height - 6, "seconds to fit (logarithmic)", "middle"),
        ],
    )


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
) -> list[Markup]:
    """Name each point beside, above or below it: where no other name, point or line is."""
    taken = [(x - 7, y - 7, x + 7, y + 7) for x, y in points]
    taken += [(a, min(b, d), c, max(b, d)) for (a, b), (c, d) in pairwise(_staircase(points))]
    labels = []
    for (x, y), model in zip(points, models, strict=True):
        name = svg.clip(model.name, 18)
        size = len(name) * _CHARACTER
        spots = [  # where the text is anchored, its style, and where it then begins
            (x + 10, y + 4, "start", x + 10),
            (x - 10, y + 4, "end", x - 10 - size),
            (x, y - 12, "middle", x - size / 2),
            (x, y + 20, "middle", x - size / 2),
        ]
        boxes = [(start, base - 11, start + size, base + 3) for _, base, _, start in spots]
        inside = [n for n, box in enumerate(boxes) if limits[0] <= box[0] and box[2] <= limits[1]]
        free = [n for n in inside if not any(_overlap(boxes[n], other) for other in taken)]
        chosen = next(iter(free or inside), 0)
        taken.append(boxes[chosen])
        at, base, anchor, _ = spots[chosen]
        labels.append(svg.text(at, base, name, f"{anchor} strong" if model.selected else anchor))
    return labels


def _overlap(a: tuple[float, ...], b: tuple[float, ...]) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


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


def popularity_groups(
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


@dataclass(frozen=True, slots=True)
class Span:
    """One part in `timeline`: its name, first and last time, and what to write beside it."""

    name: str
    first: datetime
    last: datetime
    note: str


def timeline(spans: Sequence[Span], label: str) -> Markup:
    """A bar from the first to the last time of each part, on one time axis."""
    width, left, right, row_height = 440, 82, 432, 40
    height = row_height * len(spans) + 30
    start, end = min(span.first for span in spans), max(span.last for span in spans)
    x = Scale(0.0, (end - start).total_seconds(), left, right)
    parts = []
    for share, anchor in ((0.0, "start"), (0.5, "middle"), (1.0, "end")):
        at = left + share * (right - left)
        date = f"{start + share * (end - start):%Y-%m-%d}"
        parts.append(svg.line([(at, 4), (at, height - 22)], "grid"))
        parts.append(svg.text(at, height - 6, date, f"{anchor} small"))
    for number, span in enumerate(spans):
        top = 6 + number * row_height
        first, last = (x((time - start).total_seconds()) for time in (span.first, span.last))
        parts += [
            svg.text(left - 8, top + 12, svg.clip(span.name, 12), "end"),
            svg.rect(first, top, max(last - first, 3.0), 14, f"part{number % 3}"),
            svg.text(left + 2, top + 28, span.note, "small"),
        ]
    return svg.picture(width, height, label, parts)


def tone(model: ModelResult) -> str:
    """Return the style of a model's marks: the one accent colour is the winner's."""
    return "accent" if model.selected else "plain"


def percent(value: float) -> str:
    """Write a share.

    >>> percent(0.25), percent(0.004)
    ('25%', '0.4%')
    """
    return f"{100 * value:.0f}%" if value == 0 or value >= 0.01 else f"{100 * value:.1f}%"
