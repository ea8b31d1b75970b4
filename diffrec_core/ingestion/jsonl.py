"""JSON: an object a line, or objects and arrays of objects over any number of lines.

Nested fields by dotted paths; a path that leads through a list makes an event of each of its
elements. Python's parser rather than a native one: it keeps numbers as they are written, so that
an id of 30 digits stays the text that it is in the log.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any, Final

import polars as pl

from diffrec_core.common.errors import ConfigError, DataError
from diffrec_core.data.schema import ITEM_ID, RAW, SOURCE_ROW, TIMESTAMP, TITLE, USER_ID
from diffrec_core.ingestion.layout import LogFormat
from diffrec_core.ingestion.raw_manifest import RawFile
from diffrec_core.ingestion.raw_rows import (
    EMPTY_LIST,
    PROBLEM,
    UNEQUAL_LISTS,
    Columns,
    RawBatch,
    Source,
    in_order,
)
from diffrec_core.ingestion.text_lines import CHUNK_BYTES, TextChunk, read_text, split_lines

_REQUIRED: Final = frozenset({USER_ID, ITEM_ID, TIMESTAMP, TITLE})
_SAMPLED_BYTES: Final = 2**16
_MAX_VALUE: Final = 64 * 2**20
_BETWEEN: Final = " \t\r\n,\ufeff"
"""Between the values of a text that is not JSON lines."""


def _number(text: str) -> str:
    """A number as it is written; without its exponent where it is whole.

    >>> _number("1.50"), _number("1e3"), _number("1E-7")
    ('1.50', '1000', '1E-7')
    """
    if "e" not in text and "E" not in text:
        return text
    try:
        number = Decimal(text)
        whole = number.adjusted() < 40 and number == number.to_integral_value()
    except InvalidOperation:
        return text
    return str(int(number)) if whole else text


_decode: Final = json.JSONDecoder(parse_float=_number, parse_int=str, parse_constant=str).raw_decode

Fields = tuple[str | None, ...]
Row = tuple[int, str | None, *tuple[str | None, ...]]
"""Source row, problem, and a text per mapped field."""


class _ProblemError(ValueError):
    """Why a record cannot be read."""


@dataclass(frozen=True, slots=True)
class _Value:
    """A JSON text of its own: one line, or one value of a text that is not JSON lines."""

    row: int
    text: str
    problem: str | None


class JsonReader:
    """Reads one file of JSON.

    Args:
        file: the file.
        layout: its encoding.
        columns: our name -> its (dotted) path.
        source: names the file in errors.
        chunk_bytes: how much to read at a time.

    Raises:
        ConfigError: a required field occurs in none of the first records.
        DataError: the file is no text.
    """

    def __init__(
        self,
        file: RawFile,
        layout: LogFormat,
        columns: Columns,
        source: Source,
        chunk_bytes: int = CHUNK_BYTES,
    ) -> None:
        self._file, self._encoding, self._source = file, layout.encoding, source
        self._columns, self._chunk_bytes = columns, chunk_bytes
        partitions = source.partitions()
        self._paths = {f: str(path) for f, path in columns.items() if path is not None}
        constants = {f: partitions[p] for f, p in self._paths.items() if p in partitions}
        self._constants = {**dict.fromkeys(f for f in columns if f not in self._paths), **constants}
        self.missing: dict[str, ConfigError] = {}
        first = next(read_text(file, self._encoding, _SAMPLED_BYTES))
        self._by_line = _is_by_line(first.data)
        self._check_paths(first)

    def _check_paths(self, first: TextChunk) -> None:
        """Refuse a mapping to a field that none of the first records has."""
        values = (
            _values_by_line(first.data, 1)
            if self._by_line
            else _Stream(self._file.path).take(first)
        )
        paths = _paths(values)
        errors = [
            str(self._source.unknown_column(field, path, paths))
            for field, path in self._paths.items()
            if field in _REQUIRED and field not in self._constants and paths
            if path not in paths and not any(p.startswith(f"{path}.") for p in paths)
        ]
        if errors:
            raise ConfigError("\n  ".join(errors))

    def batches(self) -> Iterator[RawBatch]:
        """Read the file; see `Reader.batches`."""
        row, stream = 1, _Stream(self._file.path)
        for chunk in read_text(self._file, self._encoding, self._chunk_bytes):
            if self._by_line:
                values = _values_by_line(chunk.data, row)
                count = chunk.data.count(b"\n") + (not chunk.data.endswith(b"\n"))
                count = count if chunk.data else 0
                row += count
                yield self._batch(values, chunk, count - len(values))
            else:
                yield self._batch(stream.take(chunk), chunk, 0)

    def _batch(self, values: list[_Value], chunk: TextChunk, blank: int) -> RawBatch:
        names = [field for field in self._paths if field not in self._constants]
        paths = [self._paths[field] for field in names]
        rows = [row for value in values for row in _rows(value, paths)]
        schema = {SOURCE_ROW: pl.Int64, PROBLEM: pl.String, **dict.fromkeys(names, pl.String)}
        constants = [pl.lit(text, pl.String).alias(f) for f, text in self._constants.items()]
        frame = pl.DataFrame(rows, schema=schema, orient="row").with_columns(constants)
        frame = frame.select(in_order(self._columns))

        def raw_text(rejected: pl.Series) -> pl.Series:
            texts = {value.row: value.text for value in values}
            found = [texts[row] for row in frame[SOURCE_ROW].filter(rejected)]
            return pl.Series(RAW, found, pl.String)

        return RawBatch(frame, raw_text, len(rows), blank, chunk.position)


def json_texts(file: RawFile, encoding: str) -> list[str]:
    """The first JSON values of a file, each as its text."""
    first = next(read_text(file, encoding, _SAMPLED_BYTES))
    by_line = _is_by_line(first.data)
    values = _values_by_line(first.data, 1) if by_line else _Stream(file.path).take(first)
    return [value.text for value in values if value.problem is None]


def _is_by_line(data: bytes) -> bool:
    """Whether the first line that holds something is an object, or damaged, but no beginning."""
    text = data.decode(errors="replace").strip(_BETWEEN)
    if text.startswith("["):
        return False
    line = text.partition("\n")[0]
    try:
        _, end = _decode(line)
    except (json.JSONDecodeError, RecursionError):
        try:
            _, end = _decode(text)
        except (json.JSONDecodeError, RecursionError):
            return not text.startswith("{") or line.strip() != "{"
        return "\n" not in text[:end]
    return end == len(line.rstrip()) or not line[end:].lstrip(_BETWEEN).startswith("{")


def _values_by_line(data: bytes, row: int) -> list[_Value]:
    lines = split_lines(data).with_columns(pl.col(RAW).str.strip_chars(" \t\r\ufeff").alias("text"))
    return [
        _Value(row + at, raw if problem else text, problem)
        for at, (raw, problem, text) in enumerate(lines.iter_rows())
        if text.strip()
    ]


class _Stream:
    """Takes values one after the other off a text in which line ends mean nothing.

    Their source row counts the values from 1. Of a damaged value, the text up to the next line
    that begins like the first value is rejected; where there is no such line, so is the file.

    Args:
        path: of the file, for messages.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._rest, self._row, self._start, self._in_array = "", 0, "", False

    def take(self, chunk: TextChunk) -> list[_Value]:
        """The values that end in this chunk."""
        text = self._rest + chunk.data.decode(errors="backslashreplace")
        at, values = _skip(text, 0), list[_Value]()
        while at < len(text):
            if text[at] == ("]" if self._in_array else "["):  # around all
                self._in_array = not self._in_array
                at = _skip(text, at + 1)
                continue
            end, problem = self._end(text, at, last=chunk.last)
            if end is None:
                break
            self._row += 1
            values.append(_Value(self._row, text[at:end], problem))
            at = _skip(text, end)
        self._rest = text[at:]
        if len(self._rest) > _MAX_VALUE:
            raise DataError(f"{self._path} has a JSON value of more than {_MAX_VALUE // 2**20} MiB")
        if chunk.last and self._in_array and not chunk.growing:
            raise DataError(f"{self._path} is incomplete: its JSON array does not end")
        return values

    def _end(self, text: str, at: int, *, last: bool) -> tuple[int | None, str | None]:
        """Where the value ends, and what is wrong with it; None: not in this text."""
        if not self._start:
            self._start = text[text.rfind("\n", 0, at) + 1 : at + 1].lstrip("[")
        try:
            end = _decode(text, at)[1]
        except RecursionError:
            problem, cut = "not valid JSON: nested too deeply", False
        except json.JSONDecodeError as error:
            problem = f"not valid JSON: {error.msg} at position {error.pos - at}"
            cut = error.pos >= len(text.rstrip()) or error.msg.startswith("Unterminated")
        else:
            # a number at the end of the text may go on
            return (end, None) if last or end < len(text) else (None, None)
        following = text.find(f"\n{self._start}", at)
        if following >= 0:
            return following, problem
        if last and not cut:
            raise DataError(
                f"{self._path} is damaged: after {self._row} JSON values, {problem}: "
                f"{text[at : at + 100]!r}"
            )
        return (len(text), problem) if last else (None, None)


