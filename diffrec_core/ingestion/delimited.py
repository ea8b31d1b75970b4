"""Delimited text (CSV, TSV, `::` and the like), a chunk at a time.

Polars takes apart what any reader can: chunks and lines whose records have the expected number of
fields. What is left (records over several lines, escapes, damaged lines) is taken apart here,
record by record, so that each damaged one is rejected with its own text.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

import polars as pl

from diffrec_core.common.errors import ConfigError, DataError
from diffrec_core.data.schema import RAW, SOURCE_ROW
from diffrec_core.ingestion.dialect import Dialect
from diffrec_core.ingestion.layout import LogFormat
from diffrec_core.ingestion.raw_manifest import RawFile
from diffrec_core.ingestion.raw_rows import (
    PROBLEM,
    Columns,
    Found,
    RawBatch,
    Source,
    find,
)
from diffrec_core.ingestion.shape import OddRecords, Shape
from diffrec_core.ingestion.text_lines import CHUNK_BYTES, TextChunk, read_text, split_lines

_SAMPLED_LINES: Final = 1000
_SAMPLED_BYTES: Final = 2**16
_MAX_RECORD: Final = 2**20
"""Characters of a record over several lines; a quote that is not closed after so many is a mistake
in its own line."""

_LINE: Final = "line"


class DelimitedReader:
    """Reads one file of delimited text.

    The header, or else the most usual number of fields in the first lines, says how many fields
    a record has; one with another number is a problem row.

    Args:
        file: the file.
        layout: its dialect.
        columns: our name -> its column.
        source: names the file in errors.
        chunk_bytes: how much to read at a time.

    Raises:
        ConfigError: a mapped column does not exist.
        DataError: the file is no text, or its header cannot be read.
    """

    def __init__(
        self,
        file: RawFile,
        layout: LogFormat,
        columns: Columns,
        source: Source,
        chunk_bytes: int = CHUNK_BYTES,
    ) -> None:
        self._file, self._format, self._columns, self._source = file, layout, columns, source
        self._chunk_bytes = chunk_bytes
        self._dialect = Dialect.of(layout)
        self._shape = self._look()
        self.missing = self._shape.found.missing

    def _look(self) -> Shape:
        """Find the header and the columns in the first lines that hold something."""
        lines: list[str] = []
        for chunk in read_text(self._file, self._format.encoding, _SAMPLED_BYTES):
            lines += split_lines(chunk.data)[RAW].to_list()
            numbered = pl.DataFrame({RAW: lines}, schema={RAW: pl.String}).with_row_index(_LINE)
            records = numbered.slice(self._format.skip_lines).filter(
                ~self._dialect.is_no_record(pl.col(RAW))
            )
            if records.height and (chunk.last or len(lines) > records[_LINE][0] + 1):
                return self._shape_of(lines, records)
        return Shape(Found({}, dict.fromkeys(self._columns), {}), {}, 0, len(lines))

    def _shape_of(self, lines: list[str], records: pl.DataFrame) -> Shape:
        first = int(records[_LINE][0])
        if not self._format.header:
            return self._shape_by_position(records[RAW].head(_SAMPLED_LINES).to_list(), first)
        if lines[first].startswith(("{", "[{")):
            raise DataError(f"{self._source.file} holds JSON: set its format to jsonl")
        text = "\n".join(lines[first:])
        record = self._dialect.split(text)
        if record.fields is None:
            raise DataError(
                f"{self._source.file}: quotes do not match in its header line: {lines[first][:200]}"
            )
        names = [name.strip().strip("\ufeff") for name in record.fields]
        if self._format.trailing_delimiter and not names[-1]:
            names.pop()
        hint = "; see `delimiter` and, for a preamble, `skip_lines`" if len(names) == 1 else ""
        found = find(self._columns, names, self._source, hint=hint)
        positions = {field: names.index(name) for field, name in found.columns.items()}
        after = first + text.count("\n", 0, record.end) + 1
        return Shape(found, positions, len(names), after)

    def _shape_by_position(self, lines: list[str], first: int) -> Shape:
        widths = Counter(len(self._dialect.split(line).fields or ()) for line in lines)
        width = max(widths, key=lambda width: (widths[width], width))
        width -= int(self._format.trailing_delimiter)
        positions = {f: int(at) for f, at in self._columns.items() if at is not None}
        errors = [
            f"{self._source.key(field)} = {position}: {self._source.file} has {width} columns, "
            f"counted from 0 (its first line: {lines[0][:100]!r})"
            for field, position in positions.items()
            if position >= width
        ]
        if errors:
            raise ConfigError("\n  ".join(errors))
        constants = dict.fromkeys(f for f in self._columns if f not in positions)
        return Shape(Found({}, constants, {}), positions, width, first)

    def batches(self) -> Iterator[RawBatch]:
        """Read the file; see `Reader.batches`."""
        row, rest, blank = 1, b"", 0
        for chunk in read_text(self._file, self._format.encoding, self._chunk_bytes):
            data = rest + chunk.data
            before = self._shape.first_line + 1 - row
            if before > 0:
                data, passed, empty = self._without_lines(data, before, row)
                row, blank = row + passed, blank + empty
            rest = b""
            if data:
                batch, rest = self._batch(data, row, chunk, blank)
                row += data.count(b"\n") - rest.count(b"\n")
                blank = 0
                yield batch
        if blank:
            nothing = self._shape.odd_rows(OddRecords(), self._columns, row)
            yield RawBatch(nothing, _no_texts, 0, blank, chunk.position)

    def _without_lines(self, data: bytes, count: int, row: int) -> tuple[bytes, int, int]:
        """The data without its first lines; how many these are, and how many of them blank."""
        lines = data.split(b"\n", count)
        passed = min(count, data.count(b"\n") + (not data.endswith(b"\n")))
        header = self._shape.first_line if self._format.header else self._shape.first_line + 1
        blank = sum(
            not lines[at].strip() or self._is_comment(lines[at])
            for at in range(passed)
            if self._format.skip_lines < row + at < header
        )
        return lines[count] if len(lines) > count else b"", passed, blank

    def _is_comment(self, line: bytes) -> bool:
        comment = self._format.comment
        return comment is not None and line.startswith(comment.encode())

    def _batch(self, data: bytes, row: int, chunk: TextChunk, blank: int) -> tuple[RawBatch, bytes]:
        """The records of some whole lines, and the bytes of a last one that is not whole yet."""
        whole = self._shape.all_simple(data, self._dialect, self._format)
        if whole is not None:
            apart = _Apart(self._shape.rows(whole, self._columns, row=row), whole.height, 0)
        else:
            apart = self._take_apart(split_lines(data), row, chunk)
        rest = b"" if apart.cut is None else data.split(b"\n", apart.cut)[apart.cut]

        def raw_text(rejected: pl.Series) -> pl.Series:
            return _texts(data, apart.rows[SOURCE_ROW].filter(rejected), row, apart.spans)

        batch = RawBatch(apart.rows, raw_text, apart.read, apart.blank + blank, chunk.position)
        return batch, b"" if chunk.last else rest

    def _take_apart(self, lines: pl.DataFrame, row: int, chunk: TextChunk) -> "_Apart":
        width, line = self._shape.width + int(self._format.trailing_delimiter), pl.col(RAW)
        simple = self._dialect.is_simple(line, width) & pl.col(PROBLEM).is_null()
        if self._format.trailing_delimiter:
            simple = simple & line.str.ends_with(self._format.delimiter)
        lines = lines.with_columns(
            simple.alias("simple"), self._dialect.is_no_record(line).alias("no_record")
        ).with_row_index(_LINE)
        odd = lines.filter(~pl.col("simple") & ~pl.col("no_record"))[_LINE].to_list()
        records = self._odd_records(lines, odd, chunk) if odd else OddRecords()
        inside = pl.Series(sorted(records.inside), dtype=lines[_LINE].dtype)
        left = lines.filter(~pl.col(_LINE).is_in(inside))
        if records.cut is not None:
            left = left.filter(pl.col(_LINE) < records.cut)
        simple_lines = left.filter(pl.col("simple") & ~pl.col("no_record"))
        parts = [
            self._simple_rows(simple_lines, row),
            self._shape.odd_rows(records, self._columns, row),
        ]
        rows = pl.concat(parts).sort(SOURCE_ROW)
        blank = int(left["no_record"].sum())
        read = left.height - blank + len(records.firsts)  # of lines, not of the rows made of them
        return _Apart(rows, read, blank, records.spans(row), records.cut)

    def _simple_rows(self, lines: pl.DataFrame, row: int) -> pl.DataFrame:
        shape, data = self._shape, "\n".join(lines[RAW]).encode()
        fields = shape.split(data, self._dialect, self._format) if lines.height else None
        if fields is None or fields.height != lines.height:
            odd = OddRecords()
            for at, text in lines.select(_LINE, RAW).iter_rows():
                odd.add(at, at + 1, self._dialect.split(text).fields, None)
            return shape.odd_rows(self._checked(odd), self._columns, row)
        return shape.rows(fields, self._columns, numbers=lines[_LINE].cast(pl.Int64) + row)

    def _odd_records(self, lines: pl.DataFrame, odd: Sequence[int], chunk: TextChunk) -> OddRecords:
        """Take apart the lines that are not simple, with those that their records go on in."""
        texts, problems = lines[RAW].to_list(), lines[PROBLEM]
        records, until = OddRecords(), 0
        for at in odd:
            if at < until:
                continue
            fields, end = self._record(texts, at, chunk)
            if end is None:
                records.cut = at
                break
            until = end
            problem = next(filter(None, problems[at:end]), None)
            records.add(at, end, fields, problem)
        return self._checked(records)

    def _checked(self, records: OddRecords) -> OddRecords:
        """Say what is wrong with records that have no fields, or another number of them."""
        width, trailing = self._shape.width, self._format.trailing_delimiter
        for at, fields in enumerate(records.fields):
            if fields is None:
                records.problems[at] = records.problems[at] or "quotes do not match"
                continue
            if trailing and len(fields) > 1 and not fields[-1]:
                fields.pop()
            elif trailing:
                records.problems[at] = records.problems[at] or "no delimiter at its end"
            if len(fields) != width:
                wrong = f"wrong number of fields: {len(fields)} found, {width} expected"
                records.problems[at] = records.problems[at] or wrong
        return records

    def _record(
        self, lines: list[str], at: int, chunk: TextChunk
    ) -> tuple[list[str] | None, int | None]:
        """The fields of the record that begins in a line, and the line after it.

        No fields where quotes do not match: a quote that no later line closes in a way that
        makes a record of the right width damages its own line alone. No line where more must be
        read to know.
        """
        record, end = self._dialect.split(lines[at]), at + 1
        width = self._shape.width + int(self._format.trailing_delimiter)
        text = lines[at]
        while record.unclosed and len(text) <= _MAX_RECORD:
            if end == len(lines):
                growing = chunk.growing or not chunk.last
                return None, None if growing else at + 1
            end = min(len(lines), at + 2 * (end - at))
            text = "\n".join(lines[at:end])
            record = self._dialect.split(text)
        if end == at + 1 or record.fields is None or len(record.fields) != width:
            return (record.fields if end == at + 1 else None), at + 1
        return record.fields, at + 1 + text.count("\n", 0, record.end)


@dataclass(frozen=True, slots=True)
class _Apart:
    """Some lines, taken apart: rows, how many records and blank lines, where reading stopped."""

    rows: pl.DataFrame
    read: int
    blank: int
    spans: dict[int, int] = field(default_factory=dict)
    cut: int | None = None


def _no_texts(rejected: pl.Series) -> pl.Series:
    return pl.Series(RAW, [], pl.String)


def _texts(data: bytes, numbers: pl.Series, row: int, spans: dict[int, int]) -> pl.Series:
    """The raw text of the records that begin in the numbered lines."""
    lines = data.split(b"\n")
    texts = []
    for number in numbers:
        first = number - row
        text = b"\n".join(lines[first : first + spans.get(number, 1)])
        texts.append(text.decode(errors="backslashreplace").removesuffix("\r"))
    return pl.Series(RAW, texts, pl.String)
