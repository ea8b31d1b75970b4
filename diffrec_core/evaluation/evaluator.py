"""Evaluation of one model on one task: ranking, metrics, slices and coverage."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, Self

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pydantic import Field

from diffrec_core.common.config import Config, PositiveTuple
from diffrec_core.common.errors import DataError
from diffrec_core.data.batches import batches
from diffrec_core.data.histories import Histories
from diffrec_core.data.schema import HIT, ITEM, RANK, USER
from diffrec_core.evaluation.beyond_accuracy import (
    catalogue_metrics,
    history_shares,
    item_counts,
    list_metrics,
)
from diffrec_core.evaluation.items import GROUPS, NO_ITEM, ItemFacts, PopularityGroupsConfig
from diffrec_core.evaluation.metrics import (
    ACCURACY,
    PerUser,
    hits,
    mean_metrics,
    per_user_metrics,
)
from diffrec_core.evaluation.ranking import RankingTask, Score, rank_task
from diffrec_core.evaluation.slices import Slice, group_slices, on_groups, user_slices


class EvaluationConfig(Config):
    """Section `evaluate` of params.yaml."""

    cutoffs: PositiveTuple = Field(default=(10, 20, 50), min_length=1)
    """The k of every metric."""

    batch_size: int = Field(default=1024, ge=1)
    """Users scored and measured at a time; does not change results."""

    average: Literal["with_targets", "all_users"] = "with_targets"
    """with_targets: over users with an interaction to predict; all_users: over all users, those
    without one counting as 0, as the DiffRec authors' code does."""

    popularity_groups: PopularityGroupsConfig = PopularityGroupsConfig()
    """Which items are head, torso and tail."""

    slice_bins: int = Field(default=4, ge=1)
    """Quantile bins of history length and of recency, at most."""


_AVERAGES = {
    "with_targets": "over users with at least one interaction to predict",
    "all_users": "over all users; those without an interaction to predict count as 0",
}


@dataclass(frozen=True, slots=True)
class Evaluation:
    """The result of one task.

    Attributes:
        metrics: mean of each metric, and `users`, the number averaged over.
        coverage: counts of users and targets, and of those without a history.
        per_user: see `evaluation.per_user`.
        slices: see `evaluation.slices`.
        popularity_groups: of head, torso and tail: number of items, and shares of the training
            interactions and, means over users, of histories and of recommendations.
        top_items: `user`, `rank`, `item`, `hit`; one row per user and rank.
    """

    metrics: dict[str, float]
    coverage: dict[str, int]
    per_user: pl.DataFrame
    slices: dict[str, list[Slice]]
    popularity_groups: dict[str, dict[str, float]]
    top_items: pl.DataFrame

    @property
    def summary(self) -> dict[str, Any]:
        """The result without its tables, for JSON."""
        return {
            **self.metrics,
            "coverage": self.coverage,
            "slices": self.slices,
            "popularity_groups": self.popularity_groups,
        }

    def without_items(self) -> Self:
        """The result without the recommended items, which take by far the most memory."""
        return replace(self, top_items=self.top_items.clear())


def evaluate_task(
    score: Score,
    task: RankingTask,
    config: EvaluationConfig,
    *,
    items: ItemFacts | None = None,
    on_batch: Callable[[int], None] | None = None,
) -> Evaluation:
    """Rank every item for every user with targets, and measure.

    Args:
        score: the model.
        task: histories to feed and targets to predict.
        config: cutoffs and averaging.
        items: the catalogue; without it, accuracy and slices of users alone.
        on_batch: called with the number of users ranked.

    Raises:
        DataError: no user has a target.
    """
    users, cutoffs, size = task.users, config.cutoffs, config.batch_size
    if len(users) == 0:
        raise DataError(f"{task.name}: no user has an interaction to predict")
    top_items = rank_task(score, task, max(cutoffs), batch_size=size, on_batch=on_batch)
    past, targets = task.histories.take(users), task.targets.take(users)
    measured = _measure(top_items, past, targets, items, config)
    averaged, accuracy = users, measured["accuracy"]
    if config.average == "all_users":
        averaged = np.arange(len(task.targets))
        accuracy = {key: _zeros_but(v, users, len(averaged)) for key, v in accuracy.items()}
    metrics = {"users": float(len(averaged)), **mean_metrics(accuracy)}
    slices = user_slices(task.histories, averaged, accuracy, config.slice_bins)
    groups: dict[str, dict[str, float]] = {}
    if items is not None:
        metrics |= _means_of_those_with_a_value(measured["lists"])
        metrics |= catalogue_metrics(item_counts(top_items, len(items), cutoffs), cutoffs)
        slices["target_popularity"] = group_slices({name: measured[name] for name in GROUPS})
        groups = _group_facts(metrics, past, items, config)
    return Evaluation(
        metrics=metrics,
        coverage=_coverage(task),
        per_user=pl.DataFrame({USER: averaged.astype(np.int32), **accuracy}),
        slices=slices,
        popularity_groups=groups,
        top_items=_top_items_frame(users, top_items, targets),
    )


