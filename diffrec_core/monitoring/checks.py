"""The checks: each takes values and returns a verdict in words, with its thresholds."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from statistics import median
from typing import Any, Final, Literal

from diffrec_core.monitoring.config import MonitorConfig
from diffrec_core.monitoring.drift import Binned

Status = Literal["ok", "unknown", "warn", "alarm"]
STATUSES: Final[tuple[Status, ...]] = ("ok", "unknown", "warn", "alarm")
"""In ascending severity; unknown: the check could not be made."""

ADVICE: Final[Mapping[str, str]] = {
    "data": "Fix what the reason names, usually the logs, then clear the failed task with its "
    "downstream tasks; if the logs were fixed, clear list_raw with its downstream tasks.",
    "freshness": "Find out why no newer events arrived: is the log still written, and does "
    "list_raw.logs name it? When it has arrived, run the night again.",
    "rows": "Compare the newest raw files with those of the days before: is a file missing, "
    "truncated or listed twice? Fix the source and run the night again. If the change is real, a "
    "holiday or a campaign, widen monitor.rows_ratio_*.",
    "quarantined": "Look into data/quarantine: the raw rows, each with its reason. Fix the logs, "
    "or describe them better in the section ingest of params.yaml.",
    "popularity_drift": "See which groups of items gained or lost: a changed catalogue, a "
    "campaign, a tracking error, bots? If the change is real, retrain; if not, fix the source.",
    "history_drift": "See which users came or went: a lost or doubled source, changed user ids, "
    "bots? If the change is real, retrain; if not, fix the source.",
    "champion_age": "See why no newer model was promoted: failed nights, or candidates that the "
    "gate rejected for good reason? Fix the night, or keep the old champion deliberately and "
    "raise monitor.champion_age_*.",
    "weights_age": "See why its training data are old: was nothing promoted, or is the part that "
    "the gate holds out long, as of a log of years? Shorten nightly.window_days, or raise "
    "monitor.weights_age_*.",
    "champion_metric": "First rule out a fault of the data, by the checks before this one. Then "
    "retrain, or roll back if the drop began with the last promotion.",
    "table_age": "See why no newer table was published: failed nights, or one that publish holds, "
    "as it is too far from the current one? Fix the night, accept the table (publish --accept), or "
    "have recommend_daily make one with the present champion.",
}
"""Remedies by the name of the check."""

SERVED: Final = ("champion_age", "weights_age", "champion_metric", "table_age")
"""Checks of what serves: they do not need the night's data."""

NOT_READ: Final = "the night's data could not be read"
"""Message of the checks that could not be made."""

