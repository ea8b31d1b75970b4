"""Parquet logs: typed columns, read a stretch of rows at a time.

PyArrow rather than Polars: it gives texts without checking them, so that one that is not UTF-8 is
a bad row and not a bad file, and times as the numbers that they are, whatever their unit.
"""

import json
import os
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any, BinaryIO, Final, NamedTuple, cast

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from diffrec_core.common.errors import ConfigError, DataError
from diffrec_core.data.schema import RAW, SOURCE_ROW, TIMESTAMP
from diffrec_core.ingestion.raw_bytes import HashedBytes
from diffrec_core.ingestion.raw_manifest import RawFile
from diffrec_core.ingestion.raw_rows import (
    EMPTY_LIST,
    NOT_DECODABLE,
    PROBLEM,
    UNEQUAL_LISTS,
    Columns,
    RawBatch,
    Source,
    find,
    in_order,
)
from diffrec_core.ingestion.timestamps import BEYOND, to_utc

BATCH_ROWS: Final = 500_000

_PER_SECOND: Final = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
_YEARS: Final = 8_000 * 365 * 86_400 * 10**6
"""Microseconds around 1970 in which the clocks of time zones are asked for."""


class ParquetReader:
    """Reads one Parquet file; rows are counted from 1.

    Args:
        file: the file.
        columns: our name -> its column; nested fields by dotted path.
        source: names the file in errors.
        timezone: of times that have none; None: UTC.
        batch_rows: rows read at a time.

    Raises:
        ConfigError: a mapped column does not exist, is there twice or has no single values.
        DataError: the file is not Parquet, or damaged at its end.
    """

    def __init__(
        self,
        file: RawFile,
        columns: Columns,
        source: Source,
        timezone: str | None = None,
        batch_rows: int = BATCH_ROWS,
    ) -> None:
        self._file, self._columns, self._source = file, columns, source
        self._timezone, self._batch_rows = timezone, batch_rows
        with file.open() as opened:
            schema = self._parquet(opened).schema_arrow
        leaves = {str(name): _leaf(schema, str(name)) for name in columns.values()}
        self._found = find(columns, schema.names, source, lambda name: leaves[name] is not None)
        self.missing = self._found.missing
        names = self._found.columns
        self._leaves = {f: leaf for f, name in names.items() if (leaf := leaves[name])}
        errors = [error for f, leaf in self._leaves.items() if (error := self._refusal(f, leaf))]
        if errors:
            raise ConfigError("\n  ".join(errors))

    def _parquet(self, file: BinaryIO) -> pq.ParquetFile:
        try:
            return pq.ParquetFile(pa.PythonFile(file, mode="r"), coerce_int96_timestamp_unit="us")
        except (pa.ArrowException, OSError) as error:
            reason = str(error).partition(". ")[0]
            raise DataError(
                f"{self._file.path} cannot be read as Parquet ({reason}): fetch it again, or set "
                f"{self._source.section}.format in params.yaml to the format of this file"
            ) from error

    def _refusal(self, field: str, leaf: "_Leaf") -> str | None:
        """Why a column cannot be this field; None: it can."""
        several = (pa.types.is_nested, pa.types.is_duration, pa.types.is_time)
        if not any(is_of_kind(leaf.type) for is_of_kind in several):
            return None
        return (
            f"{self._source.key(field)} = {self._found.columns[field]!r}: this column of "
            f"{self._file.path} has type {leaf.type}; a single value per row is needed"
        )

    def batches(self) -> Iterator[RawBatch]:
        """Read the file; see `Reader.batches`."""
        with self._file.open() as opened:
            before = os.fstat(opened.fileno())
            self._file.check(HashedBytes(opened, self._file.size).sha256())
            opened.seek(0)
            yield from self._rows(self._parquet(opened))
            after = os.fstat(opened.fileno())
            if (before.st_mtime_ns, before.st_ctime_ns) != (after.st_mtime_ns, after.st_ctime_ns):
                raise self._file.changed("it was written while it was read")

    def _rows(self, parquet: pq.ParquetFile) -> Iterator[RawBatch]:
        total = parquet.metadata.num_rows
        needed = sorted({leaf.column for leaf in self._leaves.values()})
        tables = parquet.iter_batches(self._batch_rows, columns=needed)
        has_lists = any(leaf.lists for leaf in self._leaves.values())
        done = 0
        while (table := self._next(tables, done)) is not None:
            rows = self._frame(table, done + 1)
            yield RawBatch(
                rows=rows,
                raw_text=partial(_raw, table, rows[SOURCE_ROW] - (done + 1)),
                read=rows.height if has_lists else len(table),
                blank=0,
                position=self._file.size * (done + len(table)) // max(total, 1),
            )
            done += len(table)
        if done != total:
            raise DataError(f"{self._file.path} is damaged: {done} rows of {total} were read")

    def _next(self, tables: Iterator[pa.RecordBatch], done: int) -> pa.RecordBatch | None:
        try:
            table = next(tables, None)
            if table is None:
                return None
            plain = [column.cast(_plain(column.type), safe=False) for column in table.columns]
            return pa.RecordBatch.from_arrays(plain, table.schema.names)
        except (pa.ArrowException, OSError) as error:
            raise DataError(
                f"{self._file.path} is damaged after row {done} ({error}): fetch it again"
            ) from error

    def _frame(self, table: pa.RecordBatch, first: int) -> pl.DataFrame:
        """The mapped fields of some rows, an event of each element where they are lists."""
        columns = {name: pl.Series(table.column(name)) for name in table.schema.names}
        frame = pl.select(
            pl.int_range(first, first + len(table), dtype=pl.Int64).alias(SOURCE_ROW),
        ).with_columns(
            pl.lit(None, pl.String).alias(PROBLEM),
            *(leaf.of(columns[leaf.column]).alias(f) for f, leaf in self._leaves.items()),
        )
        frame = _by_element(frame)
        for field, leaf in self._leaves.items():
            values, problem = leaf.read(frame[field], field, self._timezone)
            frame = frame.with_columns(values.alias(field))
            if problem is not None:
                frame = frame.with_columns(pl.coalesce(PROBLEM, problem).alias(PROBLEM))
        return frame.with_columns(self._found.constant_columns()).select(in_order(self._columns))


