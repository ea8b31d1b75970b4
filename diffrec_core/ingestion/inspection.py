"""A look at an unknown log: its format and dialect, its columns, and what they may mean.

What is found is a proposal for sections of params.yaml, for a person to read: guesses are marked.
"""

import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import polars as pl

from diffrec_core.common.errors import DataError
from diffrec_core.data.schema import EVENT_TYPE, ITEM_ID, TIMESTAMP, USER_ID, VALUE
from diffrec_core.ingestion.dialect import Dialect
from diffrec_core.ingestion.json_values import json_texts
from diffrec_core.ingestion.layout import NULL_MARKERS, LogFormat
from diffrec_core.ingestion.raw_bytes import PARQUET
from diffrec_core.ingestion.raw_manifest import RawFile
from diffrec_core.ingestion.readers import open_log
from diffrec_core.ingestion.text_lines import read_text, split_lines
from diffrec_core.ingestion.timestamps import microseconds

SAMPLE_BYTES: Final = 2**20
_LINES: Final = 2000
_DELIMITERS: Final = ("\t", "::", ";", "|", ",", "\x01", " ")
_NAMES: Final = {
    USER_ID: (
        "user_id user userid uid customer_id customerid customer visitorid visitor user_pseudo_id "
        "reviewerid reviewer_id session_id session sessionid account member_id client_id"
    ),
    ITEM_ID: (
        "item_id item itemid iid product_id productid sku asin parent_asin stockcode movie_id "
        "movieid business_id video_id articleid article_id traid song_id track_id aid app_id "
        "game product gmap_id location_id"
    ),
    TIMESTAMP: (
        "timestamp time ts event_time event_timestamp datetime date at created_at "
        "unixreviewtime invoicedate t_dat time_ms"
    ),
    EVENT_TYPE: "event_type event action behavior type event_name behavior_type",
    VALUE: "rating value stars overall score quantity count plays watch_ratio hours",
}
"""Names that columns of public logs have, the likeliest first."""

_TIME_PATTERNS: Final = (
    "iso8601", "%d/%m/%Y %H:%M:%S", "%m/%d/%Y %H:%M", "%m/%d/%Y %H:%M:%S", "%d/%m/%Y %H:%M",
    "%d.%m.%Y %H:%M:%S", "%d.%m.%Y %H:%M", "%Y/%m/%d %H:%M:%S", "%m/%d/%Y", "%d/%m/%Y", "%d.%m.%Y",
    "%Y%m%d %H:%M:%S", "%d/%b/%Y:%H:%M:%S %z", "%a %b %d %H:%M:%S %z %Y", "%b %d, %Y", "%Y%m%d",
)  # fmt: skip
UNITS: Final = ("seconds", "milliseconds", "microseconds", "nanoseconds")


@dataclass(slots=True)
class Column:
    """What a sample of a column looks like.

    Attributes:
        name: its name, dotted path, or position.
        texts: its values as text, null where they are missing.
        time_format: in which its values are plausible times; None: they are none.
        typed_time: the file says that these are times.
    """

    name: str | int
    texts: pl.Series
    time_format: str | None = None
    typed_time: bool = False

    def describe(self) -> str:
        """Say what was seen, for a comment."""
        some = self.texts.drop_nulls()
        missing = f", {self.texts.null_count()} missing" if self.texts.null_count() else ""
        examples = ", ".join(repr(text[:30]) for text in some.unique(maintain_order=True)[:3])
        return f"{some.n_unique()} different{missing}, such as {examples}"


@dataclass(slots=True)
class Inspection:
    """What a log looks like.

    Attributes:
        layout: keys of section `ingest` that say how to read it.
        columns: the sample, by name.
        mapping: our names -> its columns, as far as they were recognised.
        settings: further keys of the section.
        notes: what else a person should know.
    """

    layout: dict[str, Any]
    columns: list[Column]
    mapping: dict[str, Column] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def inspect(path: Path) -> Inspection:
    """Look at the first bytes of a log.

    Raises:
        DataError: it is empty or in a format that is not read.
    """
    file = _first_bytes(path)
    with path.open("rb") as opened:
        is_parquet = opened.read(4) == PARQUET
    found = _parquet(file) if is_parquet else _text(file)
    for column in found.columns:
        column.time_format = None if column.typed_time else _time_format(column.texts)
    _map(found)
    return found


def _first_bytes(path: Path) -> RawFile:
    if not path.stat().st_size:
        raise DataError(f"{path} is empty: there is nothing to look at")
    return _Sampled(path.as_posix(), path.stat().st_size, "")


