"""LightGCN as a recommender: scores any history from its items' embeddings."""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from torch import Tensor

from diffrec_core.common.trial import Trial
from diffrec_core.data.histories import Histories
from diffrec_core.models.base import ModelConfig, Recommender, TrainingData
from diffrec_core.models.lightgcn.network import (
    ItemEmbeddings,
    LightGCNConfig,
    fit_lightgcn,
    score_histories,
)
from diffrec_core.training.trainer import TrainingOptions, TrainingReport


class LightGCNModelConfig(ModelConfig, LightGCNConfig):
    """LightGCN's own configuration, with a kind and recency."""

    kind: Literal["lightgcn"] = "lightgcn"

    def suggest(self, trial: Trial) -> dict[str, Any]:
        """Add size, depth and optimisation."""
        return {
            **super().suggest(trial),
            "embedding_dim": trial.suggest_categorical("embedding_dim", (32, 64, 128)),
            "layers": trial.suggest_int("layers", 1, 3),
            "loss": trial.suggest_categorical("loss", ("bpr", "softmax")),
            "negatives": trial.suggest_int("negatives", 1, 16, log=True),
            "learning_rate": trial.suggest_float("learning_rate", 1e-3, 5e-2, log=True),
            "l2": trial.suggest_float("l2", 1e-6, 1e-2, log=True),
        }


class LightGCN(Recommender):
    """Scores by the inner product of the item's read-out and the user's propagated layers.

    Recency weights the user's side at scoring time, in validation too. Memory: the embeddings of
    all users and items, 6 to 8 times and once more for every layer, and the graph both ways.
    """

    Config: ClassVar[type[ModelConfig]] = LightGCNModelConfig
    config: LightGCNModelConfig
    embeddings: ItemEmbeddings

    def _fit(self, data: TrainingData, options: TrainingOptions) -> TrainingReport:
        n_items = len(data.items)
        self.embeddings, report = fit_lightgcn(
            data.histories, n_items, self.config, options, data.validation, score=self._score_with
        )
        return report

    def _score_with(self, embeddings: ItemEmbeddings, histories: Histories) -> Tensor:
        """Score as the model with these embeddings does, users without a history included."""
        self.embeddings = embeddings
        return self.score(histories)

    def _score(self, histories: Histories) -> Tensor:
        return score_histories(self.embeddings, histories, self.input_weights(histories))

    def _tensors(self) -> dict[str, Tensor]:
        return {"read_out": self.embeddings.read_out, "history": self.embeddings.history}

    def _restore(self, tensors: Mapping[str, Tensor], n_items: int) -> None:
        self.embeddings = ItemEmbeddings(
            tensors["read_out"].to(self.device), tensors["history"].to(self.device)
        )
