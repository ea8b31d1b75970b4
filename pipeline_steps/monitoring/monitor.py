"""Look at the night: fresh data, usual counts, no drift, a champion that is young and good.

Writes status.json and status.html into a folder, then fails with exit code 7 if a check is in
alarm. It is not a stage: its result depends on the time.
`--champion-score` is a JSON file with `metric`, `value`, `users`, `expected` (or null) and
`window`, when the champion was measured by somebody else.
"""

import logging
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl

from diffrec_core.common.artifacts import read_json, write_json, write_text
from diffrec_core.common.config import UtcTime
from diffrec_core.common.errors import ArtifactError, ConfigError, DataError, StorageError
from diffrec_core.contest.config import GateConfig
from diffrec_core.data.schema import TIMESTAMP
from diffrec_core.data.tables import INTERACTIONS
from diffrec_core.monitoring import checks
from diffrec_core.monitoring.champion import ChampionScore, champion_age, champion_metric
from diffrec_core.monitoring.checks import Check, Status
from diffrec_core.monitoring.config import MonitorConfig
from diffrec_core.monitoring.periods import Periods
from diffrec_core.monitoring.status import NightStatus, check_data
from diffrec_core.report.status import render_status
from pipeline_steps.monitoring.measure_champion import Champion, measure_champion
from pipeline_steps.params.steps import RegisterConfig
from pipeline_steps.registry import tracking, versions
from pipeline_steps.registry.versions import CHAMPION
from pipeline_steps.runtime.command import Inputs

log = logging.getLogger("pipeline")

_LEVELS = {"ok": logging.INFO, "unknown": logging.INFO, "warn": logging.WARNING}


class MonitorInputs(Inputs):
    """Where the data lie, and the moment."""

    events: Path
    """Folder of `ingest`."""

    interactions: Path
    """Folder of interactions."""

    ingest_report: Path
    """Report of `ingest`."""

    now: UtcTime | None = None
    """ISO 8601; default: now."""

    out: Path
    """Folder of the status."""

    champion_score: Path | None = None
    """JSON, see above."""

    model_name: str | None = None
    """Default: register.model_name."""


def run(
    inputs: MonitorInputs,
    monitor: MonitorConfig,
    register: RegisterConfig,
    gate: GateConfig,
) -> None:
    """Check everything, write the status, then fail if there is an alarm.

    Raises:
        AlarmError: a check is in alarm.
        ArtifactError: what is to be looked at is missing or is something else.
        StorageError: the status cannot be written.
    """
    config = monitor
    if inputs.out.exists() and not inputs.out.is_dir():
        raise StorageError(
            f"--out {inputs.out} is no folder: choose another, or remove what is there"
        )
    now = inputs.now or datetime.now(UTC)
    name = inputs.model_name or register.model_name
    try:
        data = _data(inputs, now, config)
    except (ArtifactError, DataError) as error:
        _write(unreadable(str(error), name, now, config), inputs.out, config)
        raise
    status = _night(now, config, *data, *_champion(inputs, name, gate, now, config))
    _write(status, inputs.out, config)
    for check in status.checks:
        if check.status != "alarm":  # those are in the error
            log.log(_LEVELS[check.status], "%s: %s: %s", check.name, check.status, check.message)
    status.raise_alarm(f"{inputs.out / 'status.html'}")


def unreadable(why: str, model: str, now: datetime, config: MonitorConfig) -> NightStatus:
    """The status of a night whose data cannot be read.

    Args:
        why: what stands against it, in words.
        model: its name in the registry.
        now: the moment of looking, UTC.
        config: limits and periods.
    """
    age, champion = look_at_champion(model, now, config)
    if not isinstance(champion, Check):
        champion = Check("champion_metric", "unknown", None, None, checks.NOT_READ)
    return _night(now, config, *checks.unreadable(why), age, champion)


def _night(now: datetime, config: MonitorConfig, *found: Check) -> NightStatus:
    periods = Periods.before(now, config.period, config.trailing_periods)
    span = (periods.start(0), periods.end)
    return NightStatus(now=now, unit=config.period, period=span, checks=_in_order(*found))


def _write(status: NightStatus, folder: Path, config: MonitorConfig) -> None:
    write_json(folder / "status.json", status.to_json())
    write_text(folder / "status.html", render_status(status, config.runbook))
    log.info("status: %s, see %s", status.overall, folder / "status.html")


