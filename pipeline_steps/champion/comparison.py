"""The comparison behind the gate: versions from the registry, on a window that none has seen."""

import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import polars as pl

from diffrec_core.contest.cases import (
    UnfairComparisonError,
    Window,
    by_external_ids,
    cases,
    window,
)
from diffrec_core.contest.config import GateConfig
from diffrec_core.contest.decision import Decision, decide, keep
from diffrec_core.contest.guards import Quality
from diffrec_core.contest.measures import (
    Answers,
    Measures,
    measure,
    most_popular,
    popularity_before,
)
from diffrec_core.data.interactions import Interactions
from pipeline_steps.registry.scoring import Scored, score_versions
from pipeline_steps.registry.versions import Version

log = logging.getLogger("pipeline")


@dataclass(frozen=True, slots=True)
class Comparison:
    """What the gate found.

    Attributes:
        decision: what to do, and why.
        window: start, end, users and what set the start; None without a comparison.
        measures: what guards look at, by `candidate`, `champion` and `popularity`.
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
    folder: Path,
) -> Comparison:
    """Score candidate and champion on the same cases and decide.

    Where that would not be fair, the decision is to keep what there is, and says why.

    Args:
        interactions: all that is known.
        candidate: the version in question.
        champion: None where there is none.
        config: the section `gate`.
        quality: of the data.
        seed: of the run.
        seed_sd: of the metric, between the seeds of the candidate's run; None if there was one.
        folder: for files between the processes.

    Raises:
        ArtifactError: a version cannot be loaded, or does not say what it was trained on.
    """
    versions = {"candidate": candidate, **({"champion": champion} if champion else {})}
    facts = by_external_ids(interactions)
    try:
        span = window(facts, {role: version.training_end for role, version in versions.items()})
        asked = cases(facts, span, config, seed=seed)
        uris = [version.uri for version in versions.values()]
        scored = score_versions(asked, uris, config.k, folder)
        _check_training_ends({role: scored[v.uri] for role, v in versions.items()}, span.start)
    except UnfairComparisonError as error:
        return Comparison(keep(f"no fair comparison is possible: {error}"))
    prior = popularity_before(facts, span)
    answers = {role: _answers(scored[version.uri]) for role, version in versions.items()}
    answers["popularity"] = most_popular(asked, prior, config.k)
    found = {role: measure(given, asked, prior, config) for role, given in answers.items()}
    compared = (found["candidate"], found.get("champion"), found["popularity"])
    decision = decide(*compared, config, quality=quality, seed=seed, seed_sd=seed_sd)
    measures = {role: _guarded_values(measured) for role, measured in found.items()}
    measures["popularity"]["served_share"] = None  # it looks at nobody's history
    return Comparison(decision, _described(span, asked), measures)


def _check_training_ends(scored: Mapping[str, Scored], start: datetime) -> None:
    """Refuse models that have seen the window after all: a tag of the registry can be edited."""
    for role, found in scored.items():
        if found.training_last >= start:
            raise UnfairComparisonError(
                f"the {role} was trained on data up to {found.training_last}, by its own "
                f"model.json, which is later than its tag data_last says: the tag is wrong"
            )


def _answers(scored: Scored) -> Answers:
    return Answers(scored.item_ids, scored.sources, scored.seconds_per_user, scored.size_bytes)


def _guarded_values(measures: Measures) -> dict[str, float | None]:
    return {
        "coverage": measures.coverage,
        "served_share": measures.served_share,
        "popularity": measures.popularity,
        "latency_ms": measures.latency_ms,
        "size_mib": measures.size_mib,
    }


def _described(span: Window, asked: pl.DataFrame) -> dict[str, Any]:
    times = {"start": span.start.isoformat(), "end": span.end.isoformat()}
    return {**asdict(span), **times, "users": len(asked)}