class _Sampled(RawFile):
    """A file of which some is read and no checksum is known."""

    __slots__ = ()

    def check(self, sha256: str) -> None:
        """Take whatever it is."""


def _text(file: RawFile) -> Inspection:
    lines, encoding = _sample(file)
    first = next((line for line in lines if line.strip()), "").lstrip()
    if first.startswith(("{", "[{")) or first == "[":
        return _json(file, encoding)
    return _delimited(file, lines, encoding)


def _sample(file: RawFile) -> tuple[list[str], str]:
    """The first lines of a text file, and the encoding that they can be decoded in."""
    for encoding in ("utf-8", "cp1252", "latin-1"):
        chunk = next(iter(read_text(file, encoding, SAMPLE_BYTES)))
        lines = split_lines(chunk.data)
        if not lines["problem"].is_not_null().any():
            break
    return lines["raw"].head(_LINES).to_list(), encoding


def _delimited(file: RawFile, lines: Sequence[str], encoding: str) -> Inspection:
    delimiter = max(_DELIMITERS, key=lambda each: _regularity(lines, each))
    rows = [_cells(line, delimiter) for line in lines]
    widths = Counter(len(row) for row in rows if len(row) > 1)
    width = max(widths, key=lambda each: widths[each], default=1)
    skip = next(at for at, row in enumerate(rows) if len(row) >= width - 1 and any(row))
    body = rows[skip + 1 :] or rows[skip:]
    layout: dict[str, Any] = {"format": "delimited", "delimiter": delimiter}
    if encoding != "utf-8":
        layout["encoding"] = encoding
    if any(line.strip() for line in lines[:skip]):
        layout["skip_lines"] = skip
    cells = [cell.strip().strip("\ufeff") for cell in rows[skip]]
    if all(not row[-1] for row in body if len(row) == width) and (
        len(cells) == width - 1 or not cells[-1]
    ):
        layout["trailing_delimiter"] = True
        cells = cells[: width - 1]
    layout["header"] = all(cell and not _is_value(cell) for cell in cells)
    layout |= _quoting(lines[skip + 1 :], delimiter)
    unique = [name for name in cells if cells.count(name) == 1]
    names: Sequence[str | int] = unique if layout["header"] else range(len(cells))
    found = Inspection(layout, _read(file, layout, names))
    if delimiter != "," and any(re.fullmatch(r"-?\d+,\d+", cell) for row in body for cell in row):
        found.settings["decimal"] = ","
    return found


def _cells(line: str, delimiter: str) -> list[str]:
    fields = Dialect(delimiter).split(line).fields
    return line.split(delimiter) if fields is None else fields


def _quoting(lines: Sequence[str], delimiter: str) -> dict[str, Any]:
    """What to say of quotes, where they are not around fields and doubled inside them."""
    quoted = [c for line in lines for c in line.split(delimiter) if c.startswith('"')]
    if any('\\"' in line for line in lines):
        return {"escape": "\\"}
    closed = sum(cell.endswith('"') and len(cell) > 1 for cell in quoted)
    return {"quote": None} if delimiter != "," and closed < 0.8 * len(quoted) else {}


def _regularity(lines: Sequence[str], delimiter: str) -> tuple[float, int]:
    """How many lines have the usual number of delimiters, and how many that is."""
    counts = [line.count(delimiter) for line in lines if line.strip()]
    usual = max(set(counts), key=counts.count, default=0)
    share = counts.count(usual) / max(len(counts), 1)
    return (0.0 if not usual else round(share, 1), len(delimiter) * usual)


def _is_value(cell: str) -> bool:
    return bool(re.fullmatch(r"[\s\"']*-?\d[\d.,:eE+\-/ TZ]*[\s\"']*", cell))


def _read(file: RawFile, layout: Mapping[str, Any], names: Iterable[str | int]) -> list[Column]:
    """The first values of columns, read as the pipeline reads them."""
    columns = {f"c{at}": name for at, name in enumerate(names)}
    reader = open_log(file, LogFormat(**layout), columns)
    rows = next(iter(reader.batches())).rows.head(_LINES * 5)
    texts = {key: rows[key].cast(pl.String).str.strip_chars() for key in columns}
    return [
        Column(
            name,
            pl.select(pl.when(~texts[key].is_in(["", *NULL_MARKERS])).then(texts[key])).to_series(),
        )
        for key, name in columns.items()
    ]


