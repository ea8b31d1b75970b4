"""Ranking: every item is scored for every user, seen items are masked, the best k remain.

Ties are broken by the lower item index; results depend neither on the batch size nor on the device.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from diffrec_core.common.errors import DataError
from diffrec_core.data.batches import batches
from diffrec_core.data.histories import Histories
from diffrec_core.evaluation.items import NO_ITEM

Score = Callable[[Histories], Tensor]
"""(B histories) to (B, I) scores."""

_GROUP, _LEAST_GROUPS = 8, 3
"""Items in a group of `_largest`, and the fewest groups per wanted item for which it pays."""

_CELLS_AT_A_TIME = 2**22
"""Scores in rows with a tie that are compared at once; does not change results."""


@dataclass(frozen=True, slots=True)
class RankingTask:
    """Histories and the targets that came after them.

    Attributes:
        name: the part that is predicted, `validation` or `test`.
        histories: U rows, everything before the part.
        targets: U rows, the part itself; users without targets are not evaluated.
        excluded: U rows of items to mask besides those of the histories; None: none.
    """

    name: str
    histories: Histories
    targets: Histories
    excluded: Histories | None = None

    def __post_init__(self) -> None:
        """Check the numbers of rows.

        Raises:
            DataError: they differ.
        """
        if len(self.histories) != len(self.targets):
            raise DataError(
                f"{self.name}: {len(self.histories)} histories, {len(self.targets)} targets"
            )
        if self.excluded is not None and len(self.excluded) != len(self.targets):
            raise DataError(
                f"{self.name}: {len(self.excluded)} rows of excluded items, "
                f"{len(self.targets)} are needed"
            )

    @classmethod
    def of_unseen(
        cls, name: str, histories: Histories, targets: Histories, seen: Histories
    ) -> "RankingTask":
        """A task of items that are new to the users.

        Args:
            name: of the part.
            histories: everything before the part.
            targets: the part; what a user has seen before is no target, as it is not recommended.
            seen: U rows of items that were seen before the part.

        >>> lists = Histories.from_lists
        >>> task = RankingTask.of_unseen("test", lists([[1]]), lists([[2, 3]]), lists([[3, 4]]))
        >>> task.targets.items.tolist()
        [2]
        """
        n_items = 1 + max(targets.items.max(initial=0), seen.items.max(initial=0))
        wanted, known = (part.rows * n_items + part.items for part in (targets, seen))
        new = ~np.isin(wanted, known)
        return cls(name, histories, targets.where(new), seen)

    @property
    def users(self) -> NDArray[np.int64]:
        """Rows with at least one target."""
        return np.flatnonzero(self.targets.lengths > 0)


def top_k(scores: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Return the k best of each row, best first, ties by the lower index.

    Args:
        scores: (B, I); -inf marks excluded items.
        k: how many.

    Returns:
        indices: (B, k) int64, `NO_ITEM` where no item was left.
        values: (B, k) the scores, -inf there.

    >>> top_k(torch.tensor([[1.0, 3.0, 3.0, -torch.inf]]), 4)[0].tolist()
    [[1, 2, 0, -1]]
    """
    n_items = scores.shape[1]
    width = min(k, n_items)
    values, indices = _largest(scores, min(width + 1, n_items))
    if width < n_items:
        cut_in_tie = values[:, width] == values[:, width - 1]
        values, indices = values[:, :width].clone(), indices[:, :width].clone()
        tied = cut_in_tie.nonzero().squeeze(1)
        for rows in torch.split(tied, max(1, _CELLS_AT_A_TIME // n_items)):
            values[rows], indices[rows] = _cut_a_tie(scores[rows], values[rows, -1:], width)
    in_doubt = (values[:, 1:] >= values[:, :-1]).any(dim=1).nonzero().squeeze(1)
    indices[in_doubt], values[in_doubt] = _in_order(indices[in_doubt], values[in_doubt])
    indices = indices.masked_fill(values == -torch.inf, NO_ITEM)
    missing = k - width
    return (
        torch.nn.functional.pad(indices, (0, missing), value=NO_ITEM),
        torch.nn.functional.pad(values, (0, missing), value=-torch.inf),
    )


def _in_order(indices: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
    """Sort each row by value, the highest first, and by index where values are equal."""
    indices, by_index = indices.sort(dim=1)
    values, by_value = values.gather(1, by_index).sort(dim=1, descending=True, stable=True)
    return indices.gather(1, by_value), values


def _largest(scores: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """`torch.topk`, faster: at 60,000 items and k 50, half its time on one core (328 ms, 659 ms).

    Items are in groups, and each group's highest score is compared first: only the `count` groups
    with the highest of these can hold one of the `count` highest scores.
    """
    n_rows, n_items = scores.shape
    n_groups = n_items // _GROUP
    if n_groups < _LEAST_GROUPS * count:
        return torch.topk(scores, count, dim=1)
    in_groups = n_groups * _GROUP
    # item i is in group i mod n_groups, so that neighbours in memory are compared at once
    peaks = scores[:, :in_groups].view(n_rows, _GROUP, n_groups).amax(dim=1)
    groups = peaks.topk(count, dim=1, sorted=False).indices
    members = torch.arange(0, in_groups, n_groups, device=scores.device)
    left_over = torch.arange(in_groups, n_items, device=scores.device).expand(n_rows, -1)
    columns = torch.cat([(groups[:, None] + members[:, None]).flatten(1), left_over], dim=1)
    values, places = scores.gather(1, columns).topk(count, dim=1)
    return values, columns.gather(1, places)


def _cut_a_tie(scores: Tensor, cut: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Return the k best, by index, of rows in which more than k items reach the score `cut`.

    Counts instead of sorting: at 20,000 items that all tie, a sixth of the time of a stable sort.
    """
    above, level = scores > cut, scores == cut
    missing = k - above.sum(dim=1, keepdim=True)
    chosen = above | (level & (level.cumsum(dim=1, dtype=torch.int32) <= missing))
    indices = chosen.nonzero()[:, 1].view(-1, k)
    return scores.gather(1, indices), indices


@contextmanager
def masked(scores: Tensor, seen: Histories) -> Iterator[None]:
    """Set the scores of seen items, even of weight 0, to -inf, and restore them.

    The scores are the model's own; a copy would be a second batch in memory.
    """
    rows = torch.from_numpy(seen.rows).to(scores.device)
    items = torch.from_numpy(seen.items.astype(np.int64)).to(scores.device)
    before = scores[rows, items]
    scores[rows, items] = -torch.inf
    try:
        yield
    finally:
        scores[rows, items] = before


def rank(
    score: Score,
    histories: Histories,
    k: int,
    *,
    batch_size: int = 1024,
    exclude_seen: bool = True,
    excluded: Histories | None = None,
    on_batch: Callable[[int], None] | None = None,
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]]:
    """Rank all items for all histories, one batch in memory at a time.

    Args:
        score: the model.
        histories: to rank for.
        k: how many items.
        batch_size: of histories; does not change results.
        exclude_seen: mask the items of each history.
        excluded: further items to mask; None: none.
        on_batch: called with the number of histories done.

    Yields:
        rows (B,), item indices (B, k) with `NO_ITEM` for none, scores (B, k).

    Raises:
        DataError: a score is NaN.
    """
    for rows in batches(len(histories), batch_size):
        batch = histories.take(rows)
        scores = score(batch).contiguous()  # masking a row must not change another one
        if scores.amax().isnan():  # NaN if any score is, and needs no further memory
            raise DataError(
                "the model scores NaN: its training diverged or its weights are damaged"
            )
        with ExitStack() as masks:
            for seen in _masks(batch, rows, exclude_seen=exclude_seen, excluded=excluded):
                masks.enter_context(masked(scores, seen))
            items, values = top_k(scores, k)
        del scores  # before the next chunk is made
        if on_batch:
            on_batch(int(rows[-1]) + 1)
        yield rows, items.cpu().numpy(), values.cpu().numpy()


def _masks(
    batch: Histories,
    rows: NDArray[np.int64],
    *,
    exclude_seen: bool,
    excluded: Histories | None,
) -> list[Histories]:
    own = [batch] if exclude_seen else []
    return own if excluded is None else [*own, excluded.take(rows)]


def rank_task(
    score: Score,
    task: RankingTask,
    k: int,
    *,
    batch_size: int = 1024,
    on_batch: Callable[[int], None] | None = None,
) -> NDArray[np.int32]:
    """Rank for the users that have targets: (U', k) items, row j for user `task.users[j]`."""
    users = task.users
    ranked = rank(
        score,
        task.histories.take(users),
        k,
        batch_size=batch_size,
        excluded=None if task.excluded is None else task.excluded.take(users),
        on_batch=on_batch,
    )
    parts = [items.astype(np.int32) for _, items, _ in ranked]
    return np.concatenate(parts) if parts else np.empty((0, k), dtype=np.int32)
