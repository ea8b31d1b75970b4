"""What the readers of all formats share: batches of raw rows, and how columns are looked up."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import PurePosixPath
from typing import Final, Protocol
from urllib.parse import unquote

import polars as pl

from diffrec_core.common.errors import ConfigError
from diffrec_core.data.schema import EVENT_TYPE, SOURCE_ROW, VALUE

PROBLEM: Final = "problem"
"""Why a row cannot be taken apart; null where it can."""

OPTIONAL: Final = frozenset({EVENT_TYPE, VALUE})
"""Fields whose column a file may lack."""

Columns = Mapping[str, str | int | None]
"""Our name -> the log's column: its name, its position from 0, or null where there is none."""

NOT_DECODABLE: Final = "not valid UTF-8"
"""Category of the rows whose text cannot be decoded."""

EMPTY_LIST: Final = "list without elements"
"""Problem of a record whose events are the elements of a list, where there are none."""

UNEQUAL_LISTS: Final = "lists of different lengths"
"""Problem of a record whose lists do not make events together."""

_HIVE_NULL: Final = "__HIVE_DEFAULT_PARTITION__"


@dataclass(frozen=True, slots=True)
class RawBatch:
    """Some rows of one raw file, in order.

    Attributes:
        rows: `source_row` (from 1), `problem`, and one column per mapped field: text, or whole
            microseconds since 1970 where the file has a type of times.
        raw_text: the raw text of the rows where a mask (one bool per row) is true. Asked for
            rejected rows only, so that formats without text need not make one up for all.
        read: rows that the file holds in this stretch, counted apart from `rows`.
        blank: blank lines skipped, and comments.
        position: bytes of the file read so far.
    """

    rows: pl.DataFrame
    raw_text: Callable[[pl.Series], pl.Series]
    read: int
    blank: int
    position: int


class Reader(Protocol):
    """A raw file whose beginning was looked at: it has the mapped columns.

    Attributes:
        missing: fields whose optional column this file lacks and that are null, each with the
            error that it is if no other file has the column.
    """

    missing: dict[str, ConfigError]

    def batches(self) -> Iterator[RawBatch]:
        """Read the file, batch by batch, in the order of its rows.

        Raises:
            DataError: the file is damaged, or not the one that was listed.
        """
        ...


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

    def repeated_column(self, field: str, column: str, times: int) -> ConfigError:
        """Return the error for a mapping to a name that several columns have."""
        return ConfigError(
            f"{self.key(field)} = {column!r}: {self.file} has {times} columns of this name; "
            f"rename them in the file"
        )

    def partitions(self) -> dict[str, str | None]:
        """Columns that the names of the file's folders give, as Hive writes them.

        >>> Source("raw/event=add%20to%20cart/date=2024-03-01/part-0.csv", "ingest").partitions()
        {'event': 'add to cart', 'date': '2024-03-01'}
        """
        parts = (part.partition("=") for part in PurePosixPath(self.file).parent.parts)
        return {
            unquote(name): None if value == _HIVE_NULL else unquote(value)
            for name, equals, value in parts
            if name and equals
        }


@dataclass(frozen=True, slots=True)
class Found:
    """Where the mapped fields of a file come from.

    Attributes:
        columns: field -> the column's name in the file.
        constants: field -> the text that is the same in all rows, or null: from the names of the
            file's folders, or because it is not mapped, or missing.
        missing: fields whose optional column is missing, each with the error that it is if no
            other file has the column.
    """

    columns: dict[str, str]
    constants: dict[str, str | None]
    missing: dict[str, ConfigError]

    def constant_columns(self) -> list[pl.Expr]:
        """The constants as columns of text."""
        return [pl.lit(text, pl.String).alias(field) for field, text in self.constants.items()]


def find(
    columns: Columns,
    header: Sequence[str],
    source: Source,
    exists: Callable[[str], bool] | None = None,
    hint: str = "",
) -> Found:
    """Find the mapped columns among those of a file.

    Args:
        columns: the mapping, by name.
        header: names of the file's columns.
        source: the file.
        exists: whether there is a nested column of a (dotted) name.
        hint: what may be the reason if some are missing.

    Raises:
        ConfigError: required columns are missing, or a mapped one is there twice; names all.
    """
    partitions = source.partitions()
    found = Found({}, {}, {})
    errors: list[ConfigError] = []
    for field, column in columns.items():
        name = str(column)
        if column is not None and (name in header or (exists and exists(name))):
            found.columns[field] = name
            if header.count(name) > 1:
                errors.append(source.repeated_column(field, name, header.count(name)))
            continue
        found.constants[field] = partitions.get(name)
        if column is not None and name not in partitions:
            error = source.unknown_column(field, name, [*header, *partitions])
            if field in OPTIONAL:
                found.missing[field] = error
            else:
                errors.append(error)
    if errors:
        raise ConfigError("\n  ".join(map(str, errors)) + hint)
    return found


def in_order(columns: Columns) -> list[str]:
    """Names of a batch's columns, in their order."""
    return [SOURCE_ROW, PROBLEM, *columns]
