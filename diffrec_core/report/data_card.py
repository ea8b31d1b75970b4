"""The data card: counts after each filter, the time span, ties, new users and items."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from diffrec_core.data.splits import EVALUATED_PARTS, PARTS
from diffrec_core.report.facts import FactTable, percent, words, write_value

Counts = Mapping[str, Mapping[str, Any]]
"""The reports of the data stages, by stage."""

_EVENT_FILTERS = {
    "in_window": "in the time window (start, end)",
    "of_event_types": "of the types kept (event_types)",
    "of_min_value": "of enough value (min_value)",
    "pairs": "first of each user with each item",
}
"""A filter that is off has no count."""


def filter_table(counts: Counts) -> FactTable:
    """Rows, users and items after each filter."""
    ingest, built, parts = (counts[name] for name in ("ingest", "build_interactions", "split"))
    counted = [
        ("rows read", ingest["rows_read"], {}),
        ("accepted", ingest["accepted"], ingest),
        *((label, built[key], {}) for key, label in _EVENT_FILTERS.items() if key in built),
        ("of users and items with enough of them", built["interactions"], built),
        *((f"… {part}", parts[part]["interactions"], parts[part]) for part in PARTS),
    ]
    rows = []
    for label, count, facts in counted:
        known = [write_value(facts[key]) if facts else "" for key in ("users", "items")]
        rows.append((label, [write_value(count), percent(count / ingest["rows_read"]), *known]))
    return FactTable("filters", ["", "rows", "of those read", "users", "items"], rows)


def data_sentences(counts: Counts) -> list[str]:
    """Time span, ties, new users and items, rejected rows, what ingest set aside and changed."""
    ingest, built, parts = (counts[name] for name in ("ingest", "build_interactions", "split"))
    first, last = (datetime.fromisoformat(built[end]) for end in ("first", "last"))
    ties, total = built["tied_timestamps"], built["interactions"]
    unseen = [
        f"{part} {parts[part]['new_users']:,} users and {parts[part]['new_items']:,} items"
        for part in EVALUATED_PARTS
    ]
    sentences = [
        f"Interactions from {write_value(built['first'])} to {write_value(built['last'])}, "
        f"{(last - first).days:,} days.",
        f"{ties:,} of {total:,} interactions ({percent(ties / total)}) have the same time as the "
        f"one before them of the same user; such ties are ordered by item id.",
        f"Not in the train part: of {'; of '.join(unseen)}.",
    ]
    if ingest["rejected"]:
        by_reason = ingest["rejected_by_reason"].items()
        reasons = ", ".join(f"{words(reason)} {number:,}" for reason, number in by_reason)
        sentences.append(f"{ingest['rejected']:,} rows were rejected: {reasons}.")
    if aside := ingest.get("set_aside_by_name"):
        names = ", ".join(f"{name} {number:,}" for name, number in aside.items())
        sentences.append(f"{ingest['set_aside']:,} rows were set aside, as expected: {names}.")
    if changed := ingest.get("normalised"):
        names = ", ".join(f"{words(name)} {number:,}" for name, number in changed.items())
        sentences.append(f"Normalised: {names}.")
    return [*sentences, *(f"Warning: {text}" for text in ingest.get("warnings", []))]
