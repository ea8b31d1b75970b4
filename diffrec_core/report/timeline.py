"""The time spans of the parts of the split."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

from markupsafe import Markup

from diffrec_core.common.errors import DataError
from diffrec_core.report import svg
from diffrec_core.report.figure import Figure
from diffrec_core.report.svg import Scale


@dataclass(frozen=True, slots=True)
class Span:
    """One part in `timeline`: its name, first and last time, and what to write beside it."""

    name: str
    first: datetime
    last: datetime
    note: str


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
    panel = ("", "", timeline(spans, f"Time spans: {named}. {finding}"))
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
