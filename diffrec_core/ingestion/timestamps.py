"""What a text means as a point in time: numbers since 1970, ISO 8601, or a pattern."""

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final
from zoneinfo import ZoneInfo

import polars as pl

_UNITS: Final = {
    "seconds": (1_000_000, 1),
    "milliseconds": (1_000, 1),
    "microseconds": (1, 1),
    "nanoseconds": (1, 1_000),
}
"""Microseconds of each unit, as numerator and denominator."""

_ISO8601: Final = "iso8601"
BEYOND: Final = 10**18
"""Microseconds far outside of any range, yet inside of int64."""

FIRST: Final = datetime(1970, 1, 1, tzinfo=UTC)
"""The earliest time that an event may have unless params.yaml says another."""

_ISO_PATTERN: Final = (
    r"^(?<date>\d{4}-\d\d-\d\d)"
    r"(?:[Tt ](?<time>[0-2]\d:[0-5]\d)(?::(?<second>[0-5]\d)(?:[.,](?<fraction>\d+))?)?"
    r" ?(?<zulu>[Zz]|UTC|GMT)?"
    r"(?:(?<sign>[+-])(?<hours>[01]\d|2[0-3])(?::?(?<minutes>[0-5]\d))?(?: UTC|\[[^\]]*\])?)?)?$"
)


def check_timestamp_format(timestamp_format: str) -> str:
    """Check a format: a unit, ``iso8601``, or a strptime pattern that can read what it writes.

    Raises:
        ValueError: it is none of these.
    """
    if timestamp_format in {*_UNITS, _ISO8601}:
        return timestamp_format
    allowed = f"{', '.join(_UNITS)}, {_ISO8601} or a strptime pattern such as '%d/%m/%Y'"
    if "%" not in timestamp_format:
        raise ValueError(f"must be one of {allowed}")
    if "%Z" in timestamp_format:
        raise ValueError(
            "names of time zones (%Z) are ambiguous; use offsets (%z), write the name as it "
            "stands in the log, or set `timezone`"
        )
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


def check_timezone(name: str) -> str:
    """Check the name of a time zone.

    Raises:
        ValueError: there is no zone of this name.
    """
    try:
        ZoneInfo(name)
        to_utc(pl.Series([FIRST.replace(tzinfo=None)]), name)
    except (KeyError, ValueError, OSError, pl.exceptions.PolarsError):
        raise ValueError(
            "is not the name of a time zone; Europe/Berlin and America/New_York are"
        ) from None
    return name


def to_utc(local: pl.Series, timezone: str | None) -> pl.Series:
    """Times on the clock of a zone (datetimes without one) as microseconds since 1970, UTC.

    The first of two hours of the same name; null where the zone's clock skips a time.
    """
    if timezone is not None:
        local = local.dt.replace_time_zone(timezone, ambiguous="earliest", non_existent="null")
    return local.cast(pl.Datetime("us", local.dtype.time_zone)).cast(pl.Int64)  # type: ignore[attr-defined]


def read_times(
    texts: pl.Series, formats: Sequence[str], timezone: str | None, first: int, last: int
) -> pl.Series:
    """Read texts in one of several formats, as microseconds since 1970 (int64).

    Args:
        texts: the times as they are written.
        formats: tried in this order.
        timezone: of times without an offset; None: UTC.
        first: the earliest plausible time, microseconds since 1970.
        last: the latest.

    Returns:
        The first reading that is plausible, else the first that there is, else null.
    """
    readings = [microseconds(texts, each, timezone) for each in formats]
    if len(readings) == 1:
        return readings[0]
    plausible = [pl.when(each.is_between(first, last)).then(each) for each in readings]
    return pl.select(pl.coalesce(*plausible, *readings)).to_series()


def microseconds(texts: pl.Series, timestamp_format: str, timezone: str | None = None) -> pl.Series:
    """Read texts as microseconds since 1970 (int64), null where they cannot be read.

    A time without an offset is of the time zone. Numbers may have a fraction or an exponent; a
    timestamp that is far outside of any range is read as such, not as null.
    """
    text = texts.rename("text").str.strip_chars()
    if timestamp_format in _UNITS:
        return _from_numbers(text, *_UNITS[timestamp_format])
    if timestamp_format == _ISO8601:
        return _from_iso(text, timezone)
    pattern = timestamp_format.replace(".%f", "%.f").replace("%z", "%#z")
    time = text.str.to_datetime(pattern, time_unit="us", strict=False)
    return time.cast(pl.Int64) if "%z" in timestamp_format else to_utc(time, timezone)


def _from_numbers(text: pl.Series, times: int, over: int) -> pl.Series:
    """Whole numbers exactly; others as floats, good to a microsecond in the present."""
    whole = text.cast(pl.Int64, strict=False)
    limit = min(BEYOND * over // times, 2**63 - 1)
    exact = whole.clip(-limit, limit) * times // over
    if whole.null_count() == text.null_count():
        return exact
    number = text.cast(pl.Float64, strict=False) * times / over
    rounded = pl.when(number.is_finite()).then(number.clip(-BEYOND, BEYOND).round())
    return pl.select(pl.coalesce(exact, rounded.cast(pl.Int64))).to_series()


def _from_iso(text: pl.Series, timezone: str | None) -> pl.Series:
    parts = text.to_frame().select(pl.col("text").str.extract_groups(_ISO_PATTERN)).unnest("text")
    part = pl.col
    local = parts.select(
        pl.concat_str(
            part("date"),
            pl.lit(" "),
            pl.coalesce(part("time"), pl.lit("00:00")),
            pl.lit(":"),
            pl.coalesce(part("second"), pl.lit("00")),
        ).str.to_datetime("%Y-%m-%d %H:%M:%S", time_unit="us", strict=False)
    ).to_series()
    # apart from the rest, which Polars reads several times faster without fractions
    fraction = part("fraction").str.slice(0, 6).str.pad_end(6, "0").cast(pl.Int64)
    minutes = part("hours").cast(pl.Int64) * 60 + pl.coalesce(part("minutes").cast(pl.Int64), 0)
    offset = pl.when(part("sign") == "-").then(-minutes).otherwise(minutes)
    utc = local.cast(pl.Int64) - pl.coalesce(offset, 0) * 60_000_000
    if timezone is not None:
        stated = part("sign").is_not_null() | part("zulu").is_not_null()
        utc = pl.when(stated).then(utc).otherwise(to_utc(local, timezone))
    return parts.select(utc + pl.coalesce(fraction, 0)).to_series()
