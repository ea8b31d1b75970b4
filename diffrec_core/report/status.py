"""The status of a night as one HTML file: no network, no script, no other file.

Equal statuses give equal bytes. Colour is never alone: each verdict has a symbol and a word.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any, Final

from markupsafe import Markup
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter

from diffrec_core.monitoring.checks import STATUSES, Check, Limits, Status
from diffrec_core.monitoring.status import NightStatus
from diffrec_core.report import canvas
from diffrec_core.report.style import LIGHT, template_environment
from diffrec_core.report.svg import Panel

WORDS: Final[Mapping[Status, tuple[str, str]]] = {
    "ok": ("✓", "ok"),
    "unknown": ("?", "not known"),
    "warn": ("!", "warning"),
    "alarm": ("✕", "ALARM"),
}
"""Symbol and word of a verdict."""

_VERDICTS: Final[Mapping[Status, str]] = {
    "ok": "Every check is ok.",
    "unknown": "Nothing wrong was found, but not everything could be checked.",
    "warn": "The night is usable. Have a look soon.",
    "alarm": "Something is wrong. Act before the next night.",
}
_CHECKS: Final[Mapping[str, tuple[str, str]]] = {
    "data": ("Data of the night", ""),
    "freshness": ("Freshness", "{:.1f} h"),
    "rows": ("Row count", "× {:.2f}"),
    "quarantined": ("Quarantined rows", "{:.2%}"),
    "popularity_drift": ("Drift of item popularity", "{:.3f}"),
    "history_drift": ("Drift of history length", "{:.3f}"),
    "champion_age": ("Age of the champion", "{:.1f} days"),
    "weights_age": ("Age of the champion's weights", "{:.1f} days"),
    "champion_metric": ("Champion on the newest period", "{:+.1%}"),
    "table_age": ("Age of the published table", "{:.1f} h"),
}
"""Title of each check, and how its value is written."""

_DAYS_FROM_HOURS = 96
_COLOURS: Final[Mapping[Status, str]] = {
    "ok": LIGHT["accent"],
    "unknown": LIGHT["muted"],
    "warn": LIGHT["amber"],
    "alarm": LIGHT["red"],
}


def render_status(status: NightStatus, runbook: str) -> str:
    """Write the page.

    Args:
        status: results of the monitor.
        runbook: URL, or path relative to the page; the name of the check is its anchor.

    Returns:
        The text of an HTML file; save it as UTF-8.
    """
    start, end = status.period
    last = end - timedelta(days=1)
    span = f"{start:%Y-%m-%d}" if status.unit == "day" else f"{start:%Y-%m-%d} to {last:%Y-%m-%d}"
    return (
        template_environment()
        .get_template("status.html.j2")
        .render(
            overall=status.overall,
            badge=WORDS[status.overall],
            verdict=_VERDICTS[status.overall],
            now=f"{status.now:%Y-%m-%d %H:%M} UTC",
            unit=status.unit,
            span=span,
            counts=_counts(status),
            rows=[_row(check, runbook) for check in status.checks],
        )
    )


def _counts(status: NightStatus) -> str:
    """Number of checks by verdict, the worst first."""
    counts = Counter(check.status for check in status.checks)
    return ", ".join(f"{counts[s]} {WORDS[s][1]}" for s in STATUSES[::-1] if counts[s])


def _row(check: Check, runbook: str) -> dict[str, Any]:
    """A check as the page shows it."""
    return {
        "check": check,
        "title": _CHECKS[check.name][0],
        "badge": WORDS[check.status],
        "value": _value(check),
        "link": f"{runbook}#monitor-{check.name.replace('_', '-')}",
        "drawing": _drawing(check),
    }


def _value(check: Check) -> str:
    """The value with its unit, short."""
    value = check.value
    if value is None:
        return "–"
    if check.name in ("freshness", "table_age") and value >= _DAYS_FROM_HOURS:
        return f"{value / 24:,.0f} days"
    return _CHECKS[check.name][1].format(-value if check.name == "champion_metric" else value)


def _drawing(check: Check) -> Markup | None:
    if not check.series:
        return None
    if check.name == "rows":
        (last, rows), n_periods = check.series[-1], len(check.series)
        label = f"Rows of {n_periods} periods up to {last}, which has {rows:,.0f}"
        return Panel("", "", draw_rows(check), label).inline
    if check.name.endswith("_drift"):
        most = max(check.series, key=lambda bin_: abs(bin_[1]))
        label = f"Change of each bin's share in percentage points; most in {most[0]}: "
        return Panel("", "", draw_changes(check.series), label + _points(most[1])).inline
    return None


@canvas.drawing_style()
def draw_rows(check: Check) -> Figure:
    """Rows by period, the newest in the colour of its verdict; lines at what is usual."""
    figure, axes = canvas.new_axes((340, 150), (46, 10, 4, 24), "y")
    rows = [value for _, value in check.series]
    bars = axes.bar(range(len(rows)), rows, 0.8, color=LIGHT["mark"])
    bars[-1].set_facecolor(_COLOURS[check.status])
    for bar, (label, value) in zip(bars, check.series, strict=True):
        bar.set_gid(f"{canvas.TIP}{label}: {value:,.0f} rows")
    usual = rows[-1] / check.value if check.value else 0.0
    highest = max(1.0, usual, *rows)
    for value, look in _usual_lines(usual, check.limit):
        if value <= highest:
            axes.axhline(value, linewidth=1.5, **look)
    axes.set(xlim=(-0.5, len(rows) - 0.5), ylim=(0.0, highest))
    ends = list(dict.fromkeys((check.series[0][0], check.series[-1][0])))
    canvas.name_ends(axes, [-0.5, len(rows) - 0.5][: len(ends)], ends)
    axes.yaxis.set_major_formatter(EngFormatter(sep=""))
    return figure


def _usual_lines(usual: float, limits: Limits | None) -> list[tuple[float, dict[str, Any]]]:
    """Heights and looks of the median, and of the limits of the alarm."""
    if not usual or limits is None:
        return []
    edges = [edge for edge in (limits.alarm_below, limits.alarm_above) if edge is not None]
    look = {"color": LIGHT["red"], "linestyle": "--"}
    return [(usual, {"color": LIGHT["text"]}), *((usual * edge, look) for edge in edges)]


@canvas.drawing_style()
def draw_changes(series: Sequence[tuple[str, float]]) -> Figure:
    """Change of each bin's share of the rows, as bars to both sides."""
    figure, axes = canvas.new_axes((340, 20 * len(series) + 8), (132, 4, 4, 4))
    values = [value for _, value in series]
    canvas.name_rows(axes, [label for label, _ in series])
    axes.axvline(0.0, color=LIGHT["muted"], linewidth=1)
    bars = axes.barh(range(len(series)), values, 0.6, color=LIGHT["mark"])
    axes.bar_label(bars, list(map(_points, values)), padding=4, **canvas.QUIET)
    largest = 1.6 * max(0.01, *map(abs, values))  # with room for the numbers
    axes.set_xlim(-largest, largest)
    axes.set_xticks([])
    return figure


def _points(change: float) -> str:
    """A change of a share in percentage points.

    >>> _points(0.0214), _points(-0.1), _points(-0.0001)
    ('+2.1', '−10.0', '+0.0')
    """
    return f"{100 * change:+z.1f}".replace("-", "−")
