"""Ranking metrics with binary relevance, per user and averaged.

    recall@k     hits in the first k / number of targets
    precision@k  hits in the first k / k
    ndcg@k       DCG@k / ideal DCG@k, gain 1, discount 1 / log2(rank + 1), the ideal cut at k
    map@k        average precision: the precision at the rank of each hit within k, added up,
                 / min(number of targets, k), so that a perfect ranking has 1
    mrr@k        1 / rank of the first hit within k, else 0
    hit_rate@k   1 if there is a hit in the first k

Whom a mean is over is the evaluator's to say; the number of users stands beside it.
"""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from diffrec_core.common.errors import DataError
from diffrec_core.data.histories import Histories
from diffrec_core.evaluation.ranking import RankingTask, Score, rank_task

METRICS = ("recall", "precision", "ndcg", "map", "mrr", "hit_rate")

_CELLS_AT_A_TIME = 2**22
"""Of the table that hits are looked up in, a byte each: what fits into the cache of a CPU."""

PerUser = dict[str, NDArray[np.float64]]
"""Metric key, such as `recall@20`, to one value per evaluated user."""


def hits(
    top_items: NDArray[np.integer], targets: Histories, *, cells_at_a_time: int = _CELLS_AT_A_TIME
) -> NDArray[np.bool_]:
    """Mark which recommended items are targets.

    A table of users by items is ticked and looked up, some users at a time: no sorting.

    Args:
        top_items: (U, k) item indices, best first, `NO_ITEM` for none.
        targets: U rows.
        cells_at_a_time: size of that table; does not change results.

    Returns:
        (U, k) bool.
    """
    if len(top_items) != len(targets):
        raise DataError(f"{len(top_items)} rankings but {len(targets)} users with targets")
    # one column more than items: NO_ITEM, -1, looks up the last one, which nobody ticks
    width = 2 + max(int(top_items.max(initial=0)), int(targets.items.max(initial=0)))
    rows = max(1, min(cells_at_a_time // width, len(top_items)))
    wanted = np.zeros((rows, width), dtype=np.bool_)
    found = np.empty(top_items.shape, dtype=np.bool_)
    user_of = targets.rows
    for start in range(0, len(top_items), rows):
        end = min(start + rows, len(top_items))
        entries = slice(targets.offsets[start], targets.offsets[end])
        ticked = user_of[entries] - start, targets.items[entries]
        wanted[ticked] = True
        found[start:end] = wanted[np.arange(end - start)[:, None], top_items[start:end]]
        wanted[ticked] = False
    return found


def per_user_metrics(
    hit: NDArray[np.bool_],
    n_targets: NDArray[np.int64],
    cutoffs: Sequence[int],
    names: Sequence[str] = METRICS,
) -> PerUser:
    """Compute metrics at every cutoff for every user.

    Args:
        hit: (U, K) which ranks hold a target, K at least the largest cutoff.
        n_targets: (U,) number of targets, each at least 1.
        cutoffs: the k of each metric.
        names: which of METRICS.

    >>> m = per_user_metrics(np.array([[False, True]]), np.array([2]), [2])
    >>> {key: round(float(value[0]), 4) for key, value in m.items() if key != "hit_rate@2"}
    {'recall@2': 0.5, 'precision@2': 0.5, 'ndcg@2': 0.3869, 'map@2': 0.25, 'mrr@2': 0.5}
    """
    if hit.shape[1] < max(cutoffs):
        raise DataError(f"rankings of {hit.shape[1]} items cannot give metrics at {max(cutoffs)}")
    rank = np.arange(1, hit.shape[1] + 1)
    discount = 1.0 / np.log2(rank + 1)
    ideal = np.concatenate([[0.0], np.cumsum(discount)])
    found = np.cumsum(hit, axis=1)
    gain, precision = np.cumsum(hit * discount, axis=1), np.cumsum(hit * (found / rank), axis=1)
    first = np.where(hit.any(axis=1), hit.argmax(axis=1) + 1, hit.shape[1] + 1)
    at: dict[str, Callable[[int], NDArray[np.float64]]] = {
        "recall": lambda k: found[:, k - 1] / n_targets,
        "precision": lambda k: found[:, k - 1] / k,
        "ndcg": lambda k: gain[:, k - 1] / ideal[np.minimum(n_targets, k)],
        "map": lambda k: precision[:, k - 1] / np.minimum(n_targets, k),
        "mrr": lambda k: np.where(first <= k, 1.0 / first, 0.0),
        "hit_rate": lambda k: (found[:, k - 1] > 0).astype(np.float64),
    }
    return {f"{name}@{k}": at[name](k) for k in cutoffs for name in names}


def mean_metrics(per_user: PerUser) -> dict[str, float]:
    """Average each metric over the users."""
    return {key: float(values.mean()) for key, values in per_user.items()}


def recall_at(score: Score, task: RankingTask, k: int = 20, *, batch_size: int = 1024) -> float:
    """Mean recall@k of a task: what early stopping watches."""
    top_items = rank_task(score, task, k, batch_size=batch_size)
    targets = task.targets.take(task.users)
    return float((hits(top_items, targets).sum(axis=1) / targets.lengths).mean())
