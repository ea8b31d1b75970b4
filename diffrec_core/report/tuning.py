"""Pictures of a tuning study: which settings were tried, which did well, which ones matter."""

import math
from collections.abc import Callable, Mapping, Sequence

from markupsafe import Markup

from diffrec_core.common.search_space import Choice, Trial
from diffrec_core.report import svg
from diffrec_core.report.svg import Scale

_STYLE = """.trial{stroke:var(--muted);stroke-opacity:.35;stroke-width:1.2}
.good{stroke:var(--c0);stroke-opacity:.85;stroke-width:1.6} .best{stroke:var(--c1);stroke-width:2.6}
.axis{stroke:var(--muted)} .bar{fill:var(--c0)}
"""
_AXIS_WIDTH, _TOP, _BOTTOM, _SIDE = 150, 62, 330, 70
_GOOD_SHARE = 0.25
"""The best quarter of the trials stands out."""
_LOG_RATIO = 30.0
"""An axis whose numbers differ by more than this factor is logarithmic."""

_Place = Callable[[object], float]
_Axis = tuple[_Place, list[tuple[float, str]]]
"""Where a value stands, and the marks: their places and names."""


def parallel_coordinates_figure(trials: Sequence[Trial], label: str) -> str:
    """Every complete trial as a line through its settings, ending at its value.

    The best one is red, the best quarter green. A trial without a setting, since the setting
    does not count with its other ones, skips that axis.
    """
    complete = sorted(
        (t for t in trials if t.state == "complete" and t.value is not None),
        key=lambda trial: trial.value or 0.0,
    )
    keys = list(dict.fromkeys(key for trial in trials for key in trial.settings))
    columns = [[trial.settings.get(key) for trial in complete] for key in keys]
    columns.append([trial.value for trial in complete])
    places = [_axis(column) for column in columns]
    xs = [_SIDE + _AXIS_WIDTH * number for number in range(len(columns))]
    width = xs[-1] + _SIDE + 20
    parts = [svg.text(_SIDE - 40, 24, label, "strong")]
    for x, key, axis in zip(xs, [*keys, "value"], places, strict=True):
        parts += _draw_axis(x, key, axis)
    for number in range(len(complete)):
        share = (number + 1) / len(complete)
        best = number == len(complete) - 1
        style = "best" if best else "good" if share > 1 - _GOOD_SHARE else "trial"
        parts += _trial_line([column[number] for column in columns], xs, places, style)
    return svg.document(width, _BOTTOM + 30, f"Trials of {label}", parts, _STYLE)


def importance_figure(importances: Mapping[str, float], label: str) -> str:
    """Bars of each setting's share in what makes a trial good."""
    left, width, row_height = 340, 650, 26
    height = 60 + row_height * max(1, len(importances))
    x = Scale(0.0, max(importances.values(), default=1.0) or 1.0, left, width - 60)
    parts = [
        svg.text(16, 24, f"{label}: share of each setting in what makes trials good", "strong")
    ]
    if not importances:
        parts.append(svg.text(16, 56, "too few complete trials to tell", "small"))
    for number, (key, share) in enumerate(importances.items()):
        top = 42 + number * row_height
        parts += [
            svg.text(left - 8, top + 14, svg.clip(key, 48), "end"),
            svg.rect(left, top + 2, x(share) - left, 16, "bar"),
            svg.text(x(share) + 6, top + 14, f"{share:.2f}", "small"),
        ]
    return svg.document(width, height, f"Importance of the settings of {label}", parts, _STYLE)


def _axis(column: Sequence[object]) -> _Axis:
    """Where a value stands on its axis, and the marks of the axis."""
    present = [value for value in column if value is not None]
    if present and all(isinstance(v, int | float) and not isinstance(v, bool) for v in present):
        return _numbers([float(str(v)) for v in present])
    labels = sorted({_label(value) for value in present})
    step = (_BOTTOM - _TOP) / max(1, len(labels) - 1)
    places = {name: _BOTTOM - step * number for number, name in enumerate(labels)}
    return lambda value: places[_label(value)], [(y, name) for name, y in places.items()]


def _numbers(values: Sequence[float]) -> _Axis:
    low, high = min(values), max(values)
    scale = Scale(low, high, _BOTTOM, _TOP, log=low > 0 and high / low > _LOG_RATIO)
    ends = [(scale(low), f"{low:.3g}"), (scale(high), f"{high:.3g}")]
    inner = [(scale(tick), f"{tick:g}") for tick in scale.ticks]
    far = [(y, name) for y, name in inner if all(abs(y - end) > 14 for end, _ in ends)]
    return lambda value: scale(float(str(value))), [*ends, *far]


def _label(value: object) -> str:
    return value if isinstance(value, str) else Choice.label(value)


def _draw_axis(x: float, key: str, axis: _Axis) -> list[Markup]:
    marks = [svg.line([(x, _TOP), (x, _BOTTOM)], "axis")]
    marks.append(svg.text(x, _TOP - 14, _short(key), "middle"))
    for y, name in axis[1]:
        marks.append(svg.text(x + 5, y + 4, svg.clip(name, 20), "small"))
    return marks


def _trial_line(
    values: Sequence[object],
    xs: Sequence[float],
    axes: Sequence[_Axis],
    style: str,
) -> list[Markup]:
    """The stretches of a trial's line between axes that it has a value on."""
    points = [
        None if value is None else (x, axis[0](value))
        for value, x, axis in zip(values, xs, axes, strict=True)
    ]
    known = [point for point in points if point is not None and not math.isnan(point[1])]
    return [svg.line(known, style)] if known else []


def _short(name: str) -> str:
    """A setting's name on an axis: of a long one, the beginning and the end, which tells it apart.

    >>> _short("recency.half_life (kind: exponential_age)")
    'recency.h…xponential_age)'
    """
    return name if len(name) <= 24 else f"{name[:9]}…{name[-15:]}"
