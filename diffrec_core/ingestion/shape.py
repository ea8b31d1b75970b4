"""The shape of a file of delimited text, and the rows of a batch made from its records."""

from dataclasses import dataclass, field
from typing import Final

import polars as pl

from diffrec_core.data.schema import SOURCE_ROW
from diffrec_core.ingestion.dialect import Dialect
from diffrec_core.ingestion.layout import LogFormat
from diffrec_core.ingestion.raw_rows import PROBLEM, Columns, Found, in_order

_SEPARATORS: Final = tuple(map(chr, (0x1F, 0x1E, 0x1D, 0x1C, 0x01, 0x02)))
"""Stand in for a delimiter of several characters, which Polars does not split at."""

_MAYBE_PACKED: Final = b"x\x01"
"""Polars would unpack text that begins so."""


@dataclass(slots=True)
class OddRecords:
    """Records that were taken apart one by one: first line, end, fields and problem of each."""

    firsts: list[int] = field(default_factory=list)
    ends: list[int] = field(default_factory=list)
    fields: list[list[str] | None] = field(default_factory=list)
    problems: list[str | None] = field(default_factory=list)
    cut: int | None = None
    """The line from which on nothing was read, if any."""

    def add(self, first: int, end: int, fields: list[str] | None, problem: str | None) -> None:
        """Add a record of the lines [first, end)."""
        self.firsts.append(first)
        self.ends.append(end)
        self.fields.append(fields)
        self.problems.append(problem)

    @property
    def inside(self) -> set[int]:
        """All lines of these records."""
        spans = zip(self.firsts, self.ends, strict=True)
        return {line for first, end in spans for line in range(first, end)}

    def spans(self, row: int) -> dict[int, int]:
        """Row -> number of lines, of records over several."""
        spans = zip(self.firsts, self.ends, strict=True)
        return {row + first: end - first for first, end in spans if end - first > 1}


@dataclass(frozen=True, slots=True)
class Shape:
    """Where the mapped fields stand, how many a record has, and how many lines come before."""

    found: Found
    positions: dict[str, int]
    width: int
    first_line: int

    def all_simple(self, data: bytes, dialect: Dialect, layout: LogFormat) -> pl.DataFrame | None:
        """The fields of whole lines, if all are simple records without quotes."""
        marks = filter(None, (dialect.quote, dialect.escape, dialect.comment))
        if layout.trailing_delimiter or any(mark.encode() in data for mark in marks):
            return None
        lines = data.count(b"\n") + (not data.endswith(b"\n"))
        delimiters = data.count(dialect.delimiter.encode())
        if self.width < 2 or delimiters != (self.width - 1) * lines:
            return None
        fields = self.split(data, dialect, layout)
        return fields if fields is not None and fields.height == lines else None

    def split(self, data: bytes, dialect: Dialect, layout: LogFormat) -> pl.DataFrame | None:
        """The fields of lines without line ends in quotes, one column per position.

        None where Polars cannot do it. It takes short records for whole ones: count delimiters.
        """
        separator = dialect.delimiter
        if len(separator) > 1 or not separator.isascii():
            usable = (each for each in _SEPARATORS if each.encode() not in data)
            separator = next(usable, "")
            data = data.replace(dialect.delimiter.encode(), separator.encode())
        if not separator or data.startswith(_MAYBE_PACKED):
            return None
        names = [str(at) for at in range(self.width + int(layout.trailing_delimiter))]
        try:
            return pl.read_csv(
                data,
                has_header=False,
                schema=dict.fromkeys(names, pl.String),
                separator=separator,
                quote_char=dialect.quote,
                empty_string_is_null=False,
                infer_schema=False,
                extra_columns="raise",  # of all columns: of those selected it would not
            )
        except pl.exceptions.PolarsError:
            return None

    def rows(
        self,
        fields: pl.DataFrame,
        columns: Columns,
        *,
        row: int = 0,
        numbers: pl.Series | None = None,
    ) -> pl.DataFrame:
        """A batch's rows, from fields by position."""
        if numbers is None:
            numbers = pl.int_range(row, row + fields.height, dtype=pl.Int64, eager=True)
        return fields.select(
            numbers.alias(SOURCE_ROW),
            pl.lit(None, pl.String).alias(PROBLEM),
            *(pl.col(str(at)).alias(field) for field, at in self.positions.items()),
            *self.found.constant_columns(),
        ).select(in_order(columns))

    def odd_rows(self, records: OddRecords, columns: Columns, row: int) -> pl.DataFrame:
        """A batch's rows, from records that were taken apart one by one."""
        texts = {
            field: [f[at] if f and at < len(f) else None for f in records.fields]
            for field, at in self.positions.items()
        }
        data = {
            SOURCE_ROW: pl.Series([row + first for first in records.firsts], dtype=pl.Int64),
            PROBLEM: pl.Series(records.problems, dtype=pl.String),
            **{field: pl.Series(values, dtype=pl.String) for field, values in texts.items()},
        }
        frame = pl.DataFrame(data).with_columns(self.found.constant_columns())
        return frame.select(in_order(columns))
