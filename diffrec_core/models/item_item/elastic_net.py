"""Non-negative elastic nets, one per item, by coordinate descent for many items at a time.

For item j, with x_j its column of the user-item matrix X and G = XᵀX, the weights w (I,) minimise

    ½‖x_j - X w‖² + ½ l2 ‖w‖² + l1 ‖w‖₁   over w ≥ 0 with w_j = 0.

Only G is needed. With the slack s = G_j - G w - l2 w - l1, w is the optimum if and only if s_i = 0
where w_i > 0, and s_i ≤ 0 where w_i = 0 (Karush, Kuhn and Tucker). No entry of G is negative, so
items that fewer than l1 users had together with j never get a weight.

Few items do, so each problem is solved on a few candidates; then the slack of all items is looked
at, and those that are above 0 become candidates, until there are none: the optimum over all items,
without a dense matrix of all pairs. Sources: Friedman, Hastie & Tibshirani, "Regularization Paths
for Generalized Linear Models via Coordinate Descent", J. Stat. Software 33(1), 2010, eq. 5 with
covariance updates (section 2.2) and active sets (section 2.6).
"""

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from torch import Tensor

from diffrec_core.models.item_item.neighbours import item_blocks

log = logging.getLogger(__name__)

_BLOCK_ITEMS, _BLOCK_ENTRIES = 256, 1 << 24
"""Items whose slack is looked at together, and entries of their rows over all items."""
_GRAM_ENTRIES, _UNION_ITEMS = 1 << 23, 4096
"""Entries of the small Gram matrices, one per item, that are laid out at a time, and how many
items all of these have between them. None of the four changes results."""
_FIRST_CANDIDATES, _MORE_CANDIDATES = 64, 32
_MAX_ROUNDS, _MAX_SWEEPS = 50, 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class ElasticNet:
    """The problem that is solved for every item.

    Attributes:
        l1: weight of ‖w‖₁, in users: what fewer have in common counts nothing.
        l2: weight of ½‖w‖².
        tolerance: the largest slack that counts as 0, as a share of the item's largest G_ij.
    """

    l1: float
    l2: float
    tolerance: float = 1e-4


def solve(
    gram_II: sparse.csr_matrix,
    problem: ElasticNet,
    device: torch.device,
    advance: Callable[[int], None],
) -> sparse.csr_matrix:
    """Solve the problem of every item.

    Args:
        gram_II: G, users who had both items of a pair, their number on the diagonal.
        problem: what is minimised.
        device: where coordinate descent runs.
        advance: told the number of items done.

    Returns:
        (I, I) float32; row j holds the weights w of item j.
    """
    n_items, parts = gram_II.shape[0], []
    for items in item_blocks(n_items, entries=min(_BLOCK_ENTRIES, _BLOCK_ITEMS * n_items)):
        targets = np.arange(items.start, items.stop)
        parts.append(_Block(gram_II, targets, problem, device).solve().astype(np.float32))
        advance(items.stop)
    return sparse.vstack(parts, format="csr")


class _Block:
    """The problems of B items, the targets, over all items."""

    def __init__(
        self,
        gram_II: sparse.csr_matrix,
        targets: NDArray[np.int64],
        problem: ElasticNet,
        device: torch.device,
    ) -> None:
        self.gram, self.targets, self.problem, self.device = gram_II, targets, problem, device
        # (B, I) G_j of each item j, which is no candidate of its own
        self.together = self._without_itself(gram_II[targets].toarray().astype(np.float64))
        self.limit = problem.tolerance * self.together.max(axis=1, keepdims=True)

    def _without_itself(self, values_BI: NDArray[np.float64]) -> NDArray[np.float64]:
        values_BI[np.arange(len(self.targets)), self.targets] = 0.0
        return values_BI

    def solve(self) -> sparse.csr_matrix:
        """Weights of the items, one row each, optimal over all items."""
        weights_BI = sparse.csr_matrix(self.together.shape)
        # at first the most similar ones; what is not above l1 can have no weight
        size_I = np.sqrt(np.maximum(self.gram.diagonal(), 1.0))
        promise_BI = np.where(self.together > self.problem.l1, self.together / size_I, 0.0)
        count = _FIRST_CANDIDATES
        for _ in range(_MAX_ROUNDS):
            candidates_BI = _largest(promise_BI, count)
            if candidates_BI.nnz == 0:
                return weights_BI
            weights_BI = self._descend(weights_BI, candidates_BI)
            promise_BI, count = self._violations(weights_BI), _MORE_CANDIDATES
        log.warning(
            "SLIM: items %d to %d are not optimal within the tolerance after %d rounds of new "
            "candidates: a larger l2 makes their problems easier",
            *(self.targets[0], self.targets[-1], _MAX_ROUNDS),
        )
        return weights_BI

    def _violations(self, weights_BI: sparse.csr_matrix) -> NDArray[np.float64]:
        """(B, I) slack of the items without a weight, where it is above 0."""
        slack_BI = self.together - (weights_BI @ self.gram).toarray() - self.problem.l1
        slack_BI[weights_BI.nonzero()] = 0.0  # coordinate descent has seen to these
        return self._without_itself(np.where(slack_BI > self.limit, slack_BI, 0.0))

    def _descend(
        self, weights_BI: sparse.csr_matrix, candidates_BI: sparse.csr_matrix
    ) -> sparse.csr_matrix:
        """Solve over the candidates and the items that have a weight by now."""
        active_BI = ((weights_BI != 0).astype(np.int8) + candidates_BI).tocsr()
        active_BI.sort_indices()
        parts = [
            self._solve_over(active_BI[rows], weights_BI[rows], rows)
            for rows in _parts(active_BI, 0, active_BI.shape[0])
        ]
        return sparse.vstack(parts, format="csr")

    def _solve_over(
        self, active_bI: sparse.csr_matrix, start_bI: sparse.csr_matrix, rows: slice
    ) -> sparse.csr_matrix:
        """Solve some rows, each over its active items; M is the most that a row has."""
        lengths = np.diff(active_bI.indptr)
        filled_bM = np.arange(max(1, lengths.max()))[None] < lengths[:, None]
        items_bM = np.zeros(filled_bM.shape, dtype=np.int64)
        items_bM[filled_bM] = active_bI.indices
        at = np.arange(len(lengths))[:, None], items_bM
        # padding has no slack ever, so its weight stays 0
        together_bM = np.where(filled_bM, self.together[rows][at], -np.inf)
        start_bM = np.where(filled_bM, start_bI.toarray()[at], 0.0)
        weights_bM = coordinate_descent(
            self._gram_of(items_bM),
            self._tensor(together_bM),
            self._tensor(start_bM),
            self._tensor(self.limit[rows]),
            self.problem,
        )
        entries = weights_bM.cpu().numpy()[filled_bM]
        place = active_bI.indices, active_bI.indptr
        result = sparse.csr_matrix((entries, *place), active_bI.shape)
        result.eliminate_zeros()
        return result

    def _gram_of(self, items_bM: NDArray[np.int64]) -> Tensor:
        """(b, M, M) G of each row's items, out of one dense matrix over those of all rows."""
        union, place = np.unique(items_bM, return_inverse=True)
        gram_VV = self._tensor(self.gram[union][:, union].toarray()).to(torch.float64)
        place_bM = self._tensor(place.reshape(items_bM.shape))
        return gram_VV[place_bM[:, :, None], place_bM[:, None, :]]

    def _tensor(self, values: NDArray[Any]) -> Tensor:
        return torch.from_numpy(values).to(self.device)


