"""SLIM: sparse linear weights between items, each item a regression on all others.

Source: Ning & Karypis, "SLIM: Sparse Linear Methods for Top-N Recommender Systems", ICDM 2011,
eq. 3 and 4: min over W ≥ 0 with diag(W) = 0 of ½‖A - A W‖² + ½ β‖W‖² + λ‖W‖₁, column by column.
"""

from typing import Any, ClassVar, Literal

from pydantic import Field
from scipy import sparse

from diffrec_core.common.trial import Trial
from diffrec_core.models.base import ModelConfig
from diffrec_core.models.item_item.elastic_net import ElasticNet, solve
from diffrec_core.models.item_item.model import ItemItemRecommender
from diffrec_core.models.item_item.neighbours import co_occurrences
from diffrec_core.training.trainer import TrainingOptions


class SlimConfig(ModelConfig):
    """How sparse the weights are, and how small."""

    kind: Literal["slim"] = "slim"

    l1: float = Field(default=5.0, ge=0.0)
    """λ, in users: an item that fewer have together with another has no say in its score."""

    l2: float = Field(default=200.0, ge=0.0)
    """β, the ridge penalty; grows with the number of interactions per item."""

    tolerance: float = Field(default=1e-3, gt=0.0, lt=1.0)
    """How far from the optimum an item's weights may be: the largest violation of the optimality
    conditions, as a share of the largest number of users that it has in common with an item."""

    def suggest(self, trial: Trial) -> dict[str, Any]:
        """Add the model's own settings."""
        return {
            **super().suggest(trial),
            "l1": trial.suggest_float("l1", 0.5, 50.0, log=True),
            "l2": trial.suggest_float("l2", 10.0, 2000.0, log=True),
        }


class Slim(ItemItemRecommender):
    """Scores by x W with the sparse W ≥ 0 of an elastic net, for catalogues too large for EASE.

    Memory grows with the pairs of items that have a user in common, not with all pairs.
    """

    Config: ClassVar[type[ModelConfig]] = SlimConfig
    uses_seed = False
    config: SlimConfig

    def _weights(self, x_UI: sparse.csr_matrix, options: TrainingOptions) -> sparse.csr_matrix:
        config, n_items = self.config, x_UI.shape[1]
        problem = ElasticNet(l1=config.l1, l2=config.l2, tolerance=config.tolerance)

        def advance(done: int) -> None:
            options.advance(done // n_items, f"{done:,} of {n_items:,} items")

        return solve(co_occurrences(x_UI), problem, options.device, advance).T.tocsr()