def _data(inputs: MonitorInputs, now: datetime, config: MonitorConfig) -> tuple[Check, ...]:
    periods = Periods.before(now, config.period, config.trailing_periods)
    try:
        return (
            *check_data(_events(inputs.events, periods), _interactions(inputs), now, config),
            _quarantined(inputs.ingest_report, config),
        )
    except pl.exceptions.PolarsError as error:
        raise ArtifactError(
            f"{inputs.events} or {inputs.interactions} cannot be read ({error}): remove the folder "
            f"and restore it (dvc checkout, dvc pull) or run its stage again"
        ) from error


def _in_order(*found: Check) -> tuple[Check, ...]:
    return tuple(sorted(found, key=lambda check: list(checks.ADVICE).index(check.name)))


def _events(folder: Path, periods: Periods) -> pl.LazyFrame:
    """Times of the events of the periods looked at, of the log's first day and of its last ones.

    Of years of events, the days between need not be read.
    """
    days = sorted(folder.glob("date=*/*.parquet"))
    if not days:
        raise ArtifactError(f"{folder} holds no events (date=*/*.parquet): run the stage `ingest`")
    oldest = f"date={periods.start(periods.trailing).date()}"
    recent = [path for path in days if path.parent.name >= oldest]
    before = [path for path in days if path.parent.name < oldest]
    files = [*before[:1], *before[1:][-1:], *recent]
    return pl.scan_parquet(files, glob=False, hive_partitioning=False).select(TIMESTAMP)


def _interactions(inputs: MonitorInputs) -> pl.LazyFrame:
    path = inputs.interactions / "interactions.parquet"
    if not path.is_file():
        raise ArtifactError(f"{path} is missing: run the stage `build_interactions` (dvc repro)")
    frame = pl.scan_parquet(path, glob=False)
    if frame.collect_schema() != INTERACTIONS:
        raise ArtifactError(f"{path} is not a table of interactions: run its stage again")
    return frame


def _quarantined(path: Path, config: MonitorConfig) -> Check:
    report = read_json(path)
    try:
        rejected, read = int(report["rejected"]), int(report["rows_read"])
        reasons = dict(report["rejected_by_reason"])
    except (KeyError, TypeError, ValueError) as error:
        raise ArtifactError(
            f"{path} is not a report of `ingest`: it needs rows_read, rejected and "
            f"rejected_by_reason. Run the stage again"
        ) from error
    if not read:
        raise DataError(f"{path}: no row was read, so no share can be quarantined")
    return checks.quarantined(rejected, read, reasons, config)


def _champion(
    inputs: MonitorInputs,
    name: str,
    gate: GateConfig,
    now: datetime,
    config: MonitorConfig,
) -> tuple[Check, Check]:
    """Age and metric of the champion."""
    age, champion = look_at_champion(name, now, config)
    if isinstance(champion, Check):
        return age, champion
    if inputs.champion_score:
        return age, champion_metric(read_score(inputs.champion_score), config)
    periods = Periods.before(now, config.period, config.trailing_periods)
    return age, measure_champion(champion, inputs.interactions, periods, gate, config)


def look_at_champion(
    name: str, now: datetime, config: MonitorConfig
) -> tuple[Check, Champion | Check]:
    """The age of the champion, and the champion.

    Returns:
        In place of the champion, where there is none to measure, the verdict about its metric.
    """
    try:
        with tracking.registry():
            found = versions.by_alias(name, CHAMPION)
            if found is None:
                why = f"no version of {name} is {CHAMPION}: nothing is served"
                return _no_champion(("alarm", why), ("unknown", "there is no champion to measure"))
            created, metrics = versions.created(found), versions.run_metrics(found)
    except (ConfigError, StorageError) as error:
        # whoever serves cannot load it either
        why = f"the champion cannot be loaded, as the registry was not read: {error}"
        return _no_champion(("unknown", "the registry was not read"), ("alarm", why))
    until = found.tags.get("data_last", "an unknown time")
    age = champion_age(found.number, created, until, now, config)
    return age, Champion(found, metrics)


def _no_champion(age: tuple[Status, str], metric: tuple[Status, str]) -> tuple[Check, Check]:
    verdicts = (("champion_age", *age), ("champion_metric", *metric))
    first, second = (Check(name, status, None, None, why) for name, status, why in verdicts)
    return first, second


def read_score(path: Path) -> ChampionScore:
    """Read what somebody else measured.

    Raises:
        ArtifactError: the file is missing or lacks something.
    """
    found: dict[str, Any] = read_json(path)
    try:
        expected = found["expected"]
        return ChampionScore(
            metric=str(found["metric"]),
            value=float(found["value"]),
            users=int(found["users"]),
            expected=None if expected is None else float(expected),
            window=str(found["window"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise ArtifactError(
            f"{path} is not a score of the champion: it needs metric, value, users, expected and "
            f"window"
        ) from error
