"""The sample log as it would have arrived: one file per night in data/raw/nights."""

from datetime import date, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Final

import polars as pl

from diffrec_core.common.artifacts import write_bytes
from diffrec_core.common.errors import ConfigError, DataError

PERIODS: Final = {"day": timedelta(days=1), "week": timedelta(days=7)}
"""How much of the log arrives in a night."""

_LOG: Final = Path("data/raw/ml-100k/ml-100k.inter")
_NIGHTS: Final = Path("data/raw/nights")
_DAY: Final = "day"


def read_log(path: Path = _LOG) -> pl.DataFrame:
    """Read the log: its columns as text, and `day`, the UTC date of each row.

    Raises:
        DataError: it is missing.
    """
    if not path.is_file():
        raise DataError(f"{path} is missing: `make sample` fetches it")
    log = pl.read_csv(path, separator="\t", infer_schema=False)
    seconds = pl.col("timestamp:float").cast(pl.Float64).floor().cast(pl.Int64)
    return log.with_columns(pl.from_epoch(seconds, "s").dt.date().alias(_DAY))


def night_ends(log: pl.DataFrame, nights: int, period: timedelta) -> list[date]:
    """Return the dates that end the last nights, oldest first; the last one covers the whole log.

    Raises:
        ConfigError: `nights` is less than 1.

    >>> log = pl.DataFrame({"day": [date(1970, 1, 1), date(1970, 1, 21)]})
    >>> [str(end) for end in night_ends(log, 2, PERIODS["week"])]
    ['1970-01-15', '1970-01-22']
    """
    if nights < 1:
        raise ConfigError(f"nights = {nights}: must be at least 1")
    last = log.select(pl.col(_DAY).max()).item() + timedelta(days=1)
    return [last - period * k for k in reversed(range(nights))]


def write_nights(log: pl.DataFrame, ends: list[date], folder: Path = _NIGHTS) -> None:
    """Write what has arrived by the last of `ends`: one file per night, named by its first day.

    The first file holds everything before the first end. Files that have the right content already
    are left alone, files of later nights are removed.
    """
    files = {}
    for start, end in pairwise([date(1970, 1, 1), *ends]):
        rows = log.filter(pl.col(_DAY).is_between(start, end, closed="left")).drop(_DAY)
        if len(rows):
            files[folder / f"{start}.inter"] = rows.write_csv(separator="\t").encode()
    for path in {*folder.glob("*.inter")} - files.keys():
        path.unlink()
    for path, content in files.items():
        if not (path.is_file() and path.read_bytes() == content):
            write_bytes(path, content)
