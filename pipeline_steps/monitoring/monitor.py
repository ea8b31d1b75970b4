"""Check a night: freshness, amount and drift of its data, the champion, the age of the table.

Writes status.json and status.html into a folder, then fails with exit code 7 if a check is in
alarm. It is not a stage: its result depends on the time.
"""

import logging
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
from pydantic import ValidationError

from diffrec_core.common.artifacts import read_json, write_json, write_text
from diffrec_core.common.config import UtcTime
from diffrec_core.common.errors import ArtifactError, DataError, StorageError
from diffrec_core.contest.config import GateConfig
from diffrec_core.data.schema import TIMESTAMP
from diffrec_core.data.tables import INTERACTIONS
from diffrec_core.monitoring import checks
from diffrec_core.monitoring.champion import ChampionScore, champion_metric
from diffrec_core.monitoring.checks import Check
from diffrec_core.monitoring.config import MonitorConfig
from diffrec_core.monitoring.periods import Periods
from diffrec_core.monitoring.status import NightStatus, check_data
from diffrec_core.report.status import render_status
from pipeline_steps.monitoring.find_table import find_table
from pipeline_steps.monitoring.measure_champion import find_champion, measure_champion
from pipeline_steps.nights.settings import settings
from pipeline_steps.params.steps import RegisterConfig
from pipeline_steps.runtime.command import Inputs

log = logging.getLogger("pipeline")

_LEVELS = {"ok": logging.INFO, "unknown": logging.INFO, "warn": logging.WARNING}


class MonitorInputs(Inputs):
    """The data, the time of the check, and the output."""

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
    """Measured elsewhere: JSON with metric, value, users, expected (or null) and window."""

    model_name: str | None = None
    """Default: register.model_name."""


def run(
    inputs: MonitorInputs, monitor: MonitorConfig, register: RegisterConfig, gate: GateConfig
) -> None:
    """Check everything, write the status, then fail if there is an alarm.

    Raises:
        AlarmError: a check is in alarm.
        ArtifactError: an input is missing or damaged; the status was written.
        StorageError: the status cannot be written.
    """
    if inputs.out.exists() and not inputs.out.is_dir():
        raise StorageError(f"--out {inputs.out} is not a directory: choose another, or remove it")
    now = inputs.now or datetime.now(UTC)
    name = inputs.model_name or register.model_name
    try:
        data = _data(inputs, now, monitor)
    except (ArtifactError, DataError) as error:
        _write(unreadable(str(error), name, now, monitor), inputs.out, monitor)
        raise
    champion = _champion(inputs, name, gate, now, monitor)
    table = find_table(settings().published, now, monitor)
    status = _night(now, monitor, *data, *champion, table)
    _write(status, inputs.out, monitor)
    for check in status.checks:
        if check.status != "alarm":  # those are in the error
            log.log(_LEVELS[check.status], "%s: %s: %s", check.name, check.status, check.message)
    status.raise_alarm(f"{inputs.out / 'status.html'}")


def unreadable(why: str, model: str, now: datetime, config: MonitorConfig) -> NightStatus:
    """The status of a night whose data cannot be read.

    Args:
        why: the reason, in words.
        model: its name in the registry.
        now: time of the check, UTC.
        config: thresholds and periods.
    """
    ages, champion = find_champion(model, now, config)
    if not isinstance(champion, Check):
        champion = Check("champion_metric", "unknown", None, None, checks.NOT_READ)
    table = find_table(settings().published, now, config)
    return _night(now, config, *checks.unreadable(why), *ages, champion, table)


def _night(now: datetime, config: MonitorConfig, *results: Check) -> NightStatus:
    periods = Periods.before(now, config.period, config.trailing_periods)
    order = list(checks.ADVICE)
    ordered = tuple(sorted(results, key=lambda check: order.index(check.name)))
    return NightStatus(now, config.period, (periods.start(0), periods.end), ordered)


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


def _events(folder: Path, periods: Periods) -> pl.LazyFrame:
    """Times of events: of the log's first and last days, and of the periods that are compared."""
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
    inputs: MonitorInputs, name: str, gate: GateConfig, now: datetime, config: MonitorConfig
) -> tuple[Check, ...]:
    """Ages and metric of the champion."""
    ages, champion = find_champion(name, now, config)
    if isinstance(champion, Check):
        return *ages, champion
    if inputs.champion_score:
        return *ages, champion_metric(read_score(inputs.champion_score), config)
    periods = Periods.before(now, config.period, config.trailing_periods)
    return *ages, measure_champion(champion, inputs.interactions, periods, gate, config)


def read_score(path: Path) -> ChampionScore:
    """Read a score that was measured elsewhere.

    Raises:
        ArtifactError: the file is missing or incomplete.
    """
    try:
        return ChampionScore.model_validate(read_json(path))
    except ValidationError as error:
        raise ArtifactError(
            f"{path} is not a score of the champion: it needs metric, value, users, expected and "
            f"window"
        ) from error
