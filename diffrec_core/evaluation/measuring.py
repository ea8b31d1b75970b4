"""The one pass over the users: a chunk is scored, ranked, measured, and forgotten but for that.

No more than one chunk of scores is in memory. Results do not depend on the size of the chunks:
what is measured of a user is measured of that user alone, and counts of items are whole numbers.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from diffrec_core.evaluation.beyond_accuracy import item_counts, list_metrics
from diffrec_core.evaluation.items import ItemFacts
from diffrec_core.evaluation.metrics import PerUser, hits, per_user_metrics
from diffrec_core.evaluation.ranking import RankingTask, Score, rank
from diffrec_core.evaluation.slices import on_groups


@dataclass(slots=True)
class Measured:
    """What the pass collects.

    Attributes:
        per_user: chunks of tables, by what these are about: `accuracy`, `lists` (beyond accuracy),
            and each popularity group.
        item_counts: (len(cutoffs), I) how often each item was recommended; None if not counted.
        top_items: chunks of (U, K) item indices.
        hit: likewise, whether they are targets.
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
        """All users' values of one table; none if it was not measured."""
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
) -> Measured:
    """Rank all items for every user that has targets, and measure.

    Args:
        score: the model.
        task: what is fed, what is to be predicted.
        cutoffs: the k of each metric.
        batch_size: users in a chunk.
        items: the catalogue; without it, accuracy alone.
        on_batch: is told how many users are done.
    """
    histories, targets = task.histories.take(task.users), task.targets.take(task.users)
    measured = Measured()
    barred = None if task.barred is None else task.barred.take(task.users)
    ranked = rank(
        score, histories, max(cutoffs), batch_size=batch_size, barred=barred, on_batch=on_batch
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
