"""Delimited text (CSV, TSV, `::` and the like): one record per line, quotes where there are any."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import polars as pl

from diffrec_core.common.errors import ConfigError, DataError
from diffrec_core.data.schema import RAW, SOURCE_ROW
from diffrec_core.ingestion.raw_rows import PROBLEM, Columns, RawBatch, Source, positions
from diffrec_core.ingestion.text_lines import CHUNK_BYTES, read_line_chunks

_SAMPLED_LINES: Final = 1000
_PARTS: Final = "parts"


def read_delimited(
    path: Path,
    columns: Columns,
    source: Source,
    *,
    delimiter: str,
    quote: str | None,
    header: bool,
    size: int | None = None,
    chunk_bytes: int = CHUNK_BYTES,
) -> Iterator[RawBatch]:
    """Read a delimited text file, or so many of its first bytes, in batches.

    The header, or else the most usual number of fields in the first lines, says how many fields
    a record has; a line with another number is a problem row.

    Raises:
        ConfigError: a mapped column does not exist.
        DataError: the file is no text, or its header cannot be read.
    """
    dialect = Dialect(delimiter, quote)
    layout: _Layout | None = None
    for chunk in read_line_chunks(path, chunk_bytes, size=size):
        records = chunk.lines.filter(~dialect.is_blank())
        blank = chunk.count - records.height
        header_lines = 0
        if layout is None and records.height:
            layout = _layout(records[RAW], dialect, columns, source, header=header)
            header_lines = int(header)
            records = records.slice(header_lines)
        yield RawBatch(
            rows=_split(records, dialect, layout or _Layout({}, tuple(columns), 0)),
            raw_text=records[RAW].filter,
            read=chunk.count - blank - header_lines,
            blank=blank,
            position=chunk.position,
        )


@dataclass(frozen=True, slots=True)
class Dialect:
    """How a line is taken apart.

    Attributes:
        delimiter: one or more characters between fields.
        quote: the character around fields that hold a delimiter, doubled inside them; None:
            quotes mean nothing.
    """

    delimiter: str
    quote: str | None

    def is_blank(self) -> pl.Expr:
        """Whether a line holds nothing; delimiters alone are a record of empty fields."""
        raw = pl.col(RAW)
        return (raw.str.strip_chars() == "") & ~raw.str.contains(self.delimiter, literal=True)

    def is_plain(self) -> pl.Expr:
        """Whether a line can be split at every delimiter: no quote hides one."""
        if self.quote is None:
            return pl.lit(value=True)
        raw, mark, end = pl.col(RAW), _literal(self.quote), _literal(self.delimiter)
        other = f"[^{mark}{end}]*"
        field = f"(?:{mark}{other}{mark}|{other})"
        simple = f"^{field}(?:{end}{field})*$"
        return ~raw.str.contains(self.quote, literal=True) | raw.str.contains(simple)

    def split_plain(self) -> pl.Expr:
        """The fields of a plain line: list of text."""
        parts = pl.col(RAW).str.split(self.delimiter)
        return parts.list.eval(pl.element().str.strip_chars(self.quote)) if self.quote else parts

    def split_line(self, line: str) -> list[str] | None:
        """The fields of any line; None where a quote is not closed or text follows it.

        Takes time linear in the line: no regular expression, so nothing that could backtrack.
        """
        if self.quote is None:
            return line.split(self.delimiter)
        fields: list[str] = []
        start = 0
        while start >= 0:
            if line.startswith(self.quote, start):
                end = _closing_quote(line, self.quote, start)
                after = end + 1
                if end < 0 or not (after == len(line) or line.startswith(self.delimiter, after)):
                    return None
                fields.append(line[start + 1 : end].replace(self.quote * 2, self.quote))
            else:
                after = line.find(self.delimiter, start)
                fields.append(line[start:] if after < 0 else line[start:after])
            start = after + len(self.delimiter) if 0 <= after < len(line) else -1
        return fields


def _closing_quote(line: str, quote: str, opening: int) -> int:
    """Where the quoted field that opens there ends, or -1; a doubled quote does not end it."""
    end = line.find(quote, opening + 1)
    while end >= 0 and line.startswith(quote, end + 1):
        end = line.find(quote, end + 2)
    return end


def _literal(text: str) -> str:
    """Text that a (Rust) regular expression takes as it stands, inside brackets and out."""
    return "".join(f"\\x{{{ord(character):x}}}" for character in text)


@dataclass(frozen=True, slots=True)
class _Layout:
    """Where the mapped fields stand, and how many fields a record has."""

    positions: dict[str, int]
    fields: tuple[str, ...]
    width: int


def _layout(
    lines: pl.Series, dialect: Dialect, columns: Columns, source: Source, *, header: bool
) -> _Layout:
    if header:
        names = dialect.split_line(lines[0])
        if names is None:
            raise DataError(f"{source.file}: quotes do not match in its header line: {lines[0]}")
        names = [name.strip() for name in names]
        return _Layout(positions(columns, names, source), tuple(columns), len(names))
    widths = Counter(len(dialect.split_line(line) or ()) for line in lines.head(_SAMPLED_LINES))
    width = max(widths, key=lambda width: (widths[width], width))
    mapped = {field: int(column) for field, column in columns.items() if column is not None}
    for field, position in mapped.items():
        if position >= width:
            raise ConfigError(
                f"{source.key(field)} = {position}: {source.file} has {width} columns, "
                f"counted from 0 (its first line: {lines[0][:100]!r})"
            )
    return _Layout(mapped, tuple(columns), width)


def _split(records: pl.DataFrame, dialect: Dialect, layout: _Layout) -> pl.DataFrame:
    """Columns `source_row`, `problem` and the mapped fields, in the order of the records."""
    plain = records.select(dialect.is_plain()).to_series()
    if len(plain) < records.height:  # a literal: nothing to look at
        return _split_plain(records, dialect, layout)
    if plain.all():
        return _split_plain(records, dialect, layout)
    apart = [
        _split_plain(records.filter(plain), dialect, layout),
        _split_singly(records.filter(~plain), dialect, layout),
    ]
    return pl.concat(apart).sort(SOURCE_ROW)


def _split_plain(records: pl.DataFrame, dialect: Dialect, layout: _Layout) -> pl.DataFrame:
    parts = records.lazy().with_columns(dialect.split_plain().alias(_PARTS))
    return parts.select(SOURCE_ROW, *_fields(layout)).collect(engine="streaming")


def _split_singly(records: pl.DataFrame, dialect: Dialect, layout: _Layout) -> pl.DataFrame:
    parts = [dialect.split_line(line) for line in records[RAW]]
    unclosed = pl.when(pl.col(_PARTS).is_null()).then(pl.lit("quotes do not match"))
    return (
        records.with_columns(pl.Series(_PARTS, parts, pl.List(pl.String)))
        .with_columns(pl.coalesce(PROBLEM, unclosed).alias(PROBLEM))
        .select(SOURCE_ROW, *_fields(layout))
    )


def _fields(layout: _Layout) -> Sequence[pl.Expr]:
    """The problem, if any, and the mapped fields, from the parts of each record."""
    parts = pl.col(_PARTS)
    found = parts.list.len()
    wrong = pl.format("wrong number of fields: {} found, {} expected", found, pl.lit(layout.width))
    problem = pl.coalesce(PROBLEM, pl.when(found != layout.width).then(wrong)).alias(PROBLEM)
    values = [
        parts.list.get(layout.positions[field], null_on_oob=True).alias(field)
        if field in layout.positions
        else pl.lit(None, pl.String).alias(field)
        for field in layout.fields
    ]
    return [problem, *values]