def _largest(values_BI: NDArray[np.float64], count: int) -> sparse.csr_matrix:
    """Ones where the `count` largest values of each row are, if they are above 0."""
    count = min(count, values_BI.shape[1])
    columns = np.argpartition(-values_BI, count - 1, axis=1)[:, :count]
    chosen = np.zeros_like(values_BI, dtype=np.int8)
    np.put_along_axis(chosen, columns, 1, axis=1)
    return sparse.csr_matrix(chosen * (values_BI > 0))


def _parts(active_BI: sparse.csr_matrix, start: int, stop: int) -> Iterator[slice]:
    """Halve the rows until the problems of each part take a bounded memory."""
    edges = active_BI.indptr[start : stop + 1]
    entries = (stop - start) * int(np.diff(edges).max()) ** 2
    union = len(np.unique(active_BI.indices[edges[0] : edges[-1]]))
    if stop - start == 1 or (entries <= _GRAM_ENTRIES and union <= _UNION_ITEMS):
        yield slice(start, stop)
        return
    middle = (start + stop) // 2
    yield from _parts(active_BI, start, middle)
    yield from _parts(active_BI, middle, stop)


def coordinate_descent(
    gram_BMM: Tensor, together_BM: Tensor, weights_BM: Tensor, limit_B1: Tensor, problem: ElasticNet
) -> Tensor:
    """Solve B problems over M candidates each, one coordinate of all of them at a time.

    Args:
        gram_BMM: (B, M, M) float64, G among each problem's candidates.
        together_BM: (B, M) G_j of each candidate; minus infinity where there is none.
        weights_BM: (B, M) where to begin.
        limit_B1: (B, 1) the slack that counts as 0.
        problem: what is minimised.

    Returns:
        (B, M) the weights.
    """
    weights_BM = weights_BM.clone()
    diagonal_BM = gram_BMM.diagonal(dim1=1, dim2=2)
    curvature_BM = (diagonal_BM + problem.l2).clamp_min(torch.finfo(torch.float64).tiny)
    residual_BM = together_BM - (gram_BMM @ weights_BM[:, :, None])[:, :, 0]
    for _ in range(_MAX_SWEEPS):
        for m in range(weights_BM.shape[1]):
            old = weights_BM[:, m].clone()
            new = residual_BM[:, m] + diagonal_BM[:, m] * old - problem.l1
            new = (new / curvature_BM[:, m]).clamp_min_(0.0)
            residual_BM.addcmul_(gram_BMM[:, m], (new - old)[:, None], value=-1.0)
            weights_BM[:, m] = new
        slack_BM = residual_BM - problem.l2 * weights_BM - problem.l1
        slack_BM = torch.where(weights_BM > 0, slack_BM.abs(), slack_BM)
        if bool((slack_BM <= limit_B1).all()):
            return weights_BM
    log.warning(
        "SLIM: coordinate descent stopped after %d sweeps, short of its tolerance: "
        "a larger l2 makes it converge faster",
        _MAX_SWEEPS,
    )
    return weights_BM
