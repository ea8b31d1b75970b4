"""What the champion is worth on the newest period, asked as the gate asks it."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import polars as pl

from diffrec_core.common.errors import ArtifactError, StorageError
from diffrec_core.contest.cases import UnfairComparisonError, Window, by_external_ids, cases
from diffrec_core.contest.config import GateConfig
from diffrec_core.contest.measures import measure, popularity_before
from diffrec_core.data.interactions import read_interactions
from diffrec_core.data.schema import TICK
from diffrec_core.monitoring.champion import ChampionScore, champion_metric
from diffrec_core.monitoring.checks import Check, Status
from diffrec_core.monitoring.config import MonitorConfig
from diffrec_core.monitoring.periods import Periods
from pipeline_steps.registry.scoring import score_versions
from pipeline_steps.registry.versions import Version

_NAME = "champion_metric"


@dataclass(frozen=True, slots=True)
class Champion:
    """The version that serves.

    Attributes:
        version: as the registry has it.
        metrics: what was logged when it was registered.
    """

    version: Version
    metrics: Mapping[str, float]


def measure_champion(
    champion: Champion,
    interactions: Path,
    periods: Periods,
    gate: GateConfig,
    config: MonitorConfig,
) -> Check:
    """Measure the champion on what came after its training end in the newest period.

    Args:
        champion: the version and what is known of it.
        interactions: folder of interactions.
        periods: number 0 is the newest.
        gate: metric, share of targets and the most users.
        config: limits.

    Returns:
        ok with a note where the champion knows the whole period already, or too few users are
        left; alarm where the champion cannot be loaded: then it cannot serve either.
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
        return _not_scored(error)
    score = ChampionScore(
        metric=gate.metric,
        value=value,
        users=len(asked),
        expected=expected(champion, gate.metric),
        window=_span(window),
    )
    return champion_metric(score, config)


def expected(champion: Champion, metric: str) -> float | None:
    """The metric when the version was promoted; None when nobody has measured it.

    The gate asks in the same way as is asked here. Where it was not asked, the test part's value is
    taken, of when the version was registered: a rough yardstick, it is asked a little otherwise.
    """
    tags = champion.version.tags
    if tags.get("gate_metric") == metric and "gate_candidate" in tags:
        return float(tags["gate_candidate"])
    return champion.metrics.get(f"test_{metric.replace('@', '_at_')}")


def _cases(
    interactions: Path, window: Window, gate: GateConfig
) -> tuple[pl.DataFrame, pl.DataFrame]:
    facts = by_external_ids(read_interactions(interactions))
    anybody = gate.model_copy(update={"min_users": 1})
    return facts, cases(facts, window, anybody, seed=0)


def _value(
    champion: Champion, facts: pl.DataFrame, asked: pl.DataFrame, window: Window, gate: GateConfig
) -> float:
    """Mean of the metric over the users asked."""
    uri = champion.version.uri
    with TemporaryDirectory(prefix="champion-") as folder:
        answers = score_versions(asked, [uri], gate.k, Path(folder))[uri].answers
    return float(measure(answers, asked, popularity_before(facts, window), gate).per_user.mean())


def _not_scored(error: ArtifactError | StorageError) -> Check:
    if isinstance(error, StorageError):  # MLflow is away; nothing is known of the champion
        return _not_judged("unknown", f"the registry was not read: {error}")
    return _not_judged("alarm", f"the champion cannot be loaded: {error}")


def _not_judged(status: Status, why: str) -> Check:
    return Check(_NAME, status, None, None, why)


def _span(window: Window) -> str:
    return f"from {window.start:%Y-%m-%d %H:%M} to {window.end:%Y-%m-%d %H:%M} UTC"
