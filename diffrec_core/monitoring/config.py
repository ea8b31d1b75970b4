"""The section `monitor` of params.yaml: periods that are compared, and thresholds."""

from typing import Literal, Self

from pydantic import Field, model_validator

from diffrec_core.common.config import Config

_PAIRS = (
    ("freshness_warn_hours", "freshness_alarm_hours"),
    ("rows_ratio_low_alarm", "rows_ratio_low_warn"),
    ("rows_ratio_high_warn", "rows_ratio_high_alarm"),
    ("quarantined_warn_share", "quarantined_alarm_share"),
    ("psi_warn", "psi_alarm"),
    ("champion_age_warn_days", "champion_age_alarm_days"),
    ("weights_age_warn_days", "weights_age_alarm_days"),
    ("champion_drop_warn", "champion_drop_alarm"),
    ("table_age_warn_hours", "table_age_alarm_hours"),
)
"""Keys of which the first may not exceed the second."""


class MonitorConfig(Config):
    """Thresholds of the checks. A value at its limit is ok; beyond it the check warns or alarms."""

    period: Literal["day", "week"] = "day"
    """The period that is compared with its predecessors: the last whole day (UTC), or the seven
    days that end with it."""

    trailing_periods: int = Field(default=28, ge=2, le=366)
    """How many earlier periods the newest one is compared with."""

    same_weekday_min: int = Field(default=3, ge=1)
    """With `period: day`, compare row counts with the same weekday alone when the trailing days
    hold at least so many of it."""

    freshness_warn_hours: float | None = Field(default=24.0, gt=0)
    """Warn when the newest event is older; null: never, as for data that do not grow."""

    freshness_alarm_hours: float | None = Field(default=48.0, gt=0)
    """Raise the alarm when the newest event is older; null: never."""

    rows_ratio_low_alarm: float = Field(default=0.5, ge=0, le=1)
    """Raise the alarm when the newest period has a smaller multiple of the usual rows."""

    rows_ratio_low_warn: float = Field(default=0.7, ge=0, le=1)
    """Warn when it has a smaller multiple."""

    rows_ratio_high_warn: float = Field(default=1.5, ge=1)
    """Warn when it has a larger multiple of the usual rows."""

    rows_ratio_high_alarm: float = Field(default=3.0, ge=1)
    """Raise the alarm when it has a larger multiple."""

    quarantined_warn_share: float = Field(default=0.002, ge=0, le=1)
    """Warn when a larger share of the rows read was quarantined."""

    quarantined_alarm_share: float = Field(default=0.005, ge=0, le=1)
    """Raise the alarm at a larger share. It must be below `ingest.max_rejected_share`, at which
    `ingest` itself fails, to be raised at all."""

    psi_warn: float = Field(default=0.1, gt=0)
    """Warn when a population stability index is larger; see `drift` for the thresholds' source."""

    psi_alarm: float = Field(default=0.25, gt=0)
    """Raise the alarm when it is larger."""

    psi_bins: int = Field(default=10, ge=2, le=100)
    """Bins of the reference."""

    psi_min_rows: int = Field(default=1000, ge=1)
    """With fewer rows on either side, drift is not judged: chance alone moves the index by about
    (bins - 1)(1/n + 1/m)."""

    champion_age_warn_days: float = Field(default=14.0, gt=0)
    """Warn when the champion was registered longer ago."""

    champion_age_alarm_days: float = Field(default=30.0, gt=0)
    """Raise the alarm when it was registered longer ago."""

    weights_age_warn_days: float | None = Field(default=60.0, gt=0)
    """Warn when the newest interaction that the champion was trained on is older; null: never. A
    night leaves the newest tenth of the log out, 36 days of a year, and the champion may be as old
    as `champion_age_warn_days`."""

    weights_age_alarm_days: float | None = Field(default=None, gt=0)
    """Raise the alarm when it is older; null: never, since the tenth left out of a log of many
    years is longer than any limit."""

    champion_drop_warn: float = Field(default=0.2, ge=0, le=1)
    """Warn when the champion's metric on the newest period lies further below what it was promoted
    with, relative to that."""

    champion_drop_alarm: float = Field(default=0.5, ge=0, le=1)
    """Raise the alarm at a larger drop."""

    champion_min_users: int = Field(default=200, ge=1)
    """With fewer users to measure it on, the champion's metric is not judged."""

    table_age_warn_hours: float | None = Field(default=24.0, gt=0)
    """Warn when the data of the current table of recommendations end earlier; null: never. At 05:00
    that of a good night is 5 hours old, that of `recommend_daily` 23."""

    table_age_alarm_hours: float | None = Field(default=48.0, gt=0)
    """Raise the alarm when they end earlier: two nights have failed in a row; null: never."""

    runbook: str = Field(default="../../docs/runbook.md", min_length=1)
    """Where the page of the status links to: a URL, or a path seen from the page."""

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        for lower, upper in _PAIRS:
            low, high = getattr(self, lower), getattr(self, upper)
            if low is not None and high is not None and low > high:
                raise ValueError(f"{lower} = {low:g} must not exceed {upper} = {high:g}")
        return self
