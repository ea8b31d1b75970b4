"""The status of a night: all checks together, as one verdict and as JSON."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

import polars as pl

from diffrec_core.common.errors import AlarmError
from diffrec_core.data.schema import ITEM, STATUS_SCHEMA, TIMESTAMP, USER
from diffrec_core.monitoring import checks
from diffrec_core.monitoring.checks import ADVICE, Check, Status
from diffrec_core.monitoring.config import MonitorConfig
from diffrec_core.monitoring.drift import history_length, item_popularity
from diffrec_core.monitoring.periods import BACK, Periods


@dataclass(frozen=True, slots=True)
class NightStatus:
    """Results of the monitor.

    Attributes:
        now: time of the check, UTC.
        unit: of comparison: a day or a week.
        period: the newest whole period, half-open.
        checks: the verdicts, in the order of the page.
    """

    now: datetime
    unit: Literal["day", "week"]
    period: tuple[datetime, datetime]
    checks: tuple[Check, ...]

    @property
    def overall(self) -> Status:
        """The most severe status of the checks."""
        return checks.worst(self.checks)

    def to_json(self) -> dict[str, Any]:
        """The status as JSON."""
        start, end = self.period
        return {
            "schema": STATUS_SCHEMA,
            "now": self.now.isoformat(),
            "period": {"unit": self.unit, "start": start.isoformat(), "end": end.isoformat()},
            "status": self.overall,
            "checks": [check.to_json() for check in self.checks],
        }

    def raise_alarm(self, where: str) -> None:
        """Fail if a check is in alarm.

        Args:
            where: location of the full status.

        Raises:
            AlarmError: lists the alarms, each with its remedy.
        """
        alarms = [check for check in self.checks if check.status == "alarm"]
        if alarms:
            said = "\n".join(f"  {c.name}: {c.message}\n    {ADVICE[c.name]}" for c in alarms)
            count = f"{len(alarms)} of {len(self.checks)} checks"
            raise AlarmError(f"alarm by {count}:\n{said}\n  full status: {where}")


def check_data(
    events: pl.LazyFrame, interactions: pl.LazyFrame, now: datetime, config: MonitorConfig
) -> tuple[Check, ...]:
    """Freshness, row counts and both drifts; rows from `now` on are excluded.

    Args:
        events: column `timestamp` of every event, for freshness and row counts.
        interactions: columns `user`, `item` and `timestamp`, for drift.
        now: time of the check, UTC.
        config: thresholds and periods.
    """
    periods = Periods.before(now, config.period, config.trailing_periods)
    past, time = events.filter(pl.col(TIMESTAMP) < now), pl.col(TIMESTAMP)
    ((first, last),) = past.select(time.min().alias("a"), time.max().alias("b")).collect().rows()
    return (
        checks.freshness(last, now, config),
        _rows(past, first, periods, config),
        *_drifts(interactions.filter(pl.col(TIMESTAMP) < periods.end), periods, config),
    )


def _rows(
    events: pl.LazyFrame, first: datetime | None, periods: Periods, config: MonitorConfig
) -> Check:
    """Count rows by period; one without any counts as 0, unless it was before the log began."""
    counted = periods.numbered(events).group_by(BACK).len("rows").collect()
    counts: dict[int, int] = dict(counted.iter_rows())
    usual = periods.comparable(first, config.same_weekday_min) if first else []
    oldest = min(config.trailing_periods, periods.back_of(first)) if first else 0
    series = [(periods.label(back), float(counts.get(back, 0))) for back in range(oldest, -1, -1)]
    same = periods.unit == "day" and usual and all(back % 7 == 0 for back in usual)
    weekday = f"{periods.start(0):%A}" if same else ""
    usual_rows = [counts.get(back, 0) for back in usual]
    return checks.rows(counts.get(0, 0), usual_rows, series, config, weekday=weekday)


def _drifts(
    interactions: pl.LazyFrame, periods: Periods, config: MonitorConfig
) -> tuple[Check, Check]:
    first = interactions.select(pl.col(TIMESTAMP).min()).collect().item()
    covered = periods.back_of(first) - 1 if first else 0  # the first period may be a part of one
    trailing, bins = min(config.trailing_periods, covered), config.psi_bins
    looked_at = pl.col(BACK) < 2 * config.trailing_periods
    rows = periods.numbered(interactions).filter(looked_at).select(USER, ITEM, BACK).collect()
    popularity = item_popularity(rows, trailing, bins) if trailing > 1 else None
    window = config.trailing_periods
    lengths = history_length(rows, window, covered, bins) if covered >= window else None
    by_length = f"active users by interactions in {window} {config.period}s"
    return (
        checks.drift("popularity_drift", "interactions by popularity of item", popularity, config),
        checks.drift("history_drift", by_length, lengths, config),
    )
