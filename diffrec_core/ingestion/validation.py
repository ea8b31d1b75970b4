"""Raw rows become typed events, or go to quarantine with the reason. No row is lost between.

A reason reads ``category: detail``. The detail quotes the text that was not accepted; the
category is what rejections are counted by.
"""

from dataclasses import dataclass
from typing import Final

import polars as pl

from diffrec_core.data.schema import (
    EVENT_TYPE,
    ITEM_ID,
    RAW,
    REASON,
    SOURCE_FILE,
    SOURCE_ROW,
    TIMESTAMP,
    USER_ID,
    VALUE,
)
from diffrec_core.data.tables import QUARANTINE
from diffrec_core.ingestion.raw_rows import PROBLEM, RawBatch
from diffrec_core.ingestion.timestamps import END, FIRST, microseconds

_TIME: Final = "time"
_NUMBER: Final = "number"
_QUOTED_LENGTH: Final = 100
_FIRST: Final = int(FIRST.timestamp()) * 1_000_000
_END: Final = int(END.timestamp()) * 1_000_000


@dataclass(frozen=True, slots=True)
class Validated:
    """The rows of a batch, each in one of two tables.

    Attributes:
        events: accepted rows, columns EVENTS, in the order of the file.
        quarantine: rejected rows, columns QUARANTINE, in the order of the file.
    """

    events: pl.DataFrame
    quarantine: pl.DataFrame


def validate(batch: RawBatch, source_file: str, timestamp_format: str) -> Validated:
    """Read the fields of raw rows as what they mean.

    A row is rejected when it could not be taken apart, when its user, item or timestamp is
    missing, when its timestamp cannot be read or lies outside of [1970, 2100), or when its value
    is not a finite number. A missing value or event type is null.

    Args:
        batch: rows with the fields user_id, item_id, timestamp, event_type and value.
        source_file: the name of their file.
        timestamp_format: see `timestamps.check_timestamp_format`.
    """
    number = pl.col(VALUE).str.strip_chars().cast(pl.Float32, strict=False).alias(_NUMBER)
    time = _read_time(batch.rows[TIMESTAMP], timestamp_format).alias(_TIME)
    rows = batch.rows.with_columns(time, number, pl.lit(source_file).alias(SOURCE_FILE))
    checks = _checks(timestamp_format)
    rejected = rows.select(pl.any_horizontal(fails for fails, _ in checks)).to_series()
    if not rejected.any():
        return Validated(_events(rows), QUARANTINE.to_frame())
    # reasons are long texts: they are written for rejected rows only
    reason = pl.coalesce(pl.when(fails).then(reason) for fails, reason in checks)
    quarantine = rows.filter(rejected).with_columns(
        batch.raw_text(rejected).alias(RAW), reason.alias(REASON)
    )
    return Validated(_events(rows.filter(~rejected)), quarantine.select(QUARANTINE.names()))


def category(reason: pl.Expr) -> pl.Expr:
    """The part of a reason that rejections are counted by."""
    return reason.str.split_exact(": ", 1).struct.field("field_0")


def is_blank(text: pl.Expr) -> pl.Expr:
    """Whether a text is missing: null, empty or white space."""
    return text.is_null() | (text.str.strip_chars() == "")


def _read_time(raw: pl.Series, timestamp_format: str) -> pl.Series:
    """Microseconds since 1970, null where they cannot be read."""
    if raw.dtype == pl.String:
        return microseconds(raw, timestamp_format)
    return raw.cast(pl.Datetime("us")).cast(pl.Int64)  # typed in the file: no format to go by


def _checks(timestamp_format: str) -> list[tuple[pl.Expr, pl.Expr]]:
    """What must not be, each (never null) with its reason; the first that holds is given."""
    raw_time, raw_value = pl.col(TIMESTAMP).cast(pl.String), pl.col(VALUE)
    time, number = pl.col(_TIME), pl.col(_NUMBER)
    outside = ~time.is_between(_FIRST, _END, closed="left")
    unit = f" as {timestamp_format} is not in 1970 to 2099"
    return [
        (pl.col(PROBLEM).is_not_null(), pl.col(PROBLEM)),
        (is_blank(pl.col(USER_ID)), pl.lit("user_id is missing")),
        (is_blank(pl.col(ITEM_ID)), pl.lit("item_id is missing")),
        (is_blank(raw_time), pl.lit("timestamp is missing")),
        (
            time.is_null(),
            _quoting("timestamp cannot be parsed: ", raw_time, f" is not {timestamp_format}"),
        ),
        (outside.fill_null(value=False), _quoting("timestamp is out of range: ", raw_time, unit)),
        (
            number.is_null() & ~is_blank(raw_value),
            _quoting("value cannot be parsed: ", raw_value, " is not a number"),
        ),
        (
            (~number.is_finite()).fill_null(value=False),
            _quoting("value is not finite: ", raw_value, ""),
        ),
    ]


def _quoting(before: str, text: pl.Expr, after: str) -> pl.Expr:
    cut = pl.when(text.str.len_chars() > _QUOTED_LENGTH).then(pl.lit("…")).otherwise(pl.lit(""))
    quoted = [pl.lit(f"{before}'"), text.str.slice(0, _QUOTED_LENGTH), cut, pl.lit(f"'{after}")]
    return pl.concat_str(quoted)


def _events(rows: pl.DataFrame) -> pl.DataFrame:
    event_type = pl.col(EVENT_TYPE)
    return rows.select(
        USER_ID,
        ITEM_ID,
        pl.col(_TIME).cast(pl.Datetime("us")).dt.replace_time_zone("UTC").alias(TIMESTAMP),
        pl.when(event_type != "").then(event_type).alias(EVENT_TYPE),
        pl.col(_NUMBER).alias(VALUE),
        SOURCE_FILE,
        SOURCE_ROW,
    )
