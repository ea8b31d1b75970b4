"""Evaluation of one model on one task: ranking, metrics, and the facts that a report shows."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, Self

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pydantic import Field

from diffrec_core.common.config import Config, PositiveTuple
from diffrec_core.common.errors import DataError
from diffrec_core.data.histories import Histories
from diffrec_core.data.schema import HIT, ITEM, RANK, USER
from diffrec_core.evaluation.beyond_accuracy import catalogue_metrics, history_shares
from diffrec_core.evaluation.items import GROUPS, NO_ITEM, ItemFacts, PopularityGroupsConfig
from diffrec_core.evaluation.measuring import Measurements, measure_users
from diffrec_core.evaluation.metrics import PerUser, mean_metrics
from diffrec_core.evaluation.per_user import per_user_frame
from diffrec_core.evaluation.ranking import RankingTask, Score
from diffrec_core.evaluation.slices import Slice, group_slices, user_slices


class EvaluationConfig(Config):
    """Section `evaluate` of params.yaml."""

    cutoffs: PositiveTuple = Field(default=(10, 20, 50), min_length=1)
    """The k of every metric."""

    batch_size: int = Field(default=1024, ge=1)
    """Users scored at a time; does not change results."""

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
        coverage: counts of users and targets, and of those that the histories do not know.
        per_user: `user` and a column of values for each accuracy metric.
        slices: recall and NDCG of slices of users and targets, see `evaluation.slices`.
        popularity_groups: of head, torso and tail: number of items, and shares of histories and
            of recommendations at each cutoff, means over users.
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

    One pass in chunks of users, of which values and top items are kept. Results do not depend on
    the size of the chunks.

    Args:
        score: the model.
        task: histories to feed and targets to predict.
        config: cutoffs and averaging.
        items: the catalogue; without it, accuracy and slices of users alone.
        on_batch: called with the number of users done.

    Raises:
        DataError: no user has a target.
    """
    users = task.users
    if len(users) == 0:
        raise DataError(f"{task.name}: no user has an interaction to predict")
    measured = measure_users(
        score, task, config.cutoffs, batch_size=config.batch_size, items=items, on_batch=on_batch
    )
    averaged, accuracy = _averaged_over(task, measured.of("accuracy"), config)
    metrics = {"users": float(len(averaged)), **mean_metrics(accuracy)}
    slices = user_slices(task.histories, averaged, accuracy, config.slice_bins)
    groups: dict[str, dict[str, float]] = {}
    if items is not None and measured.item_counts is not None:
        metrics |= _means_of_those_with_a_value(measured.of("lists"))
        metrics |= catalogue_metrics(measured.item_counts, config.cutoffs)
        slices["target_popularity"] = group_slices({name: measured.of(name) for name in GROUPS})
        groups = _group_facts(metrics, task.histories.take(users), items, config.cutoffs)
    return Evaluation(
        metrics=metrics,
        coverage=_coverage(task),
        per_user=per_user_frame(averaged, accuracy),
        slices=slices,
        popularity_groups=groups,
        top_items=_top_items_frame(users, measured),
    )


def _averaged_over(
    task: RankingTask, accuracy: PerUser, config: EvaluationConfig
) -> tuple[NDArray[np.int64], PerUser]:
    """Users that means are over, and their values; with `all_users`, 0 without targets."""
    users = task.users
    if config.average == "with_targets":
        return users, accuracy
    spread: PerUser = {}
    for key, values in accuracy.items():
        spread[key] = np.zeros(len(task.targets))
        spread[key][users] = values
    return np.arange(len(task.targets)), spread


def _means_of_those_with_a_value(per_user: PerUser) -> dict[str, float]:
    """Mean of each metric over the users where it is not NaN; none where it is NaN for all."""
    valued = {key: values[~np.isnan(values)] for key, values in per_user.items()}
    return mean_metrics({key: values for key, values in valued.items() if len(values)})


def _group_facts(
    metrics: Mapping[str, float], past: Histories, items: ItemFacts, cutoffs: Sequence[int]
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
                for k in cutoffs
                if f"{name}_share@{k}" in metrics
            },
        }
    return facts


def _top_items_frame(users: NDArray[np.int64], measured: Measurements) -> pl.DataFrame:
    top_items, hit = np.concatenate(measured.top_items), np.concatenate(measured.hit)
    depth = top_items.shape[1]
    frame = pl.DataFrame(
        {
            USER: np.repeat(users.astype(np.int32), depth),
            RANK: np.tile(np.arange(1, depth + 1, dtype=np.int32), len(users)),
            ITEM: top_items.ravel(),
            HIT: hit.ravel(),
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
        "masked": "the items of the history",
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
