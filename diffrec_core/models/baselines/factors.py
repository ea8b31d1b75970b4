"""What the models have in common that score by item factors learned with the library `implicit`.

A user's factor is never kept: it is computed from the history that is to be scored, by the same
rule for everybody, whether the library saw the user or not.
"""

from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from threadpoolctl import threadpool_limits
from torch import Tensor

from diffrec_core.data.histories import Histories
from diffrec_core.data.user_item_matrix import user_item_matrix
from diffrec_core.models.base import Recommender, TrainingData
from diffrec_core.models.sparse_rows import SparseRows
from diffrec_core.training.trainer import TrainingOptions, TrainingReport

_SOLVE_ENTRIES = 1 << 22
"""Float64 numbers of histories' factors and equations at a time; does not change results."""

Advance = Callable[..., None]


class FactorRecommender(Recommender):
    """Scores by user factor · item factor, the former being computed from the history.

    Subclasses say how item factors are learned and user factors computed.
    """

    factors_IF: Tensor

    @abstractmethod
    def _item_factors(
        self, x_UI: sparse.csr_matrix, seed: int, advance: Advance
    ) -> NDArray[np.float32]:
        """Learn (I, F) from (U, I) interactions; `advance` takes the library's callbacks."""

    @abstractmethod
    def _user_factors(self, rows: SparseRows) -> Tensor:
        """(B, F) float64 from histories."""

    def _fit(self, data: TrainingData, options: TrainingOptions) -> TrainingReport:
        histories = data.histories
        x_UI = user_item_matrix(histories, len(data.items), histories.weights)

        def advance(iteration: int, *_: object) -> None:
            options.advance(0, f"iteration {iteration + 1}")

        with _one_blas_thread():
            factors_IF = self._item_factors(x_UI, options.seed, advance)
        self.factors_IF = torch.from_numpy(np.asarray(factors_IF, np.float32)).to(self.device)
        options.advance(1, "done")
        return TrainingReport()

    def _score(self, histories: Histories) -> Tensor:
        users_BF = self._user_factors(self.input_rows(histories))
        return users_BF.to(torch.float32) @ self.factors_IF.T

    def _tensors(self) -> dict[str, Tensor]:
        return {"item_factors": self.factors_IF}

    def _restore(self, tensors: Mapping[str, Tensor], n_items: int) -> None:
        self.factors_IF = tensors["item_factors"].to(self.device)


@contextmanager
def _one_blas_thread() -> Iterator[None]:
    """The library's own threads do the work; it warns of a BLAS that brings more of them."""
    with threadpool_limits(limits=1, user_api="blas"):
        yield


def fold_in(
    rows: SparseRows, factors_IF: Tensor, confidence: Tensor, l2: float
) -> Tensor:
    """Solve for the user factor of every history, in closed form.

    The factor x (F,) minimises Σ_{i in history} c_i (1 - x · y_i)² + Σ_{other i} (x · y_i)² +
    l2 ‖x‖², that is (YᵀY + Σ_i (c_i - 1) y_i y_iᵀ + l2) x = Σ_i c_i y_i with sums over the history
    (Hu, Koren & Volinsky, ICDM 2008, eq. 4).

    Args:
        rows: B histories.
        factors_IF: Y.
        confidence: (N,) c_i of each entry of `rows`, at least 0.
        l2: weight of the penalty, above 0.

    Returns:
        (B, F) float64.
    """
    y_IF = factors_IF.to(torch.float64)  # squares of factors lose too much in float32
    n_factors = y_IF.shape[1]
    shared_FF = y_IF.T @ y_IF
    shared_FF.diagonal().add_(l2)
    users_BF = y_IF.new_empty(len(rows), n_factors)
    weighted = SparseRows(rows.offsets, rows.items, confidence.to(torch.float64), rows.n_items)
    for part in _similar_lengths(rows.offsets.diff(), n_factors):
        items, weights, filled = _padded(weighted.take(part))
        y_BLF = y_IF[items]
        extra_BLF = y_BLF * ((weights - 1.0) * filled)[:, :, None]
        equations_BFF = shared_FF + y_BLF.transpose(1, 2) @ extra_BLF
        right_BF1 = y_BLF.transpose(1, 2) @ (weights * filled)[:, :, None]
        solution_BF1 = torch.cholesky_solve(right_BF1, torch.linalg.cholesky(equations_BFF))
        users_BF[part] = solution_BF1[:, :, 0]
    return users_BF


def _similar_lengths(lengths: Tensor, n_factors: int) -> Iterator[Tensor]:
    """Rows, long histories first, in parts that take a bounded memory once filled up."""
    order = lengths.argsort(descending=True, stable=True)
    longest, start = lengths[order].tolist(), 0
    while start < len(order):
        entries = n_factors * (longest[start] + n_factors)
        stop = start + max(1, _SOLVE_ENTRIES // entries)
        yield order[start:stop]
        start = stop


def _padded(rows: SparseRows) -> tuple[Tensor, Tensor, Tensor]:
    """(B, L) items and weights, and whether there is an entry; L is the longest row's length."""
    lengths = rows.offsets.diff()
    places = torch.arange(int(lengths.max()), device=lengths.device)
    filled = places < lengths[:, None]
    items, weights = (rows.items.new_zeros(filled.shape), rows.weights.new_zeros(filled.shape))
    items[filled], weights[filled] = rows.items, rows.weights
    return items, weights, filled
