"""LightGCN as a recommender: scores any history from its items' embeddings."""

from collections.abc import Mapping
from typing import ClassVar, Literal

from torch import Tensor

from diffrec_core.common.search_space import Choice, Dimension, Real, Space, Whole
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

    def search_space(self) -> Space:
        """Add size, depth and optimisation."""
        return (
            *super().search_space(),
            Dimension("embedding_dim", Choice((32, 64, 128))),
            Dimension("layers", Whole(1, 3)),
            Dimension("loss", Choice(("bpr", "softmax"))),
            Dimension("negatives", Whole(1, 16, log=True)),
            Dimension("learning_rate", Real(1e-3, 5e-2, log=True)),
            Dimension("l2", Real(1e-6, 1e-2, log=True)),
        )


class LightGCN(Recommender):
    """Scores by the inner product of the item's read-out and the user's propagated layers.

    Recency weights the user's side at scoring time, in validation too.
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