def recall_at(score: Score, task: RankingTask, k: int = 20, *, batch_size: int = 1024) -> float:
    """Mean recall@k of a task: the metric of early stopping."""
    top_items = rank_task(score, task, k, batch_size=batch_size)
    targets = task.targets.take(task.users)
    return float(ACCURACY["recall"].compute(hits(top_items, targets), targets.lengths).mean())


def _measure(
    top_items: NDArray[np.int32],
    past: Histories,
    targets: Histories,
    items: ItemFacts | None,
    config: EvaluationConfig,
) -> dict[str, PerUser]:
    """Values per user: `accuracy`, `lists` and each popularity group; batches bound the memory."""
    parts = []
    for rows in batches(len(top_items), config.batch_size):
        top, wanted = top_items[rows], targets.take(rows)
        hit = hits(top, wanted)
        part = {"accuracy": per_user_metrics(hit, wanted.lengths, config.cutoffs)}
        if items is not None:
            part["lists"] = list_metrics(top, past.take(rows), items, config.cutoffs)
            part |= on_groups(top, hit, wanted, items, config.cutoffs)
        parts.append(part)
    return {
        name: {key: np.concatenate([part[name][key] for part in parts]) for key in values}
        for name, values in parts[0].items()
    }


def _zeros_but(values: NDArray[np.float64], rows: NDArray[np.int64], n: int) -> NDArray[np.float64]:
    spread = np.zeros(n)
    spread[rows] = values
    return spread


def _means_of_those_with_a_value(per_user: PerUser) -> dict[str, float]:
    """Mean of each metric over the users where it is not NaN; none where it is NaN for all."""
    valued = {key: values[~np.isnan(values)] for key, values in per_user.items()}
    return mean_metrics({key: values for key, values in valued.items() if len(values)})


def _group_facts(
    metrics: Mapping[str, float], past: Histories, items: ItemFacts, config: EvaluationConfig
) -> dict[str, dict[str, float]]:
    """Shares of each popularity group in recommendations and in the same users' histories."""
    shares = history_shares(past, items)
    shares = shares[~np.isnan(shares).any(axis=1)]
    facts: dict[str, dict[str, float]] = {}
    for number, name in enumerate(GROUPS):
        of_group = items.group == number
        facts[name] = {
            "items": float(of_group.sum()),
            "training_share": float(items.popularity[of_group].sum() / items.popularity.sum()),
            **({"history_share": float(shares[:, number].mean())} if len(shares) else {}),
            **{
                f"recommended_share@{k}": metrics[f"{name}_share@{k}"]
                for k in config.cutoffs
                if f"{name}_share@{k}" in metrics
            },
        }
    return facts


def _top_items_frame(
    users: NDArray[np.int64], top_items: NDArray[np.int32], targets: Histories
) -> pl.DataFrame:
    depth = top_items.shape[1]
    frame = pl.DataFrame(
        {
            USER: np.repeat(users.astype(np.int32), depth),
            RANK: np.tile(np.arange(1, depth + 1, dtype=np.int32), len(users)),
            ITEM: top_items.ravel(),
            HIT: hits(top_items, targets).ravel(),
        }
    )
    return frame.filter(pl.col(ITEM) != NO_ITEM)


def _coverage(task: RankingTask) -> dict[str, int]:
    """Count users and targets, and those without a history."""
    evaluated = task.histories.take(task.users)
    known = np.unique(task.histories.items)
    return {
        "users": len(task.users),
        "users_without_targets": len(task.targets) - len(task.users),
        "users_without_history": int((evaluated.lengths == 0).sum()),
        "targets": len(task.targets.items),
        "targets_on_new_items": int((~np.isin(task.targets.items, known)).sum()),
    }


def describe_protocol(config: EvaluationConfig) -> dict[str, Any]:
    """Describe the protocol in words, for reports."""
    bounds = config.popularity_groups
    return {
        "history": {"validation": "train", "test": "train and validation"},
        "masked": "what the user had seen before the part, in the history or not",
        "candidates": "all items of the vocabulary",
        "average": _AVERAGES[config.average],
        "recall_denominator": "number of interactions to predict",
        "map_denominator": "number of interactions to predict, or k if that is less",
        "ties": "the lower item index first",
        "cutoffs": list(config.cutoffs),
        "popularity": "share of the users with a training interaction who had the item there",
        "popularity_groups": f"head: the most popular items with {bounds.head_share:g} of the "
        f"training interactions; tail: the least popular with {bounds.tail_share:g}",
    }
