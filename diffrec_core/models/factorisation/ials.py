"""iALS: implicit alternating least squares, through the library `implicit`.

Sources: Hu, Koren & Volinsky, "Collaborative Filtering for Implicit Feedback Datasets", ICDM 2008,
eq. 3 to 5; Takács, Pilászy & Tikk, "Applications of the Conjugate Gradient Method for Implicit
Feedback Collaborative Filtering", RecSys 2011 (how the library solves for factors).
"""

from dataclasses import replace
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from implicit.als import AlternatingLeastSquares
from numpy.typing import NDArray
from pydantic import Field
from scipy import sparse
from torch import Tensor

from diffrec_core.common.rng import derive_seed
from diffrec_core.common.trial import Trial
from diffrec_core.models.base import ModelConfig
from diffrec_core.models.factorisation.folded_in import Advance, FactorRecommender, solve_each
from diffrec_core.nn.sparse_rows import SparseRows


class IalsConfig(ModelConfig):
    """Width, weights and length of the factorisation."""

    kind: Literal["ials"] = "ials"

    factors: int = Field(default=64, ge=1)
    """Width of user and item factors. Wide ones, with a larger `l2`, are usually better."""

    alpha: float = Field(default=1.0, gt=0.0)
    """α, the weight of an interaction's squared error; that of a missing one is 1."""

    l2: float = Field(default=10.0, gt=0.0)
    """λ, the penalty on squared factors."""

    iterations: int = Field(default=15, ge=1)
    """Times that all users and all items are solved for."""

    def suggest(self, trial: Trial) -> dict[str, Any]:
        """Add the model's own settings."""
        return {
            **super().suggest(trial),
            "factors": trial.suggest_int("factors", 16, 1024, log=True),
            "alpha": trial.suggest_float("alpha", 0.1, 50.0, log=True),
            "l2": trial.suggest_float("l2", 0.1, 300.0, log=True),
        }


class Ials(FactorRecommender):
    """Scores by the user factor that solves the history's own normal equations.

    An interaction's weight in the data multiplies its α in training; when a history is scored,
    so does its recency: as it falls to 0, the item leaves the equations. Factors are the same
    bits for any number of threads. Memory: factors of users and items, those of the larger side
    twice, and the interactions twice.
    """

    Config: ClassVar[type[ModelConfig]] = IalsConfig
    config: IalsConfig
    _driver = "alpha"

    def _item_factors(
        self, x_UI: sparse.csr_matrix, seed: int, advance: Advance
    ) -> NDArray[np.float32]:
        library = AlternatingLeastSquares(
            factors=self.config.factors,
            regularization=self.config.l2,
            alpha=self.config.alpha,
            iterations=self.config.iterations,
            use_gpu=False,  # where there is one, it would give other bits
            num_threads=torch.get_num_threads(),
            random_state=derive_seed(seed, "ials"),
        )
        library.fit(x_UI, show_progress=False, callback=advance)
        factors_IF: NDArray[np.float32] = library.item_factors
        return factors_IF

    def _user_factors(self, rows: SparseRows) -> Tensor:
        confident = replace(rows, weights=self.config.alpha * rows.weights)
        return fold_in(confident, self.item_factors, self.config.l2)


def fold_in(rows: SparseRows, item_factors: Tensor, l2: float) -> Tensor:
    """Solve for the user factor of every history.

    The factor p (F,) minimises Σ_i c_i (1 - p · q_i)² + Σ_m (p · q_m)² + l2 ‖p‖² over the items i
    of the history and all others m: (QᵀQ + Σ_i (c_i - 1) q_i q_iᵀ + l2) p = Σ_i c_i q_i, Hu et al.
    eq. 4.

    Args:
        rows: B histories; the weights are c, at least 0.
        item_factors: (I, F) Q.
        l2: weight of the penalty, above 0.

    Returns:
        (B, F) float64.
    """
    q_IF = item_factors.to(torch.float64)
    shared_FF = q_IF.T @ q_IF
    shared_FF.diagonal().add_(l2)
    extra, share_B = replace(rows, weights=rows.weights - 1.0), q_IF.new_ones(len(rows))
    return solve_each(extra, q_IF, shared_FF, share_B, rows.project(q_IF))
