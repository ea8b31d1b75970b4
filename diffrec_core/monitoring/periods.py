"""Periods: equal half-open spans of time that end at a midnight, counted back from the newest.

    period        trailing         2        1        0
    [start, end)     …         [──────)[──────)[──────)  now
                                               ^ the last whole day or seven days, UTC

Weeks are seven days that end at the last midnight, not calendar weeks: each holds every weekday
once, and no part of a week is compared with a whole one.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal

import polars as pl

from diffrec_core.data.schema import TIMESTAMP

BACK = "back"
"""Column: number of periods between a row and the newest, 0 being the newest itself."""

_LENGTHS = {"day": timedelta(days=1), "week": timedelta(days=7)}
_WEEKDAYS = 7


@dataclass(frozen=True, slots=True)
class Periods:
    """The newest whole period before a time, and those before it.

    Attributes:
        end: of the newest period, exclusive: a midnight, UTC.
        unit: a day or seven days.
        trailing: number of earlier periods.
    """

    end: datetime
    unit: Literal["day", "week"]
    trailing: int

    @classmethod
    def before(cls, now: datetime, unit: Literal["day", "week"], trailing: int) -> "Periods":
        """The periods that are over at `now`."""
        midnight = now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
        return cls(midnight, unit, trailing)

    @property
    def length(self) -> timedelta:
        """Of one period."""
        return _LENGTHS[self.unit]

    def start(self, back: int) -> datetime:
        """Start, inclusive, of the period `back` before the newest."""
        return self.end - (back + 1) * self.length

    def label(self, back: int) -> str:
        """The first day of a period, as ISO 8601."""
        return self.start(back).date().isoformat()

    def back_of(self, time: datetime) -> int:
        """Number of periods between a time and the newest; negative from `end` on."""
        return -((time - self.end) // self.length) - 1

    def numbered(self, rows: pl.LazyFrame) -> pl.LazyFrame:
        """Add the column BACK; rows from `end` on, in no whole period, are excluded."""
        until = (pl.lit(self.end) - pl.col(TIMESTAMP)).dt.total_microseconds()
        back = (until - 1) // (self.length // timedelta(microseconds=1))
        return rows.filter(pl.col(TIMESTAMP) < self.end).with_columns(back.alias(BACK))

    def comparable(self, first: datetime, same_weekday_min: int) -> list[int]:
        """Trailing periods that the newest one's rows are compared with, nearest first.

        Periods that began before the log are excluded: they hold only a part of their rows.

        Args:
            first: time of the earliest row.
            same_weekday_min: use only days of the same weekday if there are at least so many.
        """
        whole = [back for back in range(1, self.trailing + 1) if self.start(back) >= first]
        if self.unit == "day":
            same = [back for back in whole if back % _WEEKDAYS == 0]
            if len(same) >= same_weekday_min:
                return same
        return whole
