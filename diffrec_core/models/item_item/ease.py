"""EASE^R: a linear item-item model in closed form.

Source: Steck, "Embarrassingly Shallow Autoencoders for Sparse Data", WWW 2019
(arXiv 1905.03375), eq. 8: with G = XᵀX + λI and P = G⁻¹, B_ij = -P_ij / P_jj off the diagonal
and 0 on it.
"""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from pydantic import Field
from scipy import sparse
from torch import Tensor

from diffrec_core.common.trial import Trial
from diffrec_core.data.histories import Histories
from diffrec_core.data.user_item_matrix import user_item_matrix
from diffrec_core.models.base import ModelConfig, Recommender, TrainingData
from diffrec_core.training.trainer import TrainingOptions, TrainingReport

_BLOCK_ITEMS = 512


class EaseConfig(ModelConfig):
    """EASE^R has one parameter."""

    kind: Literal["ease"] = "ease"

    l2: float = Field(default=500.0, gt=0.0)
    """λ, the ridge penalty; grows with the number of interactions per item."""

    def suggest(self, trial: Trial) -> dict[str, Any]:
        """Add the penalty."""
        return {**super().suggest(trial), "l2": trial.suggest_float("l2", 10.0, 5000.0, log=True)}


class Ease(Recommender):
    """Scores items by x B, with B the closed-form solution on unweighted histories.

    Recency weights the input x at scoring time and not the Gram matrix: which items go together
    does not change with when a user had them. Memory: 16 bytes for each pair of items, two
    matrices of float64 at a time.
    """

    Config: ClassVar[type[ModelConfig]] = EaseConfig
    uses_seed = False
    config: EaseConfig
    B_II: Tensor

    def _fit(self, data: TrainingData, options: TrainingOptions) -> TrainingReport:
        n_items = len(data.items)
        gram_II = gram_matrix(user_item_matrix(data.histories, n_items))
        gram_II.diagonal().add_(self.config.l2)
        # G is symmetric positive definite: half the work of a general inverse
        factor_II = torch.linalg.cholesky(gram_II)
        del gram_II
        B_II = torch.cholesky_inverse(factor_II)
        del factor_II
        B_II.div_(-B_II.diagonal().clone()).fill_diagonal_(0.0)
        # row by row in memory, as scoring reads it
        self.B_II = B_II.to(torch.float32).contiguous().to(self.device)
        return TrainingReport()

    def _score(self, histories: Histories) -> Tensor:
        return self.input_rows(histories).project(self.B_II)

    def _tensors(self) -> dict[str, Tensor]:
        return {"B": self.B_II}

    def _restore(self, tensors: Mapping[str, Tensor], n_items: int) -> None:
        self.B_II = tensors["B"].to(self.device)


def gram_matrix(x_UI: sparse.csr_matrix) -> Tensor:
    """(I, I) float64: users who had both items, counted a block of items at a time."""
    n_items = x_UI.shape[1]
    gram_II = torch.empty(n_items, n_items, dtype=torch.float64)
    x_UI = x_UI.astype(np.float64)  # float32 would stop counting at 2^24 users
    x_IU = x_UI.T.tocsr()
    for start in range(0, n_items, _BLOCK_ITEMS):
        block = slice(start, start + _BLOCK_ITEMS)
        gram_II[block] = torch.from_numpy((x_IU[block] @ x_UI).toarray())
    return gram_II
