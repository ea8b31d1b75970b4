"""Parquet logs: typed columns, read a stretch of rows at a time."""

import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Final

import polars as pl

from diffrec_core.common.errors import ConfigError, DataError
from diffrec_core.data.schema import RAW, SOURCE_ROW, TIMESTAMP
from diffrec_core.ingestion.raw_rows import PROBLEM, Columns, RawBatch, Source, positions

BATCH_ROWS: Final = 500_000


def read_parquet(
    path: Path, columns: Columns, source: Source, *, batch_rows: int = BATCH_ROWS
) -> Iterator[RawBatch]:
    """Read a Parquet file in batches; rows are counted from 1.

    Raises:
        ConfigError: a mapped column does not exist or holds lists or structs.
        DataError: the file is not Parquet.
    """
    try:
        table = pl.scan_parquet(path, glob=False, hive_partitioning=False)
        schema = table.collect_schema()
        height = table.select(pl.len()).collect().item()
    except (pl.exceptions.ComputeError, OSError) as error:
        raise DataError(
            f"{path} cannot be read as Parquet ({error}): set {source.section}.format in "
            f"params.yaml to the format of this file"
        ) from error
    fields = _fields(columns, schema, source)
    size = path.stat().st_size
    for offset in range(0, height, batch_rows):
        stretch = table.slice(offset, batch_rows)
        values = stretch.select(fields).collect()
        row = pl.int_range(offset + 1, offset + 1 + values.height, dtype=pl.Int64, eager=True)
        yield RawBatch(
            rows=values.insert_column(0, row.alias(SOURCE_ROW)),
            raw_text=partial(_as_json, stretch),
            read=min(batch_rows, height - offset),
            blank=0,
            position=size * min(offset + batch_rows, height) // height,
        )


def _fields(columns: Columns, schema: pl.Schema, source: Source) -> list[pl.Expr]:
    names = schema.names()
    found = positions(columns, names, source)
    problem = pl.lit(None, pl.String).alias(PROBLEM)
    return [
        problem,
        *(
            _as_text(field, names[found[field]], schema, source)
            if field in found
            else pl.lit(None, pl.String).alias(field)
            for field in columns
        ),
    ]


def _as_text(field: str, name: str, schema: pl.Schema, source: Source) -> pl.Expr:
    """A column as text; a date or time that is meant as one stays as it is."""
    column, dtype = pl.col(name), schema[name]
    if dtype.is_nested() or isinstance(dtype, pl.Duration):
        raise ConfigError(
            f"{source.key(field)} = {name!r}: this column of {source.file} has type {dtype}; "
            f"a single value per row is needed"
        )
    if field == TIMESTAMP and isinstance(dtype, pl.Datetime | pl.Date):
        return column.alias(field)
    if dtype.is_float():  # a whole number is often a float only because its column has gaps
        whole = pl.when(column == column.cast(pl.Int64, strict=False)).then(
            column.cast(pl.Int64, strict=False).cast(pl.String)
        )
        return pl.coalesce(whole, column.cast(pl.String)).alias(field)
    if dtype == pl.Binary:  # what old writers make of text
        return column.map_batches(_decode, return_dtype=pl.String).alias(field)
    return column.cast(pl.String).alias(field)


def _decode(values: pl.Series) -> pl.Series:
    return pl.Series([_text(value) for value in values], dtype=pl.String)


def _text(value: bytes | None) -> str | None:
    """Bytes as text, null where they are not UTF-8."""
    try:
        return None if value is None else value.decode()
    except UnicodeDecodeError:
        return None


def _as_json(stretch: pl.LazyFrame, rejected: pl.Series) -> pl.Series:
    """The rows where the mask is true, each as a JSON object of all its columns."""
    rows = stretch.collect().filter(rejected).iter_rows(named=True)
    return pl.Series(
        RAW, [json.dumps(row, default=str, ensure_ascii=False) for row in rows], pl.String
    )
