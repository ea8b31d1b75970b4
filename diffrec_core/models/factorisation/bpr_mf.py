"""BPR-MF: matrix factorisation learned from pairs of items, through the library `implicit`.

Source: Rendle et al., "BPR: Bayesian Personalized Ranking from Implicit Feedback", UAI 2009,
section 4.1 (criterion) and 5.2 (matrix factorisation).
"""

from typing import Any, ClassVar, Literal

import numpy as np
import torch
from implicit.bpr import BayesianPersonalizedRanking
from numpy.typing import NDArray
from pydantic import Field
from scipy import sparse
from torch import Tensor

from diffrec_core.common.rng import derive_seed
from diffrec_core.common.trial import Trial
from diffrec_core.models.base import ModelConfig
from diffrec_core.models.factorisation.folded_in import Advance, FactorRecommender, solve_each
from diffrec_core.nn.sparse_rows import SparseRows

_LEAST_WEIGHT = 1e-12
"""Keeps the equations of a history solvable whose entries have no weight at all."""


class BprMfConfig(ModelConfig):
    """Width and learning of the factorisation."""

    kind: Literal["bpr_mf"] = "bpr_mf"

    factors: int = Field(default=64, ge=1)
    """Width of user and item factors, beside one bias per item."""

    learning_rate: float = Field(default=0.05, gt=0.0)
    """Of stochastic gradient descent."""

    l2: float = Field(default=0.01, gt=0.0)
    """λ, weight of half the squared factors and bias of every pair that is drawn."""

    iterations: int = Field(default=100, ge=1)
    """In each, as many pairs are drawn as there are interactions."""

    def suggest(self, trial: Trial) -> dict[str, Any]:
        """Add the model's own settings."""
        return {
            **super().suggest(trial),
            "factors": trial.suggest_int("factors", 16, 256, log=True),
            "learning_rate": trial.suggest_float("learning_rate", 1e-3, 0.3, log=True),
            "l2": trial.suggest_float("l2", 1e-4, 0.3, log=True),
        }


class BprMf(FactorRecommender):
    """Scores by user factor · item factor + item bias.

    The user factor comes from `fold_in`, for users whom the library learned as for new ones: one
    rule for all, which knows of recency and of interactions after the fit. The fit itself ignores
    weights. Memory: as for iALS.
    """

    Config: ClassVar[type[ModelConfig]] = BprMfConfig
    config: BprMfConfig
    _driver = "learning_rate"

    def _item_factors(
        self, x_UI: sparse.csr_matrix, seed: int, advance: Advance
    ) -> NDArray[np.float32]:
        library = BayesianPersonalizedRanking(
            factors=self.config.factors,
            learning_rate=self.config.learning_rate,
            regularization=self.config.l2,
            iterations=self.config.iterations,
            use_gpu=False,
            num_threads=1,  # several would overwrite each other's updates, differently each time
            random_state=derive_seed(seed, "bpr_mf"),
        )
        library.fit(x_UI, show_progress=False, callback=advance)
        factors_IF: NDArray[np.float32] = library.item_factors
        return factors_IF

    def _user_factors(self, rows: SparseRows) -> Tensor:
        popularity = torch.from_numpy(self.catalogue.popularity).to(self.device)
        users_BF = fold_in(rows, self.item_factors, popularity, self.config.l2)
        return torch.nn.functional.pad(users_BF, (0, 1), value=1.0)  # what the bias is added by


def fold_in(rows: SparseRows, item_factors: Tensor, popularity_I: Tensor, l2: float) -> Tensor:
    """Solve for the user factor of every history.

    BPR maximises Σ_i w_i E_j ln σ(s_i - s_j) - ½ l2 Σ_i w_i ‖p‖² over the items i of the history
    and j drawn by popularity, as in the fit, with s_i = p · q_i + b_i. With the second-order
    expansion ln σ(z) ≈ ½ - ln 2 - ⅛ (2 - z)² around 0 this is a least-squares problem: an item of
    the history is to score 2 more than one that is drawn. Its normal equations, in factors and
    biases from which their mean over the draws is taken, are
    (Σ_i w_i (q_i q_iᵀ + E q_j q_jᵀ + 4 l2)) p = Σ_i w_i ((2 - b_i) q_i - E b_j q_j).

    Args:
        rows: B histories; the weights are w, at least 0.
        item_factors: (I, F + 1) Q; the last column is b.
        popularity_I: users of each item.
        l2: weight of the penalty, above 0.

    Returns:
        (B, F) float64.
    """
    share_1I = (popularity_I / popularity_I.sum()).to(torch.float64)[None]
    factors_IF = item_factors.to(torch.float64)
    factors_IF = factors_IF - share_1I @ factors_IF
    q_IF, b_I1 = factors_IF[:, :-1], factors_IF[:, -1:]
    shared_FF = (q_IF * share_1I.T).T @ q_IF
    shared_FF.diagonal().add_(4.0 * l2)
    total_B1 = rows.project(torch.ones_like(b_I1))
    right_BF = rows.project((2.0 - b_I1) * q_IF) - total_B1 * (share_1I @ (b_I1 * q_IF))
    return solve_each(rows, q_IF, shared_FF, total_B1[:, 0].clamp_min(_LEAST_WEIGHT), right_BF)
