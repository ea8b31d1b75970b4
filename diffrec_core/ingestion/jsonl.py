"""JSON: an object a line, or objects and arrays of objects over any number of lines.

Nested fields by dotted paths; a path that leads through a list makes an event of each of its
elements. Python's parser rather than a native one: it keeps numbers as they are written, so that
an id of 30 digits stays the text that it is in the log.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import polars as pl

from diffrec_core.common.errors import ConfigError
from diffrec_core.data.schema import ITEM_ID, RAW, SOURCE_ROW, TIMESTAMP, TITLE, USER_ID
from diffrec_core.ingestion.json_values import (
    SAMPLED_BYTES,
    Value,
    ValueStream,
    decode,
    is_by_line,
    values_by_line,
)
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

Fields = tuple[str | None, ...]
Row = tuple[int, str | None, *tuple[str | None, ...]]
"""Source row, problem, and a text per mapped field."""


class _ProblemError(ValueError):
    """Why a record cannot be read."""


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
        first = next(read_text(file, self._encoding, SAMPLED_BYTES))
        self._by_line = is_by_line(first.data)
        self._check_paths(first)

    def _check_paths(self, first: TextChunk) -> None:
        """Refuse a mapping to a field that none of the first records has."""
        values = (
            values_by_line(split_lines(first.data), 1)
            if self._by_line
            else ValueStream(self._file.path).take(first)
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
        row, stream = 1, ValueStream(self._file.path)
        for chunk in read_text(self._file, self._encoding, self._chunk_bytes):
            if self._by_line:
                lines = split_lines(chunk.data)
                texts, values = lines[RAW], values_by_line(lines, row)
            else:
                values = stream.take(chunk)
                texts = pl.Series([value.text for value in values], dtype=pl.String)
            yield self._batch(values, texts, row, chunk.position)
            row += len(texts)

    def _batch(self, values: list[Value], texts: pl.Series, first: int, position: int) -> RawBatch:
        """The rows of some values; what is written from the row `first` on is in the texts."""
        names = [field for field in self._paths if field not in self._constants]
        paths = [self._paths[field] for field in names]
        rows = [row for value in values for row in _rows(value, paths)]
        schema = {SOURCE_ROW: pl.Int64, PROBLEM: pl.String, **dict.fromkeys(names, pl.String)}
        constants = [pl.lit(text, pl.String).alias(f) for f, text in self._constants.items()]
        frame = pl.DataFrame(rows, schema=schema, orient="row").with_columns(constants)
        frame = frame.select(in_order(self._columns))

        def raw_text(rejected: pl.Series) -> pl.Series:
            return texts.gather(frame[SOURCE_ROW].filter(rejected) - first)

        return RawBatch(frame, raw_text, len(rows), len(texts) - len(values), position)


def _rows(value: Value, paths: Sequence[str]) -> list[Row]:
    """The rows of a value. Called for every line: nothing slow in here."""
    empty = (None,) * len(paths)
    if value.problem:
        return [(value.row, value.problem, *empty)]
    try:
        record, end = decode(value.text)
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


def _paths(values: Sequence[Value]) -> list[str]:
    """The dotted paths of all single values in some records, in order of appearance."""
    paths: dict[str, None] = {}
    for value in values[:1000]:
        try:
            pending = [("", decode(value.text)[0])]
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
