"""ItemKNN: items that are had by the same users recommend each other.

Sources: Sarwar et al., "Item-based Collaborative Filtering Recommendation Algorithms", WWW 2001,
section 3 (neighbours of the item that is scored); Bell & Koren, "Improved Neighborhood-based
Collaborative Filtering", KDD Cup 2007 (shrinkage of similarities that few users support).
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
    item_counts,
    nearest_neighbours,
)
from diffrec_core.training.trainer import TrainingOptions


class ItemKnnConfig(ModelConfig):
    """Similarity, and number of neighbours."""

    kind: Literal["item_knn"] = "item_knn"

    similarity: Literal["cosine", "jaccard"] = "cosine"
    """Of the sets of users A and B of two items: |A ∩ B| over √(|A| |B|), or over |A ∪ B|."""

    neighbours: int = Field(default=100, ge=1)
    """k: an item is scored by so many items, those most similar to it."""

    shrink: float = Field(default=0.0, ge=0.0)
    """Added to the denominator: similarities that few users support count less."""

    def suggest(self, trial: Trial) -> dict[str, Any]:
        """Add the model's own settings."""
        return {
            **super().suggest(trial),
            "similarity": trial.suggest_categorical("similarity", ("cosine", "jaccard")),
            "neighbours": trial.suggest_int("neighbours", 5, 1000, log=True),
            "shrink": trial.suggest_float("shrink", 0.0, 200.0),
        }


class ItemKnn(ItemItemRecommender):
    """Scores item j by the sum of its similarities to the items of the history among its k.

    Memory: the neighbours of each item twice, and one block of items over all items, dense.
    """

    Config: ClassVar[type[ModelConfig]] = ItemKnnConfig
    uses_seed = False
    config: ItemKnnConfig

    def _weights(self, x_UI: sparse.csr_matrix, options: TrainingOptions) -> sparse.csr_matrix:
        k = self.config.neighbours
        counts = item_counts(x_UI)

        def similarity(block: slice, both: NDArray[np.float64]) -> NDArray[np.float64]:
            one, other = counts[block, None], counts
            jaccard = self.config.similarity == "jaccard"
            whole = one + other - both if jaccard else np.sqrt(one * other)
            # whole is at least 1 where anybody had both, and 0 where nobody had either
            return both / np.maximum(whole + self.config.shrink, 1.0)

        x_UI = x_UI.astype(np.float64)
        return nearest_neighbours(x_UI.T.tocsr(), x_UI, similarity, k).T.tocsr()
