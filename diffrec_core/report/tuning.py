"""Pictures of a tuning study: which settings were tried, which did well, which ones matter."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure

from diffrec_core.common.search_space import Choice, Trial
from diffrec_core.report import canvas
from diffrec_core.report.style import LIGHT
from diffrec_core.report.svg import Panel, ReportFigure, document

_AXIS_WIDTH = 150
_GOOD_SHARE = 0.25
"""The best quarter of the trials stands out."""
_LOG_RATIO = 30.0
"""An axis whose numbers differ by more than this factor is logarithmic."""
_LOOKS: Mapping[str, Mapping[str, Any]] = {
    "trial": {"color": LIGHT["muted"], "alpha": 0.35, "linewidth": 1.2},
    "good": {"color": LIGHT["accent"], "alpha": 0.85, "linewidth": 1.6},
    "best": {"color": LIGHT["red"], "linewidth": 2.6},
}

_Axis = tuple[Callable[[object], float], list[tuple[float, str]]]
"""Where a value stands, from 0 to 1, and the marks: their places and names."""


def parallel_coordinates_figure(trials: Sequence[Trial], label: str) -> str:
    """Draw every complete trial as a line through its settings, ending at its value.

    The best one is red, the best quarter green. A trial without a setting, since the setting
    does not count with its other ones, skips that axis.
    """
    panel = Panel("", "", draw_trials(trials), f"Trials of {label}")
    finding = "The best trial is red, the best quarter green."
    return document(ReportFigure("trials", label, finding, [panel]))


def importance_figure(importances: Mapping[str, float], label: str) -> str:
    """Draw bars of each setting's share in what makes a trial good."""
    panel = Panel("", "", draw_importances(importances), f"Importance of the settings of {label}")
    heading = f"{label}: share of each setting in what makes trials good"
    finding = "; ".join(f"{key} {share:.2f}" for key, share in importances.items())
    return document(ReportFigure("importance", heading, finding, [panel]))


@canvas.drawing_style()
def draw_trials(trials: Sequence[Trial]) -> Figure:
    """A vertical axis per setting, and one for the value; lines from the worst to the best."""
    complete = sorted(
        (t for t in trials if t.state == "complete" and t.value is not None),
        key=lambda trial: trial.value or 0.0,
    )
    keys = list(dict.fromkeys(key for trial in trials for key in trial.settings))
    columns = [[trial.settings.get(key) for trial in complete] for key in keys]
    columns.append([trial.value for trial in complete])
    figure, axes = canvas.new_axes((_AXIS_WIDTH * len(keys) + 160, 320), (70, 32, 90, 20))
    axes.set_axis_off()
    axes.set(xlim=(0, max(1, len(keys))), ylim=(0, 1))
    scales = [_axis(column) for column in columns]
    for x, (key, (_, marks)) in enumerate(zip([*keys, "value"], scales, strict=True)):
        axes.axvline(x, color=LIGHT["muted"], linewidth=1)
        canvas.note(axes, _short(key), (x, 1.0), (0, 14), ha="center", color=LIGHT["text"])
        for y, name in marks:
            canvas.note(axes, canvas.clip(name, 20), (x, y), (5, 0), va="center_baseline")
    for number in range(len(complete)):
        values = [column[number] for column in columns]
        line = [
            (x, scale(value))
            for x, (value, (scale, _)) in enumerate(zip(values, scales, strict=True))
            if value is not None
        ]
        good = (number + 1) / len(complete) > 1 - _GOOD_SHARE
        look = "best" if number == len(complete) - 1 else "good" if good else "trial"
        axes.plot(*zip(*line, strict=True), label=look, **_LOOKS[look])
    return figure


@canvas.drawing_style()
def draw_importances(importances: Mapping[str, float]) -> Figure:
    """A bar per setting, or the remark that there are none."""
    figure, axes = canvas.new_axes((650, 20 + 26 * max(1, len(importances))), (320, 4, 60, 4))
    axes.set_xticks([])
    canvas.name_rows(axes, list(importances), longest=48)
    bars = axes.barh(range(len(importances)), [*importances.values()], 0.62, color=LIGHT["accent"])
    axes.bar_label(bars, fmt="{:.2f}", padding=6, **canvas.QUIET)
    if not importances:
        canvas.note(axes, "too few complete trials to tell", (0, 0), (-300, 0))
    return figure


def _axis(column: Sequence[object]) -> _Axis:
    """Return the axis of a setting: of numbers, or of names."""
    present = [value for value in column if value is not None]
    if present and all(isinstance(v, int | float) and not isinstance(v, bool) for v in present):
        return _numbers([float(str(v)) for v in present])
    labels = sorted({_label(value) for value in present})
    places = {name: row / max(1, len(labels) - 1) for row, name in enumerate(labels)}
    return lambda value: places[_label(value)], [(y, name) for name, y in places.items()]


def _numbers(values: Sequence[float]) -> _Axis:
    """Return an axis from the lowest to the highest of the values, with five marks."""
    low, high = min(values), max(values)
    if low == high:
        return lambda _: 0.5, [(0.5, f"{low:.3g}")]
    if low > 0 and high / low > _LOG_RATIO:
        marks = [(n / 4, f"{low * (high / low) ** (n / 4):.3g}") for n in range(5)]
        return lambda v: math.log(float(str(v)) / low) / math.log(high / low), marks
    marks = [(n / 4, f"{low + (high - low) * n / 4:.3g}") for n in range(5)]
    return lambda value: (float(str(value)) - low) / (high - low), marks


def _label(value: object) -> str:
    return value if isinstance(value, str) else Choice.label(value)


def _short(name: str) -> str:
    """A setting's name on an axis: of a long one, the beginning and the end, which tells it apart.

    >>> _short("recency.half_life (kind: exponential_age)")
    'recency.h…xponential_age)'
    """
    return name if len(name) <= 24 else f"{name[:9]}…{name[-15:]}"
