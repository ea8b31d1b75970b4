"""Checks of the champion: its age, and its metric on the newest period."""

from datetime import datetime, timedelta

from diffrec_core.common.config import Config
from diffrec_core.monitoring.checks import Check, Limits
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
    limits = Limits(
        warn_above=config.champion_age_warn_days, alarm_above=config.champion_age_alarm_days
    )
    days = max(0.0, (now - created) / timedelta(days=1))
    message = (
        f"version {version} was registered {days:.1f} days ago, trained on data until "
        f"{trained_until}; warn after {limits.warn_above:g} days, alarm after "
        f"{limits.alarm_above:g}"
    )
    return Check("champion_age", limits.judge(days), days, limits, message)


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
