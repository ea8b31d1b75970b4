"""What a text means as a point in time: numbers since 1970, ISO 8601, or a pattern."""

import re
from datetime import UTC, datetime
from typing import Final

import polars as pl

_MICROSECONDS: Final = {"seconds": 1_000_000, "milliseconds": 1_000, "microseconds": 1}
_ISO8601: Final = "iso8601"
_BEYOND: Final = 10.0**17
"""Microseconds far outside of any range, yet inside of int64."""

FIRST: Final = datetime(1970, 1, 1, tzinfo=UTC)
END: Final = datetime(2100, 1, 1, tzinfo=UTC)
"""Timestamps are accepted in [FIRST, END); outside of it the unit is wrong, or the clock was."""

_ISO_PATTERN: Final = (
    r"^(?<date>\d{4}-\d\d-\d\d)"
    r"(?:[Tt ](?<time>[0-2]\d:[0-5]\d)(?::(?<second>[0-5]\d)(?:[.,](?<fraction>\d+))?)?"
    r" ?(?:[Zz]|(?<sign>[+-])(?<hours>[01]\d|2[0-3])(?::?(?<minutes>[0-5]\d))?)?)?$"
)


def check_timestamp_format(timestamp_format: str) -> str:
    """Check a format: a unit, ``iso8601``, or a strptime pattern that can read what it writes.

    Raises:
        ValueError: it is none of these.
    """
    if timestamp_format in {*_MICROSECONDS, _ISO8601}:
        return timestamp_format
    allowed = f"{', '.join(_MICROSECONDS)}, {_ISO8601} or a strptime pattern such as '%d/%m/%Y'"
    if "%" not in timestamp_format:
        raise ValueError(f"must be one of {allowed}")
    if "%Z" in timestamp_format:
        raise ValueError("names of time zones (%Z) are ambiguous; use offsets (%z) or leave them")
    if re.search(r"(?<!\.)%f", timestamp_format):
        raise ValueError("%f is read after a point only, as in '%S.%f'")
    written = FIRST.replace(year=2001).strftime(timestamp_format)
    try:
        read = microseconds(pl.Series([written]), timestamp_format).item()
    except pl.exceptions.PolarsError as error:
        reason = str(error).splitlines()[0]
        raise ValueError(f"is not a pattern that can be read ({reason}); use {allowed}") from error
    if read is None:
        raise ValueError(f"cannot read what it writes ({written!r}); use {allowed}")
    if read < 0:
        raise ValueError("has no year: a time of day says nothing about the order of days")
    return timestamp_format


def microseconds(texts: pl.Series, timestamp_format: str) -> pl.Series:
    """Read texts as microseconds since 1970 (int64), null where they cannot be read.

    A time without an offset is UTC. Numbers may have a fraction or an exponent; a timestamp that
    is far outside of any range is read as such, not as null.
    """
    text = pl.col("text").str.strip_chars()
    frame = texts.rename("text").to_frame()
    if timestamp_format in _MICROSECONDS:
        number = text.cast(pl.Float64, strict=False) * _MICROSECONDS[timestamp_format]
        number = pl.when(number.is_finite()).then(number.clip(-_BEYOND, _BEYOND))
        return frame.select(number.round().cast(pl.Int64)).to_series()
    if timestamp_format == _ISO8601:
        parts = frame.select(text.str.extract_groups(_ISO_PATTERN)).unnest("text")
        return parts.select(_from_iso_parts()).to_series()
    pattern = timestamp_format.replace(".%f", "%.f").replace("%z", "%#z")
    time = text.str.to_datetime(pattern, time_unit="us", strict=False)
    return frame.select(time.cast(pl.Int64)).to_series()


def _from_iso_parts() -> pl.Expr:
    part = pl.col
    local = pl.concat_str(
        part("date"),
        pl.lit(" "),
        pl.coalesce(part("time"), pl.lit("00:00")),
        pl.lit(":"),
        pl.coalesce(part("second"), pl.lit("00")),
    ).str.to_datetime("%Y-%m-%d %H:%M:%S", time_unit="us", strict=False)
    # apart from the rest, which Polars reads several times faster without fractions
    fraction = part("fraction").str.slice(0, 6).str.pad_end(6, "0").cast(pl.Int64)
    minutes = part("hours").cast(pl.Int64) * 60 + pl.coalesce(part("minutes").cast(pl.Int64), 0)
    offset = pl.when(part("sign") == "-").then(-minutes).otherwise(minutes)
    return local.cast(pl.Int64) + pl.coalesce(fraction, 0) - pl.coalesce(offset, 0) * 60_000_000
