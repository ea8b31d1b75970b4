"""Play the sample log back as if it arrived night by night.

  python -m pipeline_steps replay-log --nights 3            the ends of the nights, one per line
  python -m pipeline_steps replay-log --until 1998-02-02    write what has arrived by then

Writes one raw file per day or week to data/raw/nights, named by its first day, and everything
before the first night to one file. Files that are there already, with the same content, stay as
they are; later ones are removed. `make demo-nights` calls this between runs of the nightly DAG.
"""

import argparse
import logging
import sys
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import polars as pl

from diffrec_core.common.artifacts import write_bytes
from diffrec_core.common.errors import ConfigError, DataError
from pipeline_steps.runtime.command import command_line

log = logging.getLogger("pipeline")
_TIME = "timestamp:float"
_DAYS = {"day": 1, "week": 7}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the log, the rhythm and what to do."""
    default = Path("data/raw/ml-100k/ml-100k.inter")
    parser.add_argument("--log", type=Path, default=default, help="the sample (%(default)s)")
    parser.add_argument("--out", type=Path, default=Path("data/raw/nights"), help="(%(default)s)")
    parser.add_argument("--every", choices=sorted(_DAYS), default="week", help="(%(default)s)")
    parser.add_argument("--nights", type=int, default=3, help="how many, the last of the log")
    parser.add_argument("--until", type=date.fromisoformat, help="write what came before this day")


def main(args: argparse.Namespace) -> None:
    """List the nights, or write the files that have arrived by one of them."""
    if not args.log.is_file():
        raise DataError(f"{args.log} is missing: `make sample` fetches it")
    if args.nights < 1:
        raise ConfigError(f"--nights {args.nights}: must be at least 1")
    frame = pl.read_csv(args.log, separator="\t", infer_schema=False)
    frame = frame.with_columns(pl.col(_TIME).cast(pl.Float64).alias("at"))
    ends = night_ends(frame["at"], args.nights, timedelta(days=_DAYS[args.every]))
    if args.until is None:
        sys.stdout.write("".join(f"{end}\n" for end in ends))
        return
    files = arrived(frame, ends, args.until)
    for path in args.out.glob("*.inter"):
        if path.name not in files:
            path.unlink()
    for name, rows in files.items():
        content = rows.drop("at").write_csv(separator="\t").encode()
        path = args.out / name
        if not (path.is_file() and path.read_bytes() == content):
            write_bytes(path, content)
            log.info("%s: %d rows arrived", path, len(rows))


def night_ends(times: pl.Series, nights: int, step: timedelta) -> list[date]:
    """The first days after the nights, oldest first; the last one is after the log's last day.

    Args:
        times: seconds since 1970 of every event.
        nights: how many.
        step: from one to the next.

    >>> seconds = pl.Series([0.0, 20 * 86400.0])
    >>> [str(end) for end in night_ends(seconds, 2, timedelta(days=7))]
    ['1970-01-15', '1970-01-22']
    """
    last = datetime.fromtimestamp(float(times.sort()[-1]), UTC).date() + timedelta(days=1)
    return [last - step * k for k in reversed(range(nights))]


def arrived(frame: pl.DataFrame, ends: list[date], until: date) -> dict[str, pl.DataFrame]:
    """Rows by the name of the file that holds them, of the files that have arrived by a day.

    Args:
        frame: the log, with its times in the column `at`.
        ends: of the nights; the first file holds all before the first end.
        until: the day, itself outside.
    """
    starts = [date(1970, 1, 1), *ends]
    files = {}
    for start, end in pairwise(starts):
        if end <= until:
            inside = pl.col("at").is_between(_seconds(start), _seconds(end), closed="left")
            files[f"{start}.inter"] = frame.filter(inside)
    return {name: rows for name, rows in files.items() if len(rows)}


def _seconds(day: date) -> float:
    return datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()


if __name__ == "__main__":
    command_line(main, add_arguments, __doc__)
