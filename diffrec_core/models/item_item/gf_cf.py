"""GF-CF: graph filtering in closed form, a linear filter plus an ideal low-pass one.

Source: Shen et al., "How Powerful is Graph Convolution for Recommendation?", CIKM 2021
(arXiv 2108.07567), section 4.2: with R̃ = D_U^-½ R D_I^-½ and Ū the right singular vectors of R̃
of the largest singular values, s_u = r_u (R̃ᵀR̃ + α D_I^-½ Ū Ūᵀ D_I^½).
"""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from scipy import sparse
from scipy.sparse.linalg import svds
from torch import Tensor

from diffrec_core.common.rng import generator
from diffrec_core.common.trial import Trial
from diffrec_core.data.histories import Histories
from diffrec_core.data.user_item_matrix import user_item_matrix
from diffrec_core.models.base import ModelConfig, Recommender, TrainingData
from diffrec_core.models.item_item.matrix import ItemItemMatrix
from diffrec_core.models.item_item.neighbours import inverse_power, item_counts
from diffrec_core.training.trainer import TrainingOptions, TrainingReport

_NO_SIGNAL = 1e-6
"""Singular values below this share of the largest are 0 up to rounding: no filter keeps them."""


class GfCfConfig(ModelConfig):
    """How much of the ideal low-pass filter is added, and how low it is."""

    kind: Literal["gf_cf"] = "gf_cf"

    alpha: float = Field(default=0.3, ge=0.0)
    """α, the weight of the ideal low-pass filter; 0: the linear filter alone."""

    factors: int = Field(default=128, ge=1)
    """Singular vectors that the low-pass filter lets through; at most one less than there are
    users and items."""

    def suggest(self, trial: Trial) -> dict[str, Any]:
        """Add the model's own settings."""
        return {
            **super().suggest(trial),
            "alpha": trial.suggest_float("alpha", 0.0, 1.0),
            "factors": trial.suggest_int("factors", 16, 512, log=True),
        }


class GfCf(Recommender):
    """Scores by both filters, fitted on unweighted histories.

    The linear filter is kept as a sparse matrix over items, the low-pass filter as two thin
    ones. Recency weights the input at scoring time. Memory: the pairs of items with a common user
    twice, and the singular vectors of users and items.
    """

    Config: ClassVar[type[ModelConfig]] = GfCfConfig
    uses_seed = False
    config: GfCfConfig
    linear: ItemItemMatrix
    analysis: Tensor
    synthesis: Tensor

    def _fit(self, data: TrainingData, options: TrainingOptions) -> TrainingReport:
        x_UI = user_item_matrix(data.histories, len(data.items))
        degree_U, degree_I = np.diff(x_UI.indptr).astype(np.float64), item_counts(x_UI)
        root_U, root_I = inverse_power(degree_U, 0.5), inverse_power(degree_I, 0.5)
        normal_UI = (sparse.diags(root_U) @ x_UI @ sparse.diags(root_I)).tocsr()
        single_UI = normal_UI.astype(np.float32)
        self.linear = ItemItemMatrix.from_scipy((single_UI.T @ single_UI).tocsr(), self.device)
        vectors_FI = low_frequencies(normal_UI, self.config.factors)
        self.analysis = self._tensor((vectors_FI * root_I).T)
        self.synthesis = self._tensor(vectors_FI * np.sqrt(degree_I))
        return TrainingReport()

    def _tensor(self, values: NDArray[np.float64]) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(values, np.float32)).to(self.device)

    def _score(self, histories: Histories) -> Tensor:
        rows = self.input_rows(histories)
        low_pass = rows.project(self.analysis) @ self.synthesis
        return self.linear.score(rows) + self.config.alpha * low_pass

    def _tensors(self) -> dict[str, Tensor]:
        filters = {"analysis": self.analysis, "synthesis": self.synthesis}
        return filters | self.linear.tensors()

    def _restore(self, tensors: Mapping[str, Tensor], n_items: int) -> None:
        self.linear = ItemItemMatrix.restore(tensors, self.device)
        self.analysis = tensors["analysis"].to(self.device)
        self.synthesis = tensors["synthesis"].to(self.device)


def low_frequencies(normal_UI: sparse.csr_matrix, count: int) -> NDArray[np.float64]:
    """Right singular vectors of the largest singular values; (F, I), F at most `count`."""
    smaller = min(normal_UI.shape)
    if smaller == 1:  # ARPACK finds at most one less than there are
        return np.zeros((0, normal_UI.shape[1]))
    start = generator(0, "gf_cf").normal(size=smaller)  # it changes the last bits alone
    _, values, vectors_FI = svds(normal_UI, k=min(count, smaller - 1), v0=start)
    kept: NDArray[np.float64] = vectors_FI[values > _NO_SIGNAL * values.max()]
    return kept
