"""The time spans of the parts of the split."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from typing import Any

from matplotlib.figure import Figure

from diffrec_core.report import canvas
from diffrec_core.report.style import LIGHT
from diffrec_core.report.svg import Panel, ReportFigure

_LOOKS = (
    {"facecolor": LIGHT["mark"]},
    {"facecolor": "none", "edgecolor": LIGHT["accent"], "linewidth": 1.5},
    {"facecolor": LIGHT["accent"]},
)


@dataclass(frozen=True, slots=True)
class Span:
    """One part: its name, first and last time, and its size in words."""

    name: str
    first: datetime
    last: datetime
    size: str


def split_timeline(parts: Mapping[str, Mapping[str, Any]]) -> ReportFigure:
    """The time spans of the parts of a split."""
    spans = [
        Span(
            name,
            datetime.fromisoformat(part["first"]),
            datetime.fromisoformat(part["last"]),
            _size(part),
        )
        for name, part in parts.items()
    ]
    overlap = any(before.last > after.first for before, after in pairwise(spans))
    finding = (
        "The spans overlap: the cut is not at one time for all users."
        if overlap
        else "The parts follow one another in time."
    )
    named = "; ".join(f"{s.name} {s.first:%Y-%m-%d} to {s.last:%Y-%m-%d}, {s.size}" for s in spans)
    panel = Panel("", "", draw_spans(spans), f"Time spans: {named}. {finding}")
    return ReportFigure("timeline", "Time spans", finding, [panel])


def _size(part: Mapping[str, Any]) -> str:
    sizes = [f"{part[key]:,} {key}" for key in ("interactions", "users", "items") if key in part]
    return ", ".join(sizes)


@canvas.drawing_style()
def draw_spans(spans: Sequence[Span]) -> Figure:
    """A bar from the first to the last time of each part, in seconds on one axis."""
    figure, axes = canvas.new_axes((440, 40 * len(spans) + 34), (82, 4, 8, 30), "x")
    canvas.name_rows(axes, [span.name for span in spans])
    start, end = min(span.first for span in spans), max(span.last for span in spans)
    total = (end - start).total_seconds() or 1.0
    for row, span in enumerate(spans):
        first, last = ((time - start).total_seconds() for time in (span.first, span.last))
        width = max(last - first, 0.01 * total)  # an instant can be seen
        axes.barh(row, width, 0.36, first, **_LOOKS[row % 3])
        canvas.note(axes, span.size, (0.0, row), (2, -11), va="top")
    axes.set_xlim(0.0, total)
    dates = [f"{start + share * (end - start):%Y-%m-%d}" for share in (0.0, 0.5, 1.0)]
    canvas.name_ends(axes, [0.0, total / 2, total], dates)
    return figure
