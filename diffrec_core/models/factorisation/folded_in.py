"""Models that score by item factors learned with the library `implicit`.

User factors are not stored: they are computed from the history that is to be scored, by the same
rule for known users and new ones.
"""

from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping
from typing import ClassVar

import numpy as np
import torch
from implicit.recommender_base import ModelFitError
from numpy.typing import NDArray
from scipy import sparse
from threadpoolctl import threadpool_limits
from torch import Tensor

from diffrec_core.common.errors import DataError
from diffrec_core.data.histories import Histories
from diffrec_core.data.user_item_matrix import user_item_matrix
from diffrec_core.models.base import Recommender, TrainingData
from diffrec_core.nn.sparse_rows import SparseRows
from diffrec_core.training.trainer import TrainingOptions, TrainingReport

_SOLVE_ENTRIES = 1 << 22
"""Float64 numbers of histories' factors and equations at a time; does not change results."""

Advance = Callable[..., None]


class FactorRecommender(Recommender):
    """Scores by user factor · item factor."""

    item_factors: Tensor

    _driver: ClassVar[str]
    """The setting to lower when the factors diverge, as `l2` is to be raised."""

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

        try:
            # the library's own threads do the work; it warns of a BLAS that brings more of them
            with threadpool_limits(limits=1, user_api="blas"):
                factors_IF = self._item_factors(x_UI, options.seed, advance)
        except ModelFitError as error:  # all that the library raises it for
            settings = self.config.model_dump()
            raise DataError(
                f"{self.config.kind} diverged, its factors are no finite numbers: lower "
                f"{self._driver} (now {settings[self._driver]:g}) or raise l2 (now "
                f"{settings['l2']:g}), or check the interactions for extreme weights"
            ) from error
        self.item_factors = torch.from_numpy(np.asarray(factors_IF, np.float32)).to(self.device)
        options.advance(1, "done")
        return TrainingReport()

    def _score(self, histories: Histories) -> Tensor:
        users_BF = self._user_factors(self.input_rows(histories))
        return users_BF.to(torch.float32) @ self.item_factors.T

    def _tensors(self) -> dict[str, Tensor]:
        return {"item_factors": self.item_factors}

    def _restore(self, tensors: Mapping[str, Tensor], n_items: int) -> None:
        self.item_factors = tensors["item_factors"].to(self.device)


def solve_each(
    rows: SparseRows, vectors_IF: Tensor, shared_FF: Tensor, share_B: Tensor, right_BF: Tensor
) -> Tensor:
    """Solve one small system for every history, in closed form.

    (share_b S + Σ_n w_n v_n v_nᵀ) x_b = r_b, the sum being over the entries of row b.

    Args:
        rows: B histories; the weights are w, at least such that each matrix is positive definite.
        vectors_IF: v of each item, float64: squares lose too much in float32.
        shared_FF: S.
        share_B: how much of S each row gets.
        right_BF: r.

    Returns:
        (B, F) float64.
    """
    users_BF = torch.empty_like(right_BF)
    for part in _similar_lengths(rows.offsets.diff(), vectors_IF.shape[1]):
        items, weights = _padded(rows.take(part))
        v_BLF = vectors_IF[items]
        system_BFF = v_BLF.transpose(1, 2) @ (v_BLF * weights[:, :, None])
        system_BFF += share_B[part, None, None] * shared_FF
        root_BFF = torch.linalg.cholesky(system_BFF)
        users_BF[part] = torch.cholesky_solve(right_BF[part, :, None], root_BFF)[:, :, 0]
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


def _padded(rows: SparseRows) -> tuple[Tensor, Tensor]:
    """(B, L) items and float64 weights, L being the longest row's length; 0 weighs what fills."""
    lengths = rows.offsets.diff()
    filled = torch.arange(int(lengths.max()), device=lengths.device) < lengths[:, None]
    items = rows.items.new_zeros(filled.shape)
    weights = rows.weights.new_zeros(filled.shape, dtype=torch.float64)
    items[filled], weights[filled] = rows.items, rows.weights.to(torch.float64)
    return items, weights