def _skip(text: str, at: int) -> int:
    while at < len(text) and text[at] in _BETWEEN:
        at += 1
    return at


def _rows(value: _Value, paths: Sequence[str]) -> list[Row]:
    """The rows of a value. Called for every line: nothing slow in here."""
    empty = (None,) * len(paths)
    if value.problem:
        return [(value.row, value.problem, *empty)]
    try:
        record, end = _decode(value.text)
        if end != len(value.text):
            raise _ProblemError(f"not valid JSON: text after the object at position {end}")
        fields = _fields(record, paths)
        if "\\u" in value.text:  # escapes can spell half a character, which no UTF-8 text can hold
            for each in fields:
                "".join(filter(None, each)).encode()
    except _ProblemError as error:
        problem = str(error)
    except json.JSONDecodeError as error:
        problem = f"not valid JSON: {error.msg} at position {error.pos}"
    except RecursionError:
        problem = "not valid JSON: nested too deeply"
    except UnicodeEncodeError:
        problem = "not valid JSON: an escape sequence is half a character"
    else:
        return [(value.row, None, *each) for each in fields]
    return [(value.row, problem, *empty)]


def _fields(record: Any, paths: Sequence[str]) -> list[Fields]:
    if not isinstance(record, dict):
        raise _ProblemError("not a JSON object")
    fields: list[Any] = []
    lists = False
    for path in paths:
        value = record.get(path)
        if value is None and "." in path:
            value = _find(record, path.split("."))
        if value is not None and type(value) is not str:
            lists = lists or isinstance(value, list)
            value = value if isinstance(value, list) else _text(value, path)
        fields.append(value)
    return _by_element(fields, paths) if lists else [tuple(fields)]


