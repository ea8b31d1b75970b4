"""The decision from the measures: promote the candidate or keep the champion, with the reason."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from diffrec_core.common.errors import DataError
from diffrec_core.common.rng import derive_seed
from diffrec_core.contest.config import GateConfig
from diffrec_core.contest.guards import Guard, Quality, check_guards, check_seeds
from diffrec_core.contest.measures import Measures
from diffrec_core.evaluation.significance import Floats, bootstrap_means


@dataclass(frozen=True, slots=True)
class Decision:
    """A decision, its reason in words, and the numbers and guards of the comparison, if any."""

    promote: bool
    reason: str
    numbers: Mapping[str, Any]
    guards: tuple[Guard, ...] = ()


def keep(reason: str) -> Decision:
    """Keep the champion, if there is one, without a comparison."""
    return Decision(promote=False, reason=reason, numbers={})


def decide(
    candidate: Measures,
    champion: Measures | None,
    popularity: Measures,
    config: GateConfig,
    *,
    quality: Quality,
    seed: int,
    seed_sd: float | None = None,
) -> Decision:
    """Promote the candidate if its lower bound is above the margin and it keeps all guards.

    Without a champion, the candidate has to beat the most popular items by the same rule.

    Args:
        candidate: measured on the same cases as the others.
        champion: None where there is none.
        popularity: of the answers of `most_popular`.
        config: metric, margin, level and guards.
        quality: of the data.
        seed: of the bootstrap.
        seed_sd: see `check_seeds`.

    Raises:
        DataError: they were measured on different numbers of users.
    """
    rival, name = (popularity, "popularity") if champion is None else (champion, "champion")
    if len({len(measures.per_user) for measures in (candidate, rival, popularity)}) > 1:
        raise DataError("candidate and rival were measured on different users")
    numbers = {
        "metric": config.metric,
        "users": len(candidate.per_user),
        "against": name,
        "candidate": float(candidate.per_user.mean()),
        "champion": None if champion is None else float(champion.per_user.mean()),
        "popularity": float(popularity.per_user.mean()),
        **_difference(candidate.per_user - rival.per_user, config, seed),
    }
    guards = (
        *check_guards(candidate, champion, quality, config.guards),
        *check_seeds(numbers["difference"], seed_sd, config.guards),
    )
    is_better = numbers["lower_bound"] > config.margin
    is_kept = all(guard.kept for guard in guards)
    reason = _reason(numbers, guards, is_better=is_better)
    return Decision(is_better and is_kept, reason, numbers, guards)


def _difference(differences: Floats, config: GateConfig, seed: int) -> dict[str, Any]:
    """The mean over users, and its lower confidence bound."""
    means = bootstrap_means(
        differences[:, None], resamples=config.resamples, seed=derive_seed(seed, "gate")
    )
    return {
        "difference": float(differences.mean()),
        "lower_bound": float(np.quantile(means, 1.0 - config.confidence_level)),
        "margin": config.margin,
        "confidence_level": config.confidence_level,
        "resamples": config.resamples,
    }


def _reason(numbers: Mapping[str, Any], guards: Sequence[Guard], *, is_better: bool) -> str:
    rival = numbers["against"]
    whose = "the champion's" if rival == "champion" else "that of popularity"
    compared = (
        f"{numbers['metric']} {numbers['candidate']:.4f} against {whose} {numbers[rival]:.4f} on "
        f"{numbers['users']} users: with {100 * numbers['confidence_level']:.4g} % confidence the "
        f"difference is at least {numbers['lower_bound']:+.4f}, "
        f"{'' if is_better else 'not '}above the margin {numbers['margin']:g}"
    )
    broken = [str(guard) for guard in guards if not guard.kept]
    if broken:
        return f"{compared}; guards broken: {'; '.join(broken)}"
    return f"{compared}; all {len(guards)} guards are kept"
