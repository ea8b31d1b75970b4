"""RP3β: random walks of three steps, user - item - user - item, against popular ends.

Sources: Paudel et al., "Updatable, Accurate, Diverse, and Scalable Recommendations for
Interactive Applications", ACM TiiS 7(1), 2017; Christoffel et al., "Blockbusters and
Wallflowers", RecSys 2015 (the walk's last item j divided by its degree^β); Cooper et al., "Random
Walks in Recommender Systems", WWW 2014 (transition probabilities to the power of α).
"""

from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from scipy import sparse

from diffrec_core.common.trial import Trial
from diffrec_core.models.base import ModelConfig
from diffrec_core.models.item_item.model import ItemItemRecommender
from diffrec_core.models.item_item.neighbours import (
    inverse_power,
    item_counts,
    nearest_neighbours,
)
from diffrec_core.training.trainer import TrainingOptions


class Rp3BetaConfig(ModelConfig):
    """How the walk goes, and how much popularity takes from its end."""

    kind: Literal["rp3beta"] = "rp3beta"

    alpha: float = Field(default=0.8, gt=0.0)
    """α, the power of each step's probability: below 1, rare ways gain."""

    beta: float = Field(default=0.6, ge=0.0)
    """β: an item's score is divided by its number of users to this power."""

    neighbours: int | None = Field(default=None, ge=1)
    """k: an item is scored by so many items, those from which it is reached most; null: all."""

    def suggest(self, trial: Trial) -> dict[str, Any]:
        """Add the model's own settings."""
        return {
            **super().suggest(trial),
            "alpha": trial.suggest_float("alpha", 0.3, 2.0),
            "beta": trial.suggest_float("beta", 0.0, 1.5),
        }


class Rp3Beta(ItemItemRecommender):
    """Scores item j by Σ_i x_i Σ_u p(i → u)^α p(u → j)^α / d_j^β.

    p is 1 / degree of where the step begins. The first step, from the user to the history's
    items, is the input x: its probability is the same for all of them, or their recency. Memory:
    as for ItemKNN; without a limit on neighbours, that of all pairs of items with a common user.
    """

    Config: ClassVar[type[ModelConfig]] = Rp3BetaConfig
    uses_seed = False
    config: Rp3BetaConfig

    def _weights(self, x_UI: sparse.csr_matrix, options: TrainingOptions) -> sparse.csr_matrix:
        alpha, beta, k = self.config.alpha, self.config.beta, self.config.neighbours
        x_UI, degree_I = x_UI.astype(np.float64), item_counts(x_UI)
        degree_U = np.diff(x_UI.indptr).astype(np.float64)
        end = inverse_power(degree_I, beta)

        def similarity(block: slice, walks: NDArray[np.float64]) -> NDArray[np.float64]:
            return walks * end[block, None]

        to_end_IU = (x_UI.T @ sparse.diags(inverse_power(degree_U, alpha))).tocsr()
        from_start_UI = (x_UI @ sparse.diags(inverse_power(degree_I, alpha))).tocsr()
        return nearest_neighbours(to_end_IU, from_start_UI, similarity, k).T.tocsr()
