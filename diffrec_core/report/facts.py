"""Nested facts, written in words and laid out in rows."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

_UTC_TIME = re.compile(r"(\d{4}-\d\d-\d\d)T(\d\d:\d\d)(?::\d\d(?:\.\d+)?)?(?:\+00:00|Z)")


def write_value(value: object) -> str:
    """Write a count, a fact or a list of them.

    >>> write_value(1234567), write_value(None), write_value([10, True])
    ('1,234,567', '–', '10, yes')
    >>> write_value("1998-01-02T03:04:05+00:00")
    '1998-01-02 03:04 UTC'
    """
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int | float):
        return f"{value:,}"
    if isinstance(value, list | tuple):
        return ", ".join(map(write_value, value))
    return _UTC_TIME.sub(r"\1 \2 UTC", str(value))


def percent(value: float) -> str:
    """Write a share.

    >>> percent(0.25), percent(0.004), percent(-0.05)
    ('25%', '0.4%', '-5%')
    """
    return f"{100 * value:.0f}%" if value == 0 or abs(value) >= 0.01 else f"{100 * value:.1f}%"


def words(key: object) -> str:
    """Write a key as words: `new_users` as `new users`."""
    return str(key).replace("_", " ")


def flatten(value: object, label: str = "") -> Iterator[tuple[str, str]]:
    """Yield label and text of every leaf of nested mappings.

    >>> list(flatten({"read": 2, "rejected": {"no_time": 1}}))
    [('read', '2'), ('rejected · no time', '1')]
    """
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from flatten(inner, f"{label} · {words(key)}" if label else words(key))
    else:
        yield label, write_value(value)


@dataclass(frozen=True, slots=True)
class FactTable:
    """A table: rows with a name, and below the other columns a text each.

    Attributes:
        name: what it shows.
        columns: their headings, the one above the names first.
        rows: name and texts.
    """

    name: str
    columns: list[str]
    rows: list[tuple[str, list[str]]]


def parts_table(parts: Mapping[str, Mapping[str, Any]]) -> FactTable:
    """Lay out the facts of the parts of a split, the same of each."""
    keys = list(next(iter(parts.values())))
    rows = [
        (words(part), [write_value(facts[key]) for key in keys]) for part, facts in parts.items()
    ]
    return FactTable("parts", ["", *map(words, keys)], rows)