def _find(value: Any, path: Sequence[str]) -> Any:
    """Follow a path; None where it leads to nothing, a list where it leads through one.

    >>> _find({"user": {"id": "7"}}, ["user", "id"]), _find({"user": "7"}, ["user", "id"])
    ('7', None)
    >>> _find({"events": [{"item": "1"}, {"item": "2"}]}, ["events", "item"])
    ['1', '2']
    """
    for at, part in enumerate(path):
        if isinstance(value, list):
            return [_find(each, path[at:]) for each in value]
        value = value.get(part) if isinstance(value, dict) else None
    return value


def _by_element(fields: Sequence[Any], paths: Sequence[str]) -> list[Fields]:
    """An event of each element of the lists; what is no list is the same in all of them."""
    lengths = {len(value) for value in fields if isinstance(value, list)}
    if len(lengths) > 1:
        raise _ProblemError(f"{UNEQUAL_LISTS}: {', '.join(map(str, sorted(lengths)))} elements")
    if lengths == {0}:
        raise _ProblemError(EMPTY_LIST)
    rows: list[Fields] = []
    for at in range(lengths.pop()):
        row = [value[at] if isinstance(value, list) else value for value in fields]
        if any(isinstance(value, list) for value in row):
            rows += _by_element(row, paths)
        else:
            rows.append(tuple(map(_text, row, paths)))
    return rows


def _text(value: Any, path: str) -> str | None:
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool):
        return str(value).lower()
    raise _ProblemError(f"{path} is not a single value: {json.dumps(value)[:100]}")


def _paths(values: Sequence[_Value]) -> list[str]:
    """The dotted paths of all single values in some records, in order of appearance."""
    paths: dict[str, None] = {}
    for value in values[:1000]:
        try:
            pending = [("", _decode(value.text)[0])]
        except (json.JSONDecodeError, RecursionError):
            continue
        while pending:
            prefix, record = pending.pop(0)
            if not isinstance(record, Mapping):
                paths[prefix.removesuffix(".")] = None
                continue
            for name, inner in record.items():
                pending += [
                    (f"{prefix}{name}.", each)
                    for each in (inner if isinstance(inner, list) else [inner])
                ]
    paths.pop("", None)
    return list(paths)
