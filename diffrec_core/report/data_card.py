"""The data card: counts after each filter, the time span, ties, new users and items."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from diffrec_core.data.splits import EVALUATED_PARTS, PARTS
from diffrec_core.report.facts import FactTable, percent, write_value

Counts = Mapping[str, Mapping[str, Any]]
_EVENT_FILTERS = {
    "in_window": "in the time window (start, end)",
    "of_event_types": "of the types kept (event_types)",
    "of_min_value": "of enough value (min_value)",
    "pairs": "first of each user with each item",
}


@dataclass(frozen=True, slots=True)
class DataCard:
    """The section of the report; the table is None where nothing was counted."""

    sentences: list[str] = field(default_factory=list)
    table: FactTable | None = None


def data_card(counts: Counts) -> DataCard:
    """Lay out the counts of the data stages; those that are not there are left out.

    Args:
        counts: the stages' reports, by stage.
    """
    sentences = [
        *_span(counts.get("build_interactions", {})),
        *_ties(counts.get("build_interactions", {})),
        *_new(counts.get("split", {})),
        *_rejected(counts.get("ingest", {})),
    ]
    rows = _rows(counts)
    columns = ["", "rows", "of those read", "users", "items"]
    return DataCard(sentences, FactTable("filters", columns, rows) if rows else None)


def _rows(counts: Counts) -> list[tuple[str, list[str]]]:
    ingest, built = counts.get("ingest", {}), counts.get("build_interactions", {})
    read = ingest.get("rows_read", built.get("events"))
    counted: list[tuple[str, Any, Mapping[str, Any]]] = [
        ("rows read", ingest.get("rows_read"), {}),
        ("accepted", ingest.get("accepted"), ingest),
        *((label, built.get(key), {}) for key, label in _EVENT_FILTERS.items()),
        ("of users and items with enough of them", built.get("interactions"), built),
    ]
    parts = counts.get("split", {})
    counted += [(f"… {p}", parts[p].get("interactions"), parts[p]) for p in PARTS if p in parts]
    return [
        (label, [write_value(n), percent(n / read) if read else "–", *_known(facts)])
        for label, n, facts in counted
        if n is not None
    ]


def _known(facts: Mapping[str, Any]) -> list[str]:
    return [write_value(facts[key]) if key in facts else "" for key in ("users", "items")]


def _span(built: Mapping[str, Any]) -> list[str]:
    if not {"first", "last"} <= built.keys():
        return []
    first, last = (datetime.fromisoformat(str(built[key])) for key in ("first", "last"))
    days = (last - first).days
    return [
        f"Interactions from {write_value(built['first'])} to {write_value(built['last'])}, "
        f"{days:,} days."
    ]


def _ties(built: Mapping[str, Any]) -> list[str]:
    ties, total = built.get("tied_timestamps"), built.get("interactions")
    if ties is None or not total:
        return []
    return [
        f"{ties:,} of {total:,} interactions ({percent(ties / total)}) have the same time as the "
        f"one before them of the same user; such ties are ordered by item id."
    ]


def _new(split: Mapping[str, Any]) -> list[str]:
    unseen = [
        f"{part} {split[part]['new_users']:,} users and {split[part]['new_items']:,} items"
        for part in EVALUATED_PARTS
        if {"new_users", "new_items"} <= split.get(part, {}).keys()
    ]
    return [f"Not in the train part: of {'; of '.join(unseen)}."] if unseen else []


def _rejected(ingest: Mapping[str, Any]) -> list[str]:
    if not ingest.get("rejected"):
        return []
    reasons = ", ".join(
        f"{reason.replace('_', ' ')} {number:,}"
        for reason, number in ingest.get("rejected_by_reason", {}).items()
    )
    return [f"{ingest['rejected']:,} rows were rejected: {reasons}."]
