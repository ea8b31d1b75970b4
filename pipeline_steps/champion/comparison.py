"""The comparison behind the gate: versions from the registry, on a window that none has seen."""

import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from diffrec_core.contest.cases import (
    UnfairComparisonError,
    by_external_ids,
    cases,
    seen_by_external_ids,
    window,
)
from diffrec_core.contest.config import GateConfig
from diffrec_core.contest.decision import Decision, decide, keep
from diffrec_core.contest.guards import Quality
from diffrec_core.contest.measures import Measures, measure, most_popular, popularity_before
from diffrec_core.data.interactions import Interactions
from pipeline_steps.registry.scoring import Scored, score_versions
from pipeline_steps.registry.versions import Version


@dataclass(frozen=True, slots=True)
class Comparison:
    """The result of a comparison.

    Attributes:
        decision: promote or keep, and why.
        window: start, end, users and what set the start; None without a comparison.
        measures: the values that guards check, of `candidate`, `champion` and `popularity`.
    """

    decision: Decision
    window: Mapping[str, Any] | None = None
    measures: Mapping[str, Mapping[str, float | None]] = field(default_factory=dict)


def compare(
    interactions: Interactions,
    candidate: Version,
    champion: Version | None,
    config: GateConfig,
    *,
    quality: Quality,
    seed: int,
    seed_sd: float | None,
) -> Comparison:
    """Score candidate and champion on the same cases and decide.

    Where that would not be fair, or both are one version, the decision is to keep the champion.

    Args:
        interactions: all known ones.
        candidate: the newest version.
        champion: None where there is none.
        config: the section `gate`.
        quality: of the data.
        seed: of the run.
        seed_sd: of the metric, between the seeds of the candidate's run; None if there was one.

    Raises:
        ArtifactError: a version cannot be loaded, or does not say what it was trained on.
    """
    if champion is not None and champion.number == candidate.number:
        return Comparison(keep(f"version {champion.number} is champion already"))
    versions = {"candidate": candidate, **({"champion": champion} if champion else {})}
    facts = by_external_ids(interactions)
    try:
        span = window(facts, {role: version.training_end for role, version in versions.items()})
        asked = cases(facts, seen_by_external_ids(interactions), span, config, seed=seed)
        with tempfile.TemporaryDirectory(prefix="gate-") as folder:
            uris = [version.uri for version in versions.values()]
            by_uri = score_versions(asked, uris, config.k, Path(folder))
        scored = {role: by_uri[version.uri] for role, version in versions.items()}
        _check_training_ends(scored, span.start)
    except UnfairComparisonError as error:
        return Comparison(keep(f"no fair comparison is possible: {error}"))
    prior = popularity_before(facts, span)
    answers = {role: version.answers for role, version in scored.items()}
    answers["popularity"] = most_popular(asked, prior, config.k)
    measured = {role: measure(given, asked, prior, config) for role, given in answers.items()}
    compared = (measured["candidate"], measured.get("champion"), measured["popularity"])
    decision = decide(*compared, config, quality=quality, seed=seed, seed_sd=seed_sd)
    measures = {role: _guarded_values(values) for role, values in measured.items()}
    measures["popularity"]["served_share"] = None  # it uses nobody's history
    times = {"start": span.start.isoformat(), "end": span.end.isoformat()}
    return Comparison(decision, {**asdict(span), **times, "users": len(asked)}, measures)


def _check_training_ends(scored: Mapping[str, Scored], start: datetime) -> None:
    """Refuse models that have seen the window after all: a tag of the registry can be edited."""
    for role, version in scored.items():
        if version.training_last >= start:
            raise UnfairComparisonError(
                f"the {role} was trained on data up to {version.training_last}, by its own "
                f"model.json, which is later than its tag data_last says: the tag is wrong"
            )


def _guarded_values(measures: Measures) -> dict[str, float | None]:
    return {key: value for key, value in asdict(measures).items() if key != "per_user"}
