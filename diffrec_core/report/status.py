"""The status of a night as one HTML file: no network, no script, no other file.

Equal statuses give equal bytes. Colour is never alone: each verdict has a symbol and a word.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from markupsafe import Markup

from diffrec_core.monitoring.checks import STATUSES, Check, Limits, Status
from diffrec_core.monitoring.status import NightStatus
from diffrec_core.report.html import template_environment
from diffrec_core.report.svg import Scale, grid_y, line, picture, rect, text, titled

WORDS: Final[Mapping[Status, tuple[str, str]]] = {
    "ok": ("✓", "ok"),
    "unknown": ("?", "not known"),
    "warn": ("!", "warning"),
    "alarm": ("✕", "ALARM"),
}
"""Symbol and word of a verdict."""

_VERDICTS: Final[Mapping[Status, str]] = {
    "ok": "All is well.",
    "unknown": "Nothing wrong was found, but not everything could be looked at.",
    "warn": "The night may stand. Have a look soon.",
    "alarm": "Something is wrong. Look before the next night.",
}
_TITLES: Final[Mapping[str, str]] = {
    "data": "Data of the night",
    "freshness": "Freshness",
    "rows": "Row count",
    "quarantined": "Quarantined rows",
    "popularity_drift": "Drift of item popularity",
    "history_drift": "Drift of history length",
    "champion_age": "Age of the champion",
    "champion_metric": "Champion on the newest period",
}
_UNITS: Final[Mapping[str, str]] = {
    "freshness": "{:.1f} h",
    "rows": "× {:.2f}",
    "quarantined": "{:.2%}",
    "popularity_drift": "{:.3f}",
    "history_drift": "{:.3f}",
    "champion_age": "{:.1f} days",
    "champion_metric": "{:+.1%}",
}
_DAYS_FROM_HOURS = 96
_WIDTH, _HEIGHT = 340.0, 150.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 46.0, 336.0, 10.0, 126.0


@dataclass(frozen=True, slots=True)
class _Row:
    """A check as the page shows it."""

    check: Check
    title: str
    symbol: str
    word: str
    value: str
    advice: str
    link: str
    drawing: Markup | None


def render_status(status: NightStatus, runbook: str) -> str:
    """Write the page.

    Args:
        status: what the monitor found.
        runbook: URL, or path seen from the page; the name of the check is its anchor.

    Returns:
        The text of an HTML file; save it as UTF-8.
    """
    start, end = status.period
    last = end - timedelta(days=1)
    span = f"{start:%Y-%m-%d}" if status.unit == "day" else f"{start:%Y-%m-%d} to {last:%Y-%m-%d}"
    symbol, word = WORDS[status.overall]
    return (
        template_environment()
        .get_template("status.html.j2")
        .render(
            overall=status.overall,
            symbol=symbol,
            word=word,
            verdict=_VERDICTS[status.overall],
            now=f"{status.now:%Y-%m-%d %H:%M} UTC",
            unit=status.unit,
            span=span,
            counts=_counts(status),
            rows=[_row(check, runbook) for check in status.checks],
        )
    )


def _counts(status: NightStatus) -> str:
    """How many checks have which verdict, the worst first."""
    found = [check.status for check in status.checks]
    return ", ".join(f"{found.count(s)} {WORDS[s][1]}" for s in STATUSES[::-1] if s in found)


def _row(check: Check, runbook: str) -> _Row:
    symbol, word = WORDS[check.status]
    return _Row(
        check=check,
        title=_TITLES[check.name],
        symbol=symbol,
        word=word,
        value=_value(check),
        advice=check.advice or "",
        link=f"{runbook}#monitor-{check.name.replace('_', '-')}",
        drawing=_drawing(check),
    )


def _value(check: Check) -> str:
    """The value with its unit, short."""
    value = check.value
    if value is None:
        return "–"
    if check.name == "freshness" and value >= _DAYS_FROM_HOURS:
        return f"{value / 24:,.0f} days"
    return _UNITS[check.name].format(-value if check.name == "champion_metric" else value)


def _drawing(check: Check) -> Markup | None:
    if check.name == "rows" and check.series:
        return _row_bars(check)
    if check.name.endswith("_drift") and check.series:
        return _change_bars(check)
    return None


def _row_bars(check: Check) -> Markup:
    """Rows by period, the newest in the colour of its verdict, and what is usual as a line."""
    series = check.series
    usual = series[-1][1] / check.value if check.value else 0.0
    marks = _usual_lines(usual, check.limit)
    top = max([1.0, *(value for _, value in series), *(value for value, _ in marks[:1])])
    y = Scale(0.0, top, _BOTTOM, _TOP)
    step = (_RIGHT - _LEFT) / len(series)
    parts = [grid_y(y, _LEFT, _RIGHT, _short)]
    for number, (label, value) in enumerate(series):
        style = f"bar {check.status}" if number == len(series) - 1 else "bar plain"
        x, height = _LEFT + step * number + step * 0.1, max(1.0, _BOTTOM - y(value))
        bar = rect(x, _BOTTOM - height, step * 0.8, height, style)
        parts.append(titled(f"{label}: {value:,.0f} rows", bar))
    for value, style in marks:
        if value <= top:
            parts.append(line([(_LEFT, y(value)), (_RIGHT, y(value))], style))
    parts.append(text(_LEFT, _HEIGHT - 6, series[0][0], "small"))
    if len(series) > 1:
        parts.append(text(_RIGHT, _HEIGHT - 6, series[-1][0], "small end"))
    label = f"Rows of {len(series)} periods up to {series[-1][0]}, which has {series[-1][1]:,.0f}"
    return picture(_WIDTH, _HEIGHT, label, parts)


def _usual_lines(usual: float, limits: Limits | None) -> list[tuple[float, str]]:
    """Heights and styles of the median, and of the limits of the alarm."""
    if not usual or limits is None:
        return []
    edges = [edge for edge in (limits.alarm_below, limits.alarm_above) if edge is not None]
    return [(usual, "usual"), *((usual * edge, "edge") for edge in edges)]


def _change_bars(check: Check) -> Markup:
    """Change of each bin's share of the rows, in percentage points."""
    height = 20.0 * len(check.series) + 8
    largest = max(0.01, *(abs(value) for _, value in check.series))
    x = Scale(-largest, largest, 150.0, _WIDTH - 52)
    parts = [line([(x(0), 2), (x(0), height - 4)], "axis")]
    for number, (label, value) in enumerate(check.series):
        top = 20.0 * number + 6
        left, right = sorted((x(0), x(value)))
        parts.append(text(92, top + 10, label, "small end"))
        parts.append(rect(left, top, max(0.5, right - left), 12, "bar change"))
        parts.append(text(_WIDTH, top + 10, _points(value), "small end"))
    found = max(check.series, key=lambda bin_: abs(bin_[1]))
    label = f"Change of each bin's share in percentage points; most in {found[0]}: "
    return picture(_WIDTH, height, f"{label}{_points(found[1])}", parts)


def _points(change: float) -> str:
    """A change of a share in percentage points.

    >>> _points(0.0214), _points(-0.1), _points(-0.0001)
    ('+2.1', '−10.0', '0.0')
    """
    written = f"{abs(100 * change):.1f}"
    sign = "" if float(written) == 0 else "−" if change < 0 else "+"
    return sign + written


def _short(value: float) -> str:
    """A count that fits beside an axis.

    >>> _short(0), _short(950), _short(12_000), _short(3_500_000)
    ('0', '950', '12k', '3.5M')
    """
    for size, letter in ((1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:g}{letter}"
    return f"{value:g}"