def _json(file: RawFile, encoding: str) -> Inspection:
    layout: dict[str, Any] = {"format": "jsonl"}
    if encoding != "utf-8":
        layout["encoding"] = encoding
    values: dict[str, list[str | None]] = {}
    sampled, bad = json_texts(file, encoding)[:_LINES], 0
    for text in sampled:
        try:
            _leaves(json.loads(text, parse_int=str, parse_float=str), "", values)
        except ValueError:
            bad += 1
    columns = [Column(name, pl.Series(texts, dtype=pl.String)) for name, texts in values.items()]
    notes = [f"{bad} of {len(sampled)} records of the sample are not valid JSON"] if bad else []
    return Inspection(layout, columns, notes=notes)


def _leaves(value: Any, path: str, into: dict[str, list[str | None]]) -> None:
    if isinstance(value, dict):
        for name, inner in value.items():
            _leaves(inner, f"{path}.{name}" if path else name, into)
    elif isinstance(value, list):
        for inner in value[:50]:
            _leaves(inner, path, into)
    else:
        into.setdefault(path, []).append(None if value is None else str(value))


def _parquet(file: RawFile) -> Inspection:
    schema = pl.scan_parquet(file.path, glob=False, hive_partitioning=False).collect_schema()
    head = pl.scan_parquet(file.path, glob=False, hive_partitioning=False).head(_LINES).collect()
    columns = []
    for name, dtype in schema.items():
        if dtype.is_nested():
            values: dict[str, list[str | None]] = {}
            for row in head[name].to_list():
                _leaves(row, name, values)
            columns += [Column(path, pl.Series(v, dtype=pl.String)) for path, v in values.items()]
            continue
        texts = [None if value is None else str(value) for value in head[name]]
        typed = isinstance(dtype, pl.Datetime | pl.Date)
        columns.append(Column(name, pl.Series(texts, dtype=pl.String), typed_time=typed))
    return Inspection({"format": "parquet"}, columns)


def _time_format(texts: pl.Series) -> str | None:
    """The format in which nearly all values are times since 1990 that lie close together."""
    some = texts.drop_nulls().head(500)
    now = datetime.now(UTC) + timedelta(days=1)
    first, last = (int(time.timestamp() * 1e6) for time in (datetime(1990, 1, 1, tzinfo=UTC), now))
    for each in (*UNITS, *_TIME_PATTERNS):
        try:
            read = microseconds(some, each).drop_nulls()
        except pl.exceptions.PolarsError:
            continue
        if len(some) and read.is_between(first, last).sum() >= 0.95 * len(some):
            return each
    return None


def _map(found: Inspection) -> None:
    """Guess which column is which: by name first, then by what is in it."""
    left = list(found.columns)
    for field_, names in _NAMES.items():
        candidates = [c for c in left if field_ != TIMESTAMP or c.time_format or c.typed_time]
        ranked = {name: at for at, name in enumerate(names.split())}
        named = [c for c in candidates if _plain(c.name) in ranked]
        if named:
            _take(found, left, field_, min(named, key=lambda c: ranked[_plain(c.name)]))
    by_content: dict[str, Callable[[Column], bool]] = {
        TIMESTAMP: lambda column: bool(column.time_format or column.typed_time),
        USER_ID: lambda column: not _is_measure(column),
        ITEM_ID: lambda column: not _is_measure(column),
    }
    for field_, fits in by_content.items():
        if field_ in found.mapping:
            continue
        fitting = [column for column in left if fits(column)]
        if fitting:
            _take(found, left, field_, fitting[0])
            found.notes.append(f"{field_}: a guess by content, please check")
        else:
            found.notes.append(f"{field_}: no column was recognised, please fill it in")
    if VALUE not in found.mapping:
        numbers = [c for c in left if _is_small(c) and c.time_format is None]
        if numbers and len(found.columns) <= 5:
            _take(found, left, VALUE, numbers[0])


def _take(found: Inspection, left: list[Column], field_: str, column: Column) -> None:
    found.mapping[field_] = column
    left.remove(column)


def _plain(name: str | int) -> str:
    """A column's name without its path, type mark and case, as `_NAMES` has them."""
    return str(name).rsplit(".", 1)[-1].partition(":")[0].strip().lower().replace(" ", "_")


def _numbers(column: Column) -> pl.Series:
    """The values as numbers; empty where one is none."""
    numbers = column.texts.drop_nulls().cast(pl.Float64, strict=False)
    return numbers.clear() if numbers.null_count() else numbers


def _is_measure(column: Column) -> bool:
    """Whether there is nothing, or numbers with a fraction: coordinates, prices."""
    numbers = _numbers(column)
    return column.texts.is_null().all() or bool((numbers != numbers.round()).any())


def _is_small(column: Column) -> bool:
    """Whether these are numbers like ratings: few different ones, none large."""
    numbers = _numbers(column)
    most = numbers.abs().max()
    return isinstance(most, float) and most <= 100 and numbers.n_unique() <= 25