_UNKNOWN = "Find out why this could not be checked; until then nothing is known about it."


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Warning and alarm thresholds; None: there is none. A value at a limit is ok."""

    warn_below: float | None = None
    alarm_below: float | None = None
    warn_above: float | None = None
    alarm_above: float | None = None

    def judge(self, value: float) -> Status:
        """The status of a value."""
        if _outside(value, self.alarm_below, self.alarm_above):
            return "alarm"
        return "warn" if _outside(value, self.warn_below, self.warn_above) else "ok"


def _outside(value: float, low: float | None, high: float | None) -> bool:
    return (low is not None and value < low) or (high is not None and value > high)


@dataclass(frozen=True, slots=True)
class Check:
    """A verdict.

    Attributes:
        name: which check, a key of ADVICE.
        status: the verdict.
        value: as measured; None if it could not be.
        limit: the thresholds; None if nothing was judged.
        message: both in words.
        series: labels and values that the value was computed from, oldest first or by bin.
    """

    name: str
    status: Status
    value: float | None
    limit: Limits | None
    message: str
    series: tuple[tuple[str, float], ...] = ()

    @property
    def advice(self) -> str | None:
        """The remedy; None if the status is ok."""
        if self.status == "ok":
            return None
        return _UNKNOWN if self.status == "unknown" else ADVICE[self.name]

    def to_json(self) -> dict[str, Any]:
        """The check as JSON; `do` has the remedy."""
        limit = self.limit and {k: v for k, v in asdict(self.limit).items() if v is not None}
        return {
            "name": self.name,
            "status": self.status,
            "value": self.value,
            "limit": limit,
            "message": self.message,
            "series": [{"label": label, "value": value} for label, value in self.series],
            "do": self.advice,
        }


def worst(checks: Sequence[Check]) -> Status:
    """The overall status: the most severe one."""
    return max((check.status for check in checks), key=STATUSES.index, default="unknown")


def freshness(newest: datetime | None, now: datetime, config: MonitorConfig) -> Check:
    """Age of the newest event, in hours.

    Args:
        newest: time of the newest event that is not after `now`; None if there is none.
        now: time of the check.
        config: thresholds.
    """
    limits = Limits(
        warn_above=config.freshness_warn_hours, alarm_above=config.freshness_alarm_hours
    )
    if newest is None:
        text = f"there is no event before {now:%Y-%m-%d %H:%M} UTC"
        return Check("freshness", "alarm", None, limits, text)
    hours = (now - newest) / timedelta(hours=1)
    message = (
        f"the newest event, of {newest:%Y-%m-%d %H:%M} UTC, is {duration(hours)} old; "
        f"{after(limits, 'hours')}"
    )
    return Check("freshness", limits.judge(hours), hours, limits, message)


def rows(
    newest: int,
    usual: Sequence[int],
    series: Sequence[tuple[str, float]],
    config: MonitorConfig,
    *,
    weekday: str = "",
) -> Check:
    """Rows of the newest period as a multiple of the median of earlier ones.

    Args:
        newest: its rows.
        usual: rows of the periods that it is compared with.
        series: labels and rows of all periods that are shown, oldest first.
        config: thresholds.
        weekday: its name, if it is compared with the same weekday only.
    """
    shown = tuple(series)
    middle = median(usual) if usual else 0.0
    if not newest:
        return Check("rows", "alarm", 0.0, None, f"the newest {config.period} has no rows", shown)
    if not middle:
        text = (
            f"the newest {config.period} has {newest:,} rows; no earlier {config.period} with rows "
            f"to compare with, so not judged"
        )
        return Check("rows", "ok", None, None, text, shown)
    limits = Limits(
        warn_below=config.rows_ratio_low_warn,
        alarm_below=config.rows_ratio_low_alarm,
        warn_above=config.rows_ratio_high_warn,
        alarm_above=config.rows_ratio_high_alarm,
    )
    ratio = newest / middle
    message = (
        f"the newest {config.period} has {newest:,} rows, {ratio:.2f} times the median of "
        f"{len(usual)} earlier {weekday or config.period}s ({middle:,.0f}); "
        f"warn outside {limits.warn_below:g} to {limits.warn_above:g}, "
        f"alarm outside {limits.alarm_below:g} to {limits.alarm_above:g}"
    )
    return Check("rows", limits.judge(ratio), ratio, limits, message, shown)


def quarantined(
    rejected: int, read: int, reasons: Mapping[str, int], config: MonitorConfig
) -> Check:
    """Share of the rows read that ingest put into quarantine.

    Args:
        rejected: rows in quarantine.
        read: rows read; above 0.
        reasons: rejected rows by reason.
        config: thresholds.
    """
    limits = Limits(
        warn_above=config.quarantined_warn_share, alarm_above=config.quarantined_alarm_share
    )
    share = rejected / read
    ordered = sorted(reasons.items(), key=lambda reason: (-reason[1], reason[0]))
    most = ", ".join(f"{reason} ({count:,})" for reason, count in ordered[:3])
    message = (
        f"{rejected:,} of {read:,} rows ({share:.3%}) were quarantined"
        f"{': ' + most if most else ''}; warn above {limits.warn_above:.3%}, "
        f"alarm above {limits.alarm_above:.3%}"
    )
    series = tuple((reason, float(count)) for reason, count in ordered)
    return Check("quarantined", limits.judge(share), share, limits, message, series)


def unreadable(why: str) -> tuple[Check, ...]:
    """Checks of a night whose data cannot be read.

    Args:
        why: the reason, in words.
    """
    unknown = (name for name in ADVICE if name not in ("data", *SERVED))
    return (
        Check("data", "alarm", None, None, why),
        *(Check(name, "unknown", None, None, NOT_READ) for name in unknown),
    )


def drift(name: str, what: str, binned: Binned | None, config: MonitorConfig) -> Check:
    """Population stability index of the newest period against the reference.

    Args:
        name: of the check.
        what: is compared, in words.
        binned: rows by bin; None if the log has too few whole periods.
        config: thresholds and the minimum of rows.
    """
    if binned is None or not binned.reference.sum():
        text = f"{what}: too few whole {config.period}s of data to judge"
        return Check(name, "ok", None, None, text)
    change = binned.newest / max(1, binned.newest.sum()) - binned.reference / binned.reference.sum()
    series = tuple(
        (label, float(value)) for label, value in zip(binned.labels, change, strict=True)
    )
    if binned.rows < config.psi_min_rows:
        text = (
            f"{what}: too few to judge, {int(binned.newest.sum()):,} in the newest {config.period} "
            f"and {int(binned.reference.sum()):,} before (monitor.psi_min_rows = "
            f"{config.psi_min_rows:,})"
        )
        return Check(name, "ok", None, None, text, series)
    limits = Limits(warn_above=config.psi_warn, alarm_above=config.psi_alarm)
    most = max(series, key=lambda bin_: abs(bin_[1]))
    message = (
        f"{what}: index {binned.psi:.3f}, the largest change being that of “{most[0]}”, by "
        f"{100 * most[1]:+.1f} percentage points; "
        f"warn above {limits.warn_above:g}, alarm above {limits.alarm_above:g}"
    )
    return Check(name, limits.judge(binned.psi), binned.psi, limits, message, series)


def duration(hours: float) -> str:
    """Hours, or days from four on.

    >>> duration(0.5), duration(30), duration(24 * 90)
    ('0.5 hours', '30.0 hours', '90 days')
    """
    return f"{hours:.1f} hours" if hours < 24 * 4 else f"{hours / 24:,.0f} days"


def after(limits: Limits, unit: str) -> str:
    """The limits of an age in words.

    >>> after(Limits(warn_above=24.0), "hours")
    'warn after 24 hours, alarm after no time'
    """
    times = (limits.warn_above, limits.alarm_above)
    warn, alarm = ("no time" if time is None else f"{time:g} {unit}" for time in times)
    return f"warn after {warn}, alarm after {alarm}"