class _Leaf(NamedTuple):
    """A column, or a field inside of one.

    Attributes:
        column: the column of the file.
        path: names of fields inside of it.
        type: of single values.
        lists: how many lists the path leads through.
    """

    column: str
    path: tuple[str, ...]
    type: pa.DataType
    lists: int

    def of(self, column: pl.Series) -> pl.Series:
        """The values of the field, in lists where the path leads through some."""
        frame = column.rename("column").to_frame()
        return frame.select(_inside(pl.col("column"), column.dtype, self.path)).to_series()

    def read(
        self, values: pl.Series, field: str, timezone: str | None
    ) -> tuple[pl.Series, pl.Series | None]:
        """Values as text, or times as microseconds, and the problems of those that are neither."""
        dtype, types = self.type, pa.types
        if types.is_timestamp(dtype) or types.is_date(dtype):
            times = _microseconds(values, dtype, timezone)
            return (times if field == TIMESTAMP else times.cast(pl.String)), None
        if isinstance(dtype, pa.UuidType):
            return _uuids(values), None
        if values.dtype == pl.Binary:
            return _texts(values, field)
        if values.dtype.is_float():  # a whole number is often a float only because of gaps
            whole = values.cast(pl.Int64, strict=False)
            text = pl.when(whole.cast(values.dtype) == values).then(whole.cast(pl.String))
            return pl.select(pl.coalesce(text, values.cast(pl.String))).to_series(), None
        return values.cast(pl.String), None


def _leaf(schema: pa.Schema, name: str) -> _Leaf | None:
    """Find a column by its name, or else by a dotted path; None where there is none."""
    parts = name.split(".")
    for at in range(len(parts), 0, -1):
        column, path = ".".join(parts[:at]), parts[at:]
        if column not in schema.names:
            continue
        dtype, lists = _value_type(schema.field(schema.names.index(column)).type)
        for part in path:
            if not pa.types.is_struct(dtype) or dtype.get_field_index(part) < 0:
                break
            dtype, more = _value_type(dtype.field(part).type)
            lists += more
        else:
            return _Leaf(column, tuple(path), dtype, lists)
    return None


def _is_list(dtype: pa.DataType) -> bool:
    kinds = (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list)
    return any(is_of_kind(dtype) for is_of_kind in kinds)


def _value_type(dtype: pa.DataType) -> tuple[pa.DataType, int]:
    """The type without lists and dictionaries around it, and how many lists there were."""
    lists = 0
    while _is_list(dtype) or pa.types.is_dictionary(dtype):
        lists += _is_list(dtype)
        dtype = dtype.value_type
    return dtype, lists


_PLAIN: Final = (
    ((pa.types.is_timestamp, pa.types.is_date64), pa.int64()),
    ((pa.types.is_date32,), pa.int32()),
    ((pa.types.is_decimal, pa.types.is_null), pa.string()),
    ((pa.types.is_float16,), pa.float32()),
    ((pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view), pa.large_binary()),
    ((pa.types.is_binary, pa.types.is_fixed_size_binary), pa.large_binary()),
)
"""Kinds of types -> the type that they are read as."""


