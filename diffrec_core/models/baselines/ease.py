"""EASE^R: a linear item-item model in closed form.

Source: Steck, "Embarrassingly Shallow Autoencoders for Sparse Data", WWW 2019
(arXiv 1905.03375), eq. 8: with G = XᵀX + λI and P = G⁻¹, B_ij = -P_ij / P_jj off the diagonal
and 0 on it.
"""

from collections.abc import Mapping
from typing import ClassVar, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from diffrec_core.data.histories import Histories
from diffrec_core.data.user_item_matrix import user_item_matrix
from diffrec_core.models.base import ModelConfig, Recommender, TrainingData
from diffrec_core.search_space import Dimension, Real, Space
from diffrec_core.training.trainer import TrainingOptions, TrainingReport


class EaseConfig(ModelConfig):
    """EASE^R has one parameter."""

    kind: Literal["ease"] = "ease"

    l2: float = Field(default=500.0, gt=0.0)
    """λ, the ridge penalty; grows with the number of interactions per item."""

    def search_space(self) -> Space:
        """Add the penalty."""
        return (*super().search_space(), Dimension("l2", Real(10.0, 5000.0, log=True)))


class Ease(Recommender):
    """Scores items by x B, with B the closed-form solution on unweighted histories.

    Recency weights the input x at scoring time and not the Gram matrix: which items go together
    does not change with when a user had them.
    """

    Config: ClassVar[type[ModelConfig]] = EaseConfig
    config: EaseConfig
    B_II: Tensor

    def _fit(self, data: TrainingData, options: TrainingOptions) -> TrainingReport:
        x_UI = user_item_matrix(data.histories, len(data.items))
        gram_II = torch.from_numpy((x_UI.T @ x_UI).toarray().astype(np.float64))
        gram_II.diagonal().add_(self.config.l2)
        # G is symmetric positive definite: half the work of a general inverse
        precision_II = torch.cholesky_inverse(torch.linalg.cholesky(gram_II))
        B_II = -precision_II / precision_II.diagonal()
        B_II.fill_diagonal_(0.0)
        # row by row in memory, as scoring reads it
        self.B_II = B_II.to(torch.float32).contiguous().to(self.device)
        return TrainingReport()

    def _score(self, histories: Histories) -> Tensor:
        return self.input_rows(histories).project(self.B_II)

    def _tensors(self) -> dict[str, Tensor]:
        return {"B": self.B_II}

    def _restore(self, tensors: Mapping[str, Tensor], n_items: int) -> None:
        self.B_II = tensors["B"].to(self.device)
