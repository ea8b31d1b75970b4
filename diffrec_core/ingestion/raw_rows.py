"""What the readers of all formats share: a batch of raw rows, and how columns are looked up."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Final

import polars as pl

from diffrec_core.common.errors import ConfigError

PROBLEM: Final = "problem"
"""Why a row cannot be taken apart; null where it can."""

Columns = Mapping[str, str | int | None]
"""Our name -> the log's column: its name, its position from 0, or null where there is none."""


@dataclass(frozen=True, slots=True)
class RawBatch:
    """Some rows of one raw file, in order.

    Attributes:
        rows: `source_row` (from 1), `problem`, and one column per mapped field: text, or a date
            or time where the file has such a type.
        raw_text: the raw text of the rows where a mask (one bool per row) is true. Asked for
            rejected rows only, so that formats without text need not make one up for all.
        read: rows that the file holds in this stretch, counted apart from `rows`.
        blank: blank lines skipped.
        position: bytes of the file read so far.
    """

    rows: pl.DataFrame
    raw_text: Callable[[pl.Series], pl.Series]
    read: int
    blank: int
    position: int


@dataclass(frozen=True, slots=True)
class Source:
    """Where rows come from, in the words of an error message.

    Attributes:
        file: the file's path.
        section: the section of params.yaml that says how to read it, such as ``ingest``.
    """

    file: str
    section: str

    def key(self, field: str) -> str:
        """The full key of a field's mapping in params.yaml."""
        return f"params.yaml: {self.section}.columns.{field}"

    def unknown_column(self, field: str, column: object, found: Collection[str]) -> ConfigError:
        """Return the error for a mapping to a column that the file does not have."""
        near = get_close_matches(str(column), found, n=1, cutoff=0.5)
        shown = list(found)[:40]
        more = f" and {len(found) - len(shown)} more" if len(found) > len(shown) else ""
        return ConfigError(
            f"{self.key(field)} = {column!r}: {self.file} has no such column"
            + (f" (did you mean {near[0]!r}?)" if near else "")
            + f"; its columns: {', '.join(map(repr, shown))}{more}"
        )


def positions(columns: Columns, header: Sequence[str], source: Source) -> dict[str, int]:
    """Find the mapped columns in a header.

    Raises:
        ConfigError: a column is not in the header, or stands there twice.
    """
    found: dict[str, int] = {}
    for field, column in columns.items():
        if column is None:
            continue
        name = str(column)
        if name not in header:
            raise source.unknown_column(field, name, header)
        if header.count(name) > 1:
            raise ConfigError(
                f"{source.key(field)} = {name!r}: {source.file} has {header.count(name)} columns "
                f"of this name; rename them in the file"
            )
        found[field] = header.index(name)
    return found
