"""Ranking: every item is scored for every user, seen items are masked, the best k remain.

Ties are broken by item index, the lower one first; results depend neither on the batch size nor
on the device's sorting.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from diffrec_core.data.batches import batches
from diffrec_core.data.histories import Histories
from diffrec_core.errors import DataError

Score = Callable[[Histories], Tensor]
"""(B histories) to (B, I) scores."""

NO_ITEM = -1
"""Stands where fewer than k unseen items exist."""


@dataclass(frozen=True, slots=True)
class RankingTask:
    """Histories to feed, and what came after them.

    Attributes:
        name: the part that is predicted, `validation` or `test`.
        histories: U rows, everything before the part.
        targets: U rows, the part itself; users without targets are not evaluated.
    """

    name: str
    histories: Histories
    targets: Histories

    def __post_init__(self) -> None:
        """Check that both are about the same users.

        Raises:
            DataError: they differ in number.
        """
        if len(self.histories) != len(self.targets):
            raise DataError(
                f"{self.name}: {len(self.histories)} histories, {len(self.targets)} targets"
            )

    @property
    def users(self) -> NDArray[np.int64]:
        """Rows with at least one target."""
        return np.flatnonzero(self.targets.lengths > 0)


def top_k(scores: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Return the k best of each row, best first, ties by the lower index.

    Args:
        scores: (B, I); -inf marks what must not be returned.
        k: how many; fewer are real where fewer scores are finite.

    Returns:
        indices: (B, k) int64, `NO_ITEM` where there was nothing left.
        values: (B, k) the scores, -inf there.

    >>> top_k(torch.tensor([[1.0, 3.0, 3.0, -torch.inf]]), 4)[0].tolist()
    [[1, 2, 0, -1]]
    """
    n_items = scores.shape[1]
    width = min(k, n_items)
    values, indices = torch.topk(scores, min(width + 1, n_items), dim=1)
    if width < n_items:
        cut_in_tie = values[:, width] == values[:, width - 1]
        values, indices = values[:, :width].clone(), indices[:, :width].clone()
        if cut_in_tie.any():
            rows = cut_in_tie.nonzero().squeeze(1)
            values[rows], indices[rows] = _exact_top_k(scores[rows], width)
    indices, by_index = indices.sort(dim=1)
    values, by_value = values.gather(1, by_index).sort(dim=1, descending=True, stable=True)
    indices = indices.gather(1, by_value).masked_fill(values == -torch.inf, NO_ITEM)
    missing = k - width
    return (
        torch.nn.functional.pad(indices, (0, missing), value=NO_ITEM),
        torch.nn.functional.pad(values, (0, missing), value=-torch.inf),
    )


def _exact_top_k(scores: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Rank rows whose k-th and next score are equal: a stable sort keeps the lower index."""
    values, indices = scores.sort(dim=1, descending=True, stable=True)
    return values[:, :k], indices[:, :k]


def mask_seen(scores: Tensor, seen: Histories) -> Tensor:
    """Set the scores of each row's seen items to -inf, in place.

    What is seen is a matter of the interaction set, never of weights, which may be zero.
    """
    rows = torch.from_numpy(seen.rows).to(scores.device)
    items = torch.from_numpy(seen.items.astype(np.int64)).to(scores.device)
    scores[rows, items] = -torch.inf
    return scores


def rank(
    score: Score,
    histories: Histories,
    k: int,
    *,
    batch_size: int = 1024,
    exclude_seen: bool = True,
    on_batch: Callable[[int], None] | None = None,
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]]:
    """Rank all items for all histories, one batch in memory at a time.

    Yields:
        rows (B,), item indices (B, k) with `NO_ITEM` for none, scores (B, k).

    Raises:
        DataError: a score is NaN.
    """
    for rows in batches(len(histories), batch_size):
        batch = histories.take(rows)
        scores = score(batch)
        if scores.isnan().any():
            raise DataError(
                "the model scores NaN: its training diverged or its weights are damaged"
            )
        if exclude_seen:
            scores = mask_seen(scores.clone(), batch)
        items, values = top_k(scores, k)
        if on_batch:
            on_batch(int(rows[-1]) + 1)
        yield rows, items.cpu().numpy(), values.cpu().numpy()


def rank_task(
    score: Score,
    task: RankingTask,
    k: int,
    *,
    batch_size: int = 1024,
    on_batch: Callable[[int], None] | None = None,
) -> NDArray[np.int64]:
    """Rank for the users that have targets.

    Returns:
        (U', k) item indices, row j for user `task.users[j]`.
    """
    ranked = rank(
        score, task.histories.take(task.users), k, batch_size=batch_size, on_batch=on_batch
    )
    parts = [items for _, items, _ in ranked]
    return np.concatenate(parts) if parts else np.empty((0, k), dtype=np.int64)
