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

    >>> percent(0.25), percent(0.004)
    ('25%', '0.4%')
    """
    return f"{100 * value:.0f}%" if value == 0 or value >= 0.01 else f"{100 * value:.1f}%"


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


def fact_tables(facts: Mapping[str, Any]) -> list[FactTable]:
    """Lay out the entries whose values are all mappings."""
    return [_fact_table(name, rows) for name, rows in facts.items() if _is_table(rows)]


def plain_facts(facts: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Label and text of the other entries."""
    return list(flatten({name: value for name, value in facts.items() if not _is_table(value)}))


def _fact_table(name: str, rows: Mapping[str, Mapping[str, Any]]) -> FactTable:
    columns = list(dict.fromkeys(key for row in rows.values() for key in row))
    return FactTable(
        words(name),
        ["", *(words(key) for key in columns)],
        [
            (words(row), [write_value(facts.get(key)) for key in columns])
            for row, facts in rows.items()
        ],
    )


def _is_table(value: object) -> bool:
    inner = list(value.values()) if isinstance(value, Mapping) else []
    return bool(inner) and all(isinstance(row, Mapping) for row in inner)
