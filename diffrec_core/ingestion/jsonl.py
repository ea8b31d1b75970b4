"""JSON lines: one object per line, nested fields by dotted paths.

Python's parser rather than a native one: it keeps numbers as they are written, so that an id of
30 digits, or `1.0`, stays the text that it is in the log.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import polars as pl

from diffrec_core.data.schema import ITEM_ID, RAW, SOURCE_ROW, TIMESTAMP, TITLE, USER_ID
from diffrec_core.ingestion.raw_rows import PROBLEM, Columns, RawBatch, Source
from diffrec_core.ingestion.text_lines import CHUNK_BYTES, read_line_chunks

_REQUIRED: Final = frozenset({USER_ID, ITEM_ID, TIMESTAMP, TITLE})
_decode: Final = json.JSONDecoder(parse_float=str, parse_int=str, parse_constant=str).raw_decode

Row = tuple[str | None, ...]


class _ProblemError(ValueError):
    """Why a line cannot be read."""


def read_jsonl(
    path: Path,
    columns: Columns,
    source: Source,
    *,
    size: int | None = None,
    chunk_bytes: int = CHUNK_BYTES,
) -> Iterator[RawBatch]:
    """Read a file of JSON lines, or so many of its first bytes, in batches.

    Raises:
        ConfigError: a required field occurs in no record of the first batch.
        DataError: the file is no text.
    """
    names = {field: str(column) for field, column in columns.items() if column is not None}
    schema = {PROBLEM: pl.String, **dict.fromkeys(names, pl.String)}
    unmapped = [pl.lit(None, pl.String).alias(field) for field in columns if field not in names]
    checked = False
    for chunk in read_line_chunks(path, chunk_bytes, size=size):
        records = chunk.lines.filter(pl.col(RAW).str.strip_chars() != "")
        parsed = _parse(records, tuple(names.values()))
        checked = checked or _check_fields(records, parsed, names, source)
        rows = pl.DataFrame(parsed, schema=schema, orient="row").with_columns(unmapped)
        yield RawBatch(
            rows=rows.insert_column(0, records[SOURCE_ROW]),
            raw_text=records[RAW].filter,
            read=records.height,
            blank=chunk.count - records.height,
            position=chunk.position,
        )


def _parse(records: pl.DataFrame, names: Sequence[str]) -> list[Row]:
    empty = (None,) * len(names)
    stripped = records.select(pl.col(RAW).str.strip_chars(" \t\r")).to_series()
    lines = zip(stripped, records[PROBLEM], strict=True)
    return [(problem, *empty) if problem else _parse_line(line, names) for line, problem in lines]


def _parse_line(line: str, names: Sequence[str]) -> Row:
    """The problem, if any, and one text per name. Called for every line: nothing slow in here."""
    try:
        record, end = _decode(line)
        if end != len(line):
            raise _ProblemError(f"not valid JSON: text after the object at position {end}")
        fields = _fields(record, names)
        if "\\u" in line:  # escapes can spell half a character, which no UTF-8 text can hold
            "".join(filter(None, fields)).encode()
    except _ProblemError as error:
        problem = str(error)
    except json.JSONDecodeError as error:
        problem = f"not valid JSON: {error.msg} at position {error.pos}"
    except RecursionError:
        problem = "not valid JSON: nested too deeply"
    except UnicodeEncodeError:
        problem = "not valid JSON: an escape sequence is half a character"
    else:
        return (None, *fields)
    return (problem, *(None,) * len(names))


def _fields(record: Any, names: Sequence[str]) -> list[str | None]:
    if not isinstance(record, dict):
        raise _ProblemError("not a JSON object")
    fields = []
    for name in names:
        value = record.get(name)
        if value is None and "." in name:
            value = _find(record, name)
        if value is not None and type(value) is not str:
            value = _text(value, name)
        fields.append(value)
    return fields


def _find(record: dict[str, Any], path: str) -> Any:
    """Follow a dotted path; None where it leads to nothing.

    >>> _find({"user": {"id": "7"}}, "user.id"), _find({"user": "7"}, "user.id")
    ('7', None)
    """
    value: Any = record
    for part in path.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    return value


def _text(value: Any, name: str) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    raise _ProblemError(f"{name} is not a single value: {json.dumps(value)[:100]}")


def _check_fields(
    records: pl.DataFrame, parsed: Sequence[Row], names: Mapping[str, str], source: Source
) -> bool:
    """Refuse a mapping to a field that no record has; True once there was one to look at."""
    readable = [line for line, row in zip(records[RAW], parsed, strict=True) if row[0] is None]
    paths = _paths(readable[:1000])
    for at, (field, name) in enumerate(names.items(), start=1):
        absent = name not in paths and all(row[at] is None for row in parsed)
        if readable and absent and field in _REQUIRED:
            raise source.unknown_column(field, name, paths)
    return bool(readable)


def _paths(lines: Sequence[str]) -> list[str]:
    """The dotted paths of all single values in some records, in order of appearance."""
    paths: dict[str, None] = {}
    for line in lines:
        pending = [("", _decode(line.strip())[0])]
        while pending:
            prefix, record = pending.pop(0)
            for name, value in record.items():
                if isinstance(value, dict):
                    pending.append((f"{prefix}{name}.", value))
                else:
                    paths[f"{prefix}{name}"] = None
    return list(paths)
