"""Ranking metrics with binary relevance, per user and averaged.

    recall@k     hits in the first k / number of targets
    precision@k  hits in the first k / k
    ndcg@k       DCG@k / ideal DCG@k, gain 1, discount 1 / log2(rank + 1), the ideal cut at k
    mrr@k        1 / rank of the first hit within k, else 0
    hit_rate@k   1 if there is a hit in the first k

Averages are over users with at least one target; the number of users stands beside them.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from diffrec_core.data.histories import Histories
from diffrec_core.errors import DataError
from diffrec_core.evaluation.ranking import NO_ITEM, RankingTask, Score, rank_task

METRICS = ("recall", "precision", "ndcg", "mrr", "hit_rate")

PerUser = dict[str, NDArray[np.float64]]
"""Metric key, such as `recall@20`, to one value per evaluated user."""


def hits(top_items: NDArray[np.int64], targets: Histories) -> NDArray[np.bool_]:
    """Mark which recommended items are targets.

    Args:
        top_items: (U, k) item indices, best first, `NO_ITEM` for none.
        targets: U rows.

    Returns:
        (U, k) bool.
    """
    if len(top_items) != len(targets):
        raise DataError(f"{len(top_items)} rankings but {len(targets)} users with targets")
    span = 1 + max(int(top_items.max(initial=0)), int(targets.items.max(initial=0)))
    recommended = np.arange(len(top_items))[:, None] * span + top_items
    found = np.isin(recommended, targets.rows * span + targets.items)
    found &= top_items != NO_ITEM
    return found


def per_user_metrics(
    hit: NDArray[np.bool_], n_targets: NDArray[np.int64], cutoffs: Sequence[int]
) -> PerUser:
    """Compute every metric at every cutoff for every user.

    Args:
        hit: (U, K) which ranks hold a target, K at least the largest cutoff.
        n_targets: (U,) number of targets, each at least 1.
        cutoffs: the k of each metric.

    >>> m = per_user_metrics(np.array([[False, True]]), np.array([2]), [2])
    >>> {key: round(float(value[0]), 4) for key, value in m.items()}
    {'recall@2': 0.5, 'precision@2': 0.5, 'ndcg@2': 0.3869, 'mrr@2': 0.5, 'hit_rate@2': 1.0}
    """
    if hit.shape[1] < max(cutoffs):
        raise DataError(f"rankings of {hit.shape[1]} items cannot give metrics at {max(cutoffs)}")
    discount = 1.0 / np.log2(np.arange(2, hit.shape[1] + 2))
    ideal = np.concatenate([[0.0], np.cumsum(discount)])
    found, gain = np.cumsum(hit, axis=1), np.cumsum(hit * discount, axis=1)
    first = np.where(hit.any(axis=1), hit.argmax(axis=1) + 1, hit.shape[1] + 1)
    values: PerUser = {}
    for k in cutoffs:
        values[f"recall@{k}"] = found[:, k - 1] / n_targets
        values[f"precision@{k}"] = found[:, k - 1] / k
        values[f"ndcg@{k}"] = gain[:, k - 1] / ideal[np.minimum(n_targets, k)]
        values[f"mrr@{k}"] = np.where(first <= k, 1.0 / first, 0.0)
        values[f"hit_rate@{k}"] = (found[:, k - 1] > 0).astype(np.float64)
    return values


def mean_metrics(per_user: PerUser) -> dict[str, float]:
    """Average each metric over the users."""
    return {key: float(values.mean()) for key, values in per_user.items()}


def recall_at(score: Score, task: RankingTask, k: int = 20, *, batch_size: int = 1024) -> float:
    """Mean recall@k of a task: what early stopping watches."""
    top_items = rank_task(score, task, k, batch_size=batch_size)
    targets = task.targets.take(task.users)
    return float((hits(top_items, targets).sum(axis=1) / targets.lengths).mean())
