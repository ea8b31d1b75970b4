"""Checks of what serves: age and metric of the champion, age of its weights and of its table."""

from datetime import datetime, timedelta
from typing import Literal

from diffrec_core.common.config import Config
from diffrec_core.monitoring.checks import Check, Limits, after, duration
from diffrec_core.monitoring.config import MonitorConfig


class ChampionScore(Config):
    """The champion's metric on data that it was not trained on."""

    metric: str
    """Key, such as `recall@20`."""

    value: float
    """Mean over users on the newest period."""

    users: int
    """Their number."""

    expected: float | None
    """The same metric when it was promoted; None if unknown."""

    window: str
    """The time span of the measurement, in words."""


def champion_age(
    version: str, created: datetime, trained_until: str, now: datetime, config: MonitorConfig
) -> Check:
    """Days since the champion was registered.

    Args:
        version: its number.
        created: time of registration.
        trained_until: time of the newest interaction that it was trained on, in words.
        now: time of the check; a newer version is of age 0.
        config: thresholds.
    """
    return _age(
        "champion_age",
        now - created,
        Limits(
            warn_above=config.champion_age_warn_days, alarm_above=config.champion_age_alarm_days
        ),
        "days",
        of=f"version {version} was registered",
        ago=f"ago, trained on data until {trained_until}",
    )


def weights_age(
    version: str, trained_until: datetime, now: datetime, config: MonitorConfig
) -> Check:
    """Days since the newest interaction that the champion was trained on.

    Args:
        version: its number.
        trained_until: time of that interaction.
        now: time of the check; later interactions are of age 0.
        config: thresholds.
    """
    return _age(
        "weights_age",
        now - trained_until,
        Limits(warn_above=config.weights_age_warn_days, alarm_above=config.weights_age_alarm_days),
        "days",
        of=f"version {version} has seen no interaction after {trained_until:%Y-%m-%d %H:%M} UTC,",
        ago="ago",
    )


def table_age(
    table: str, end: datetime, published: str, now: datetime, config: MonitorConfig
) -> Check:
    """Hours since the end of the data of the current table of recommendations.

    Args:
        table: who made it, in words.
        end: of its data.
        published: when it became the current one, in words.
        now: time of the check; a table of later data is of age 0.
        config: thresholds.
    """
    return _age(
        "table_age",
        now - end,
        Limits(warn_above=config.table_age_warn_hours, alarm_above=config.table_age_alarm_hours),
        "hours",
        of=f"the current table, {table}, is of data until {end:%Y-%m-%d %H:%M} UTC,",
        ago=f"ago, and was published at {published}",
    )


def _age(
    name: str, age: timedelta, limits: Limits, unit: Literal["days", "hours"], *, of: str, ago: str
) -> Check:
    """Judge an age, which the message has between `of` and `ago`; what is to come has age 0."""
    value = max(0.0, age / timedelta(**{unit: 1}))
    text = f"{value:.1f} days" if unit == "days" else duration(value)
    message = f"{of} {text} {ago}; {after(limits, unit)}"
    return Check(name, limits.judge(value), value, limits, message)


def champion_metric(score: ChampionScore, config: MonitorConfig) -> Check:
    """Relative drop of the champion's metric since its promotion."""
    value = f"its {score.metric} is {score.value:.4f} over {score.users:,} users ({score.window})"
    if score.users < config.champion_min_users:
        text = (
            f"{value}: too few to judge (monitor.champion_min_users = {config.champion_min_users})"
        )
        return Check("champion_metric", "ok", None, None, text)
    if not score.expected:
        text = f"{value}; what it was promoted with is not recorded, so not judged"
        return Check("champion_metric", "unknown", None, None, text)
    limits = Limits(warn_above=config.champion_drop_warn, alarm_above=config.champion_drop_alarm)
    drop = 1 - score.value / score.expected
    message = (
        f"{value}, {abs(drop):.1%} {'below' if drop > 0 else 'above'} the {score.expected:.4f} "
        f"that it was promoted with; warn above a drop of {limits.warn_above:.0%}, alarm above "
        f"{limits.alarm_above:.0%}"
    )
    series = (("when promoted", score.expected), ("newest", score.value))
    return Check("champion_metric", limits.judge(drop), drop, limits, message, series)
