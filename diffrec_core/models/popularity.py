"""Popularity: everybody gets what most people had, of late if asked for."""

from collections.abc import Mapping
from typing import ClassVar, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from diffrec_core.data.histories import Histories
from diffrec_core.data.schema import MICROSECONDS_PER_DAY
from diffrec_core.models.base import ModelConfig, Recommender, TrainingData
from diffrec_core.training.trainer import TrainingOptions, TrainingReport


class PopularityConfig(ModelConfig):
    """Whose popularity: that of all times, or of the last days."""

    kind: Literal["popularity"] = "popularity"

    half_life_days: float | None = Field(default=None, gt=0.0)
    """An interaction counts half for so many days that it is older than the newest one in the
    training data; null: all count the same. A half-life and not a window of days: no count jumps
    when an interaction leaves a window, and items without recent ones keep an order."""


class Popularity(Recommender):
    """Scores an item by its weighted number of training interactions.

    With a recency option, an interaction counts by its weight in its user's history; with a
    half-life, by its age at the end of the training data; with both, by the product.
    """

    Config: ClassVar[type[ModelConfig]] = PopularityConfig
    uses_seed = False
    reads_history = False
    config: PopularityConfig
    count: Tensor

    def _fit(self, data: TrainingData, options: TrainingOptions) -> TrainingReport:
        histories = data.histories
        items = torch.from_numpy(histories.items).to(torch.long)
        weights = self.input_weights(histories).astype(np.float64)
        if self.config.half_life_days is not None:
            age = histories.timestamps.max() - histories.timestamps
            weights *= np.exp2(-age / (self.config.half_life_days * MICROSECONDS_PER_DAY))
        count = torch.zeros(len(data.items), dtype=torch.float64)
        count.index_add_(0, items, torch.from_numpy(weights))
        self.count = count.to(torch.float32).to(self.device)
        return TrainingReport()

    def _score(self, histories: Histories) -> Tensor:
        return self.count.expand(len(histories), -1)

    def _tensors(self) -> dict[str, Tensor]:
        return {"count": self.count}

    def _restore(self, tensors: Mapping[str, Tensor], n_items: int) -> None:
        self.count = tensors["count"].to(self.device)
