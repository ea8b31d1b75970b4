"""Accepted rows on their way to daily partitions, rejected ones to quarantine, in bounded memory.

Batches are spilled to disk as they come, then gathered again some days at a time. What is written
depends on the rows alone: not on the size of the batches, nor on their order.
"""

import logging
import shutil
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import polars as pl
import pyarrow.parquet

from diffrec_core.data.schema import ITEM_ID, SOURCE_FILE, SOURCE_ROW, TIMESTAMP, USER_ID
from diffrec_core.data.tables import QUARANTINE
from diffrec_core.ingestion.timestamps import FIRST

log = logging.getLogger(__name__)

EVENT_ORDER: Final = (TIMESTAMP, USER_ID, ITEM_ID, SOURCE_FILE, SOURCE_ROW)
"""A total order but for events of one list, which share file and row and keep their order."""

GROUP_ROWS: Final = 1_000_000
"""Rows gathered at a time; a single day with more of them is gathered whole."""


_LEVEL: Final = pl.CompatLevel.oldest()
"""Arrow's text type that every reader of Parquet knows."""


class EventSpill:
    """Accepted rows, stored batch by batch.

    Args:
        directory: a folder of its own, which is made here and removed when the partitions are
            written.
    """

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True)
        self._directory = directory
        self._batches = 0
        self.rows_per_day: Counter[date] = Counter()

    def add(self, events: pl.DataFrame) -> Counter[date]:
        """Store a batch; return how many of its rows are of each day."""
        if events.is_empty():
            return Counter()
        days = events.select(pl.col(TIMESTAMP).dt.date().alias("day")).to_series()
        rows_per_day = Counter(dict(days.value_counts(sort=False).iter_rows()))
        self.rows_per_day.update(rows_per_day)
        # sorted by time, in small row groups: those of other days can be passed over
        path = self._directory / f"{self._batches:08d}.parquet"
        events = events.sort(TIMESTAMP, maintain_order=True)
        events.write_parquet(path, compression="lz4", row_group_size=2**14)
        self._batches += 1
        return rows_per_day

    def write_partitions(self, directory: Path, group_rows: int = GROUP_ROWS) -> None:
        """Write `date=YYYY-MM-DD/part-0.parquet` for every day, in EVENT_ORDER.

        Args:
            directory: where the partitions go.
            group_rows: rows gathered at a time.
        """
        spilled = _scan(sorted(self._directory.iterdir()))
        for days in self._groups(group_rows):
            within = pl.col(TIMESTAMP).is_between(
                _midnight(days[0]), _midnight(days[-1] + timedelta(days=1)), closed="left"
            )
            events = spilled.filter(within).collect(engine="streaming")
            events = events.sort(EVENT_ORDER, maintain_order=True)
            offset = 0
            for day in days:
                folder = directory / f"date={day}"
                folder.mkdir(parents=True)
                rows = self.rows_per_day[day]
                events.slice(offset, rows).write_parquet(folder / "part-0.parquet")
                offset += rows
        shutil.rmtree(self._directory)

    def _groups(self, group_rows: int) -> Iterator[list[date]]:
        """Runs of days that together have at most `group_rows` rows."""
        group: list[date] = []
        rows = 0
        for day in sorted(self.rows_per_day):
            if group and rows + self.rows_per_day[day] > group_rows:
                yield group
                group, rows = [], 0
            group.append(day)
            rows += self.rows_per_day[day]
        if group:
            yield group


@dataclass(frozen=True, slots=True)
class EventSummary:
    """What event partitions hold, counted from the files.

    Attributes:
        rows: number of events.
        users: distinct user ids.
        items: distinct item ids.
        first: earliest timestamp.
        last: latest timestamp.
    """

    rows: int
    users: int
    items: int
    first: datetime
    last: datetime

    def check(self, accepted: int, timestamp_format: Sequence[str]) -> None:
        """Check that all accepted rows were written; warn when their times look wrong.

        Raises:
            RuntimeError: rows were lost, which is a bug.
        """
        if self.rows != accepted:
            raise RuntimeError(f"{accepted} rows were accepted but {self.rows} events written")
        if self.last.year == FIRST.year:
            log.warning(
                "every timestamp lies in %d: is ingest.timestamp_format = %r the right unit?",
                FIRST.year,
                " or ".join(timestamp_format),
            )

    def to_json(self) -> dict[str, Any]:
        """Return what a report says of the events."""
        return {
            "users": self.users,
            "items": self.items,
            "first_timestamp": self.first.isoformat(),
            "last_timestamp": self.last.isoformat(),
        }


def summarise(directory: Path) -> EventSummary:
    """Count what lies in a folder of event partitions that holds at least one event."""
    events = _scan(sorted(directory.glob("date=*/*.parquet")))
    time = pl.col(TIMESTAMP)
    ((rows, first, last),) = (
        events.select(pl.len(), time.min().alias("first"), time.max().alias("last"))
        .collect(engine="streaming")
        .rows()
    )
    return EventSummary(rows, _distinct(events, USER_ID), _distinct(events, ITEM_ID), first, last)


def _distinct(events: pl.LazyFrame, column: str) -> int:
    """Count distinct values; unlike n_unique, in memory that does not grow with the rows."""
    distinct = events.select(column).unique().select(pl.len())
    return int(distinct.collect(engine="streaming").item())


def _scan(files: list[Path]) -> pl.LazyFrame:
    """Scan files by name: a folder's name may hold what a pattern would read as its own."""
    return pl.scan_parquet(files, glob=False, hive_partitioning=False)


def _midnight(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=UTC)


class QuarantineFile:
    """Rejected rows, written as they come, in the order of files and rows."""

    def __init__(self, writer: pyarrow.parquet.ParquetWriter) -> None:
        self._writer = writer

    def add(self, quarantine: pl.DataFrame) -> None:
        """Append the rejected rows of a batch."""
        if not quarantine.is_empty():
            self._writer.write_table(quarantine.to_arrow(compat_level=_LEVEL))


@contextmanager
def quarantine_file(path: Path) -> Iterator[QuarantineFile]:
    """Open a quarantine file for writing; without any rows it is an empty table."""
    schema = QUARANTINE.to_frame().to_arrow(compat_level=_LEVEL).schema
    with pyarrow.parquet.ParquetWriter(path, schema, compression="zstd") as writer:
        yield QuarantineFile(writer)
