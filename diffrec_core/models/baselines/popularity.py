"""Popularity: everybody gets what most people had."""

from collections.abc import Mapping
from typing import ClassVar, Literal

import torch
from torch import Tensor

from diffrec_core.data.histories import Histories
from diffrec_core.models.base import ModelConfig, Recommender, TrainingData
from diffrec_core.training.trainer import TrainingOptions, TrainingReport


class PopularityConfig(ModelConfig):
    """Popularity has no parameters of its own."""

    kind: Literal["popularity"] = "popularity"


class Popularity(Recommender):
    """Scores an item by its weighted number of training interactions.

    With a recency option, an interaction counts by its weight in its user's history.
    """

    Config: ClassVar[type[ModelConfig]] = PopularityConfig
    count: Tensor

    def _fit(self, data: TrainingData, options: TrainingOptions) -> TrainingReport:
        items = torch.from_numpy(data.histories.items).to(torch.long)
        weights = torch.from_numpy(self.input_weights(data.histories)).to(torch.float64)
        count = torch.zeros(len(data.items), dtype=torch.float64).index_add_(0, items, weights)
        self.count = count.to(torch.float32).to(self.device)
        return TrainingReport()

    def _score(self, histories: Histories) -> Tensor:
        return self.count.expand(len(histories), -1)

    def _tensors(self) -> dict[str, Tensor]:
        return {"count": self.count}

    def _restore(self, tensors: Mapping[str, Tensor], n_items: int) -> None:
        self.count = tensors["count"].to(self.device)
