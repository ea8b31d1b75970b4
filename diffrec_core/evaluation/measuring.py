"""One pass over the users: a chunk is scored, ranked, measured, and its scores are dropped.

At most one chunk of scores is in memory. Results do not depend on the size of the chunks: values
are those of one user each, and counts of items are whole numbers.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from diffrec_core.evaluation.beyond_accuracy import item_counts, list_metrics
from diffrec_core.evaluation.items import ItemFacts
from diffrec_core.evaluation.metrics import ACCURACY, PerUser, hits, per_user_metrics
from diffrec_core.evaluation.ranking import RankingTask, Score, rank, rank_task
from diffrec_core.evaluation.slices import on_groups


@dataclass(slots=True)
class Measurements:
    """Results of the pass, in chunks of users.

    Attributes:
        per_user: chunks of tables, by subject: `accuracy`, `lists` (beyond accuracy), and each
            popularity group.
        item_counts: (len(cutoffs), I) how often each item was recommended; None if not counted.
        top_items: chunks of (U, K) item indices.
        hit: chunks of (U, K), which of them are targets.
    """

    per_user: dict[str, list[PerUser]] = field(default_factory=dict)
    item_counts: NDArray[np.int64] | None = None
    top_items: list[NDArray[np.int32]] = field(default_factory=list)
    hit: list[NDArray[np.bool_]] = field(default_factory=list)

    def add(self, values: Mapping[str, PerUser]) -> None:
        """Append a chunk of users."""
        for name, chunk in values.items():
            self.per_user.setdefault(name, []).append(chunk)

    def count(self, counts: NDArray[np.int64]) -> None:
        """Add a chunk's counts of items."""
        self.item_counts = counts if self.item_counts is None else self.item_counts + counts

    def of(self, name: str) -> PerUser:
        """Values of all users of one table; empty if it was not measured."""
        chunks = self.per_user.get(name, [])
        keys = chunks[0] if chunks else {}
        return {key: np.concatenate([chunk[key] for chunk in chunks]) for key in keys}


def measure_users(
    score: Score,
    task: RankingTask,
    cutoffs: Sequence[int],
    *,
    batch_size: int,
    items: ItemFacts | None = None,
    on_batch: Callable[[int], None] | None = None,
) -> Measurements:
    """Rank all items for every user that has targets, and measure.

    Args:
        score: the model.
        task: histories to feed and targets to predict.
        cutoffs: the k of each metric.
        batch_size: users in a chunk.
        items: the catalogue; without it, accuracy alone.
        on_batch: called with the number of users done.
    """
    histories, targets = task.histories.take(task.users), task.targets.take(task.users)
    measured = Measurements()
    excluded = None if task.excluded is None else task.excluded.take(task.users)
    ranked = rank(
        score, histories, max(cutoffs), batch_size=batch_size, excluded=excluded, on_batch=on_batch
    )
    for rows, top_items, _ in ranked:
        wanted = targets.take(rows)
        hit = hits(top_items, wanted)
        measured.add({"accuracy": per_user_metrics(hit, wanted.lengths, cutoffs)})
        measured.top_items.append(top_items.astype(np.int32))
        measured.hit.append(hit)
        if items is not None:
            past = histories.take(rows)
            measured.add({"lists": list_metrics(top_items, past, items, cutoffs)})
            measured.add(on_groups(top_items, hit, wanted, items, cutoffs))
            measured.count(item_counts(top_items, len(items), cutoffs))
    return measured


def recall_at(score: Score, task: RankingTask, k: int = 20, *, batch_size: int = 1024) -> float:
    """Mean recall@k of a task: the metric of early stopping."""
    top_items = rank_task(score, task, k, batch_size=batch_size)
    targets = task.targets.take(task.users)
    return float(ACCURACY["recall"].compute(hits(top_items, targets), targets.lengths).mean())