def _plain(dtype: pa.DataType) -> pa.DataType:
    """Texts as bytes and times as numbers: nothing that a library would check or convert."""
    types = pa.types
    if types.is_dictionary(dtype) or isinstance(dtype, pa.BaseExtensionType):
        return _plain(dtype.value_type if types.is_dictionary(dtype) else dtype.storage_type)
    if types.is_struct(dtype):
        fields = [dtype.field(at) for at in range(dtype.num_fields)]
        return pa.struct([field.with_type(_plain(field.type)) for field in fields])
    if _is_list(dtype):
        return pa.large_list(dtype.value_field.with_type(_plain(dtype.value_type)))
    return next((to for kinds, to in _PLAIN if any(is_(dtype) for is_ in kinds)), dtype)


def _inside(value: pl.Expr, dtype: pl.DataType, path: Sequence[str]) -> pl.Expr:
    """Follow a path into structs and lists."""
    if not path:
        return value
    if isinstance(dtype, pl.List):
        return value.list.eval(_inside(pl.element(), _typed(dtype.inner), path))
    fields = cast("pl.Struct", dtype).to_schema()  # `_leaf` has followed the path
    return _inside(value.struct.field(path[0]), _typed(fields[path[0]]), path[1:])


def _typed(dtype: Any) -> pl.DataType:
    return dtype if isinstance(dtype, pl.DataType) else dtype()


def _by_element(frame: pl.DataFrame) -> pl.DataFrame:
    """An event of each element of the lists; what is no list is the same in all of them."""
    while names := [name for name, dtype in frame.schema.items() if isinstance(dtype, pl.List)]:
        lengths = [pl.col(name).list.len().cast(pl.Int64).fill_null(-1) for name in names]
        most, least = pl.max_horizontal(lengths), pl.min_horizontal(lengths)
        unequal = pl.when(most != least).then(pl.lit(UNEQUAL_LISTS))
        problem = unequal.when(most == 0).then(pl.lit(EMPTY_LIST))
        frame = frame.with_columns(pl.coalesce(PROBLEM, problem).alias(PROBLEM))
        whole = pl.col(PROBLEM).is_null()
        singles = [pl.when(whole).then(pl.col(name)).alias(name) for name in names]
        frame = frame.with_columns(singles).explode(names)
    return frame


def _texts(values: pl.Series, field: str) -> tuple[pl.Series, pl.Series | None]:
    """Bytes as text; a problem where they are not UTF-8."""
    try:
        return values.cast(pl.String), None
    except pl.exceptions.ComputeError:
        texts = [_decoded(value) for value in values]
        problems = [
            f"{NOT_DECODABLE}: {field} is {value!r}" if text is None and value is not None else None
            for value, text in zip(values, texts, strict=True)
        ]
        return pl.Series(texts, dtype=pl.String), pl.Series(problems, dtype=pl.String)


def _decoded(value: bytes | None) -> str | None:
    try:
        return None if value is None else value.decode()
    except UnicodeDecodeError:
        return None


def _uuids(values: pl.Series) -> pl.Series:
    """16 bytes in the usual spelling, 8-4-4-4-12 hexadecimal digits."""
    digits = values.bin.encode("hex")
    cuts = ((0, 8), (8, 4), (12, 4), (16, 4), (20, 12))
    parts = [digits.str.slice(at, length) for at, length in cuts]
    return pl.select(pl.concat_str(parts, separator="-")).to_series()


def _microseconds(values: pl.Series, dtype: pa.DataType, timezone: str | None) -> pl.Series:
    """Times of any unit as microseconds since 1970; what does not fit is far outside."""
    if pa.types.is_date32(dtype):
        times, over = 86_400 * 10**6, 1
    else:
        per_second = 10**3 if pa.types.is_date64(dtype) else _PER_SECOND[dtype.unit]
        times, over = max(10**6 // per_second, 1), max(per_second // 10**6, 1)
    limit = min(BEYOND * over // times, 2**63 - 1)
    instants = values.cast(pl.Int64).clip(-limit, limit) * times // over
    if timezone is None or getattr(dtype, "tz", None) is not None:
        return instants
    inside = instants.abs() < _YEARS
    clock = pl.select(pl.when(inside).then(instants).cast(pl.Datetime("us"))).to_series()
    shifted = to_utc(clock, timezone)
    return pl.select(pl.when(inside).then(shifted).otherwise(instants)).to_series()


def _raw(table: pa.RecordBatch, at: pl.Series, rejected: pl.Series) -> pl.Series:
    """The rows where the mask is true, each as a JSON object of its mapped columns."""
    rows = table.take(pa.array(at.filter(rejected).to_list(), pa.int64())).to_pylist()
    texts = [json.dumps(row, default=_shown, ensure_ascii=False) for row in rows]
    return pl.Series(RAW, texts, pl.String)


def _shown(value: Any) -> str:
    return value.decode(errors="backslashreplace") if isinstance(value, bytes) else str(value)
