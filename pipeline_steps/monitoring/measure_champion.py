"""Find the champion, and measure it on the newest period with the protocol of the gate."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory

import polars as pl

from diffrec_core.common.errors import ArtifactError, ConfigError, StorageError
from diffrec_core.contest.cases import (
    UnfairComparisonError,
    Window,
    by_external_ids,
    cases,
    seen_by_external_ids,
)
from diffrec_core.contest.config import GateConfig
from diffrec_core.contest.measures import measure, popularity_before
from diffrec_core.data.interactions import read_interactions
from diffrec_core.data.schema import TICK
from diffrec_core.monitoring.champion import (
    ChampionScore,
    champion_age,
    champion_metric,
    weights_age,
)
from diffrec_core.monitoring.checks import Check, Status
from diffrec_core.monitoring.config import MonitorConfig
from diffrec_core.monitoring.periods import Periods
from pipeline_steps.registry import tracking, versions
from pipeline_steps.registry.scoring import score_versions
from pipeline_steps.registry.versions import CHAMPION, Version

_AGE, _WEIGHTS, _METRIC = "champion_age", "weights_age", "champion_metric"


@dataclass(frozen=True, slots=True)
class Champion:
    """The version that serves.

    Attributes:
        version: of the registry.
        metrics: logged at its registration.
    """

    version: Version
    metrics: Mapping[str, float]


def find_champion(
    name: str, now: datetime, config: MonitorConfig
) -> tuple[tuple[Check, Check], Champion | Check]:
    """The checks of the champion's age and of that of its weights, and the champion.

    Returns:
        In place of the champion, if there is none to measure, the check of its metric.
    """
    try:
        with tracking.registry():
            version = versions.by_alias(name, CHAMPION)
            if version is None:
                why = f"no version of {name} is {CHAMPION}: nothing is served"
                ages = _not_judged("alarm", why, _AGE), _not_judged("unknown", why, _WEIGHTS)
                return ages, _not_judged("unknown", "there is no champion to measure")
            created, metrics = versions.created(version), versions.run_metrics(version)
    except (ConfigError, StorageError) as error:
        # a server cannot load it either
        why = f"the champion cannot be loaded, as the registry was not read: {error}"
        unread = "the registry was not read"
        ages = (_not_judged("unknown", unread, _AGE), _not_judged("unknown", unread, _WEIGHTS))
        return ages, _not_judged("alarm", why)
    until = version.tags.get("data_last", "an unknown time")
    age = champion_age(version.number, created, until, now, config)
    return (age, _weights_age(version, now, config)), Champion(version, metrics)


def _weights_age(version: Version, now: datetime, config: MonitorConfig) -> Check:
    try:
        return weights_age(version.number, version.training_end, now, config)
    except ArtifactError as error:
        return _not_judged("unknown", str(error), _WEIGHTS)


def measure_champion(
    champion: Champion,
    interactions: Path,
    periods: Periods,
    gate: GateConfig,
    config: MonitorConfig,
) -> Check:
    """Measure the champion on interactions of the newest period after its training end.

    Args:
        champion: the version and its metrics.
        interactions: folder of interactions.
        periods: number 0 is the newest.
        gate: metric, share of targets and the most users.
        config: thresholds.

    Returns:
        ok with a note if the champion was trained on the whole period, or too few users are left;
        alarm if the champion cannot be loaded: then it cannot serve either.
    """
    try:
        until = champion.version.training_end
    except ArtifactError as error:
        return _not_judged("unknown", str(error))
    start = max(periods.start(0), until + TICK)
    if start >= periods.end:
        text = f"it was trained on data until {until:%Y-%m-%d %H:%M} UTC, which hold the newest"
        return _not_judged("ok", f"{text} {periods.unit}: nothing new to measure it on")
    window = Window(start, periods.end, f"version {champion.version.number}", 0.0)
    try:
        facts, asked = _cases(interactions, window, gate)
    except UnfairComparisonError:
        return _not_judged("ok", f"nobody with a history was active {_span(window)}: not judged")
    if len(asked) < config.champion_min_users:
        text = f"{len(asked)} users with a history were active {_span(window)}: too few to judge"
        return _not_judged("ok", f"{text} (monitor.champion_min_users)")
    try:
        value = _value(champion, facts, asked, window, gate)
    except (ArtifactError, StorageError) as error:
        away = isinstance(error, StorageError)  # MLflow: nothing is known of the champion
        why = "the registry was not read" if away else "the champion cannot be loaded"
        return _not_judged("unknown" if away else "alarm", f"{why}: {error}")
    score = ChampionScore(
        metric=gate.metric,
        value=value,
        users=len(asked),
        expected=_expected(champion, gate.metric),
        window=_span(window),
    )
    return champion_metric(score, config)


def _expected(champion: Champion, metric: str) -> float | None:
    """The metric when the version was promoted; None if it was never measured.

    The gate's protocol is the one used here. Without a gate, it is the metric on the test part at
    registration: a rough estimate, as its protocol differs a little.
    """
    tags = champion.version.tags
    if tags.get("gate_metric") == metric and "gate_candidate" in tags:
        return float(tags["gate_candidate"])
    return champion.metrics.get(f"test_{metric.replace('@', '_at_')}")


def _cases(
    interactions: Path, window: Window, gate: GateConfig
) -> tuple[pl.DataFrame, pl.DataFrame]:
    known = read_interactions(interactions)
    facts, seen = by_external_ids(known), seen_by_external_ids(known)
    anybody = gate.model_copy(update={"min_users": 1})
    return facts, cases(facts, seen, window, anybody, seed=0)


def _value(
    champion: Champion, facts: pl.DataFrame, asked: pl.DataFrame, window: Window, gate: GateConfig
) -> float:
    """Mean of the metric over the users asked."""
    uri = champion.version.uri
    with TemporaryDirectory(prefix="champion-") as folder:
        answers = score_versions(asked, [uri], gate.k, Path(folder))[uri].answers
    return float(measure(answers, asked, popularity_before(facts, window), gate).per_user.mean())


def _not_judged(status: Status, why: str, name: str = _METRIC) -> Check:
    return Check(name, status, None, None, why)


def _span(window: Window) -> str:
    return f"from {window.start:%Y-%m-%d %H:%M} to {window.end:%Y-%m-%d %H:%M} UTC"
