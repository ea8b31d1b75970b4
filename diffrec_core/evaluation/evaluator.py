"""One model, one task: rank, measure, and keep what a report wants to show."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from pydantic import Field

from diffrec_core.config import Config, PositiveTuple
from diffrec_core.data.schema import HIT, ITEM, RANK, USER
from diffrec_core.errors import DataError
from diffrec_core.evaluation.metrics import hits, mean_metrics, per_user_metrics
from diffrec_core.evaluation.ranking import NO_ITEM, RankingTask, Score, rank_task


class EvaluationConfig(Config):
    """What is measured."""

    cutoffs: PositiveTuple = Field(default=(10, 20, 50), min_length=1)
    """The k of every metric."""

    batch_size: int = Field(default=1024, ge=1)
    """Users scored at a time; does not change results."""


@dataclass(frozen=True, slots=True)
class Evaluation:
    """The result of one task.

    Attributes:
        metrics: mean of each metric, and `users`, the number averaged over.
        coverage: facts about whom and what the mean is over.
        top_items: one row per user and rank, with whether it was a hit.
    """

    metrics: dict[str, float]
    coverage: dict[str, int]
    top_items: pl.DataFrame


def evaluate_task(
    score: Score,
    task: RankingTask,
    config: EvaluationConfig,
    *,
    on_batch: Callable[[int], None] | None = None,
) -> Evaluation:
    """Rank every item for every user with targets, and measure.

    Raises:
        DataError: no user has a target.
    """
    users = task.users
    if len(users) == 0:
        raise DataError(f"{task.name}: no user has an interaction to predict")
    depth = max(config.cutoffs)
    top = rank_task(score, task, depth, batch_size=config.batch_size, on_batch=on_batch)
    targets = task.targets.take(users)
    hit = hits(top, targets)
    per_user = per_user_metrics(hit, targets.lengths, config.cutoffs)
    metrics = {"users": float(len(users)), **mean_metrics(per_user)}
    frame = pl.DataFrame(
        {
            USER: np.repeat(users, depth).astype(np.int32),
            RANK: np.tile(np.arange(1, depth + 1, dtype=np.int32), len(users)),
            ITEM: top.ravel().astype(np.int32),
            HIT: hit.ravel(),
        }
    )
    return Evaluation(metrics, _coverage(task), frame.filter(pl.col(ITEM) != NO_ITEM))


def _coverage(task: RankingTask) -> dict[str, int]:
    """Count users and targets that the histories know nothing of."""
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
    """Say in words what the numbers mean; stands beside them in every report."""
    return {
        "history": {"validation": "train", "test": "train and validation"},
        "masked": "the items of the history",
        "candidates": "all items of the vocabulary",
        "average": "over users with at least one interaction to predict",
        "recall_denominator": "number of interactions to predict",
        "ties": "the lower item index first",
        "cutoffs": list(config.cutoffs),
    }
