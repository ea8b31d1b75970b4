"""The four variants as one Recommender."""

from collections.abc import Mapping
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from diffrec_core.data.histories import Histories
from diffrec_core.models.base import ModelConfig, Recommender, TrainingData
from diffrec_core.models.diffrec.config import DiffRecConfig
from diffrec_core.models.diffrec.network import DiffRecNetwork
from diffrec_core.models.diffrec.program import DiffRecProgram
from diffrec_core.nn.precision import warn_of_emulation
from diffrec_core.training.memory import (
    TRAINING_BYTES,
    learned_values,
    require_memory,
    without_memory,
)
from diffrec_core.training.seeding import torch_seed
from diffrec_core.training.trainer import TrainingOptions, TrainingReport, train

_TRAINING_SCORE_BYTES, _LATENT_TRAINING_SCORE_BYTES = 24, 16
"""Of users × items in a step: history, noise, noisy input, mask, output, error and gradients; only
scores, their softmax and gradients if latent, since histories stay sparse."""
_SCORE_BYTES, _ITEM_SPACE_SCORE_BYTES = 12, 32
"""Of users × items in validation: what the model computes and its scores; the reverse process
in item space keeps x_t, the estimate and what they are made of."""


class DiffRec(Recommender):
    """Recover a user's interactions from a noisy copy of them; what appears is recommended."""

    Config: ClassVar[type[ModelConfig]] = DiffRecConfig
    config: DiffRecConfig
    network: DiffRecNetwork

    @property
    def needs_item_clusters(self) -> bool:  # type: ignore[override]
        """Latent variants group items by cluster."""
        return self.config.latent

    def _fit(self, data: TrainingData, options: TrainingOptions) -> TrainingReport:
        warn_of_emulation(self.config.precision, options.device)
        self._require_memory(data, options)
        with torch_seed(options.seed, "initialise"):
            self.network = self._network(len(data.items), data.item_clusters)
        if options.compile:
            self.network.compile_denoiser()
        program = DiffRecProgram(
            self.network,
            self.training_rows(data.histories, with_recency=self.config.recency_in_training),
            self.config,
            seed=options.seed,
            validation=lambda: self.validate(
                data.validation, batch_size=self.config.score_batch_size
            ),
        )
        return train(program, self.config, options)

    def _require_memory(self, data: TrainingData, options: TrainingOptions) -> None:
        n_items, n_users = len(data.items), len(data.histories)
        network = without_memory(lambda: DiffRecNetwork(self.config, n_items, data.item_clusters))
        parameters = learned_values(network)
        needed = TRAINING_BYTES * parameters + _peak_of_scores(network, n_users, n_items)
        why = f"{parameters:,} parameters and the scores of {n_items:,} items for a batch of users"
        require_memory(self.config.kind, needed, why, options)

    def _score(self, histories: Histories) -> Tensor:
        self.network.eval()
        return self.network.recover(self.input_rows(histories))

    def _network(self, n_items: int, categories: NDArray[np.int64] | None) -> DiffRecNetwork:
        return DiffRecNetwork(self.config, n_items, categories).to(self.device)

    def _tensors(self) -> dict[str, Tensor]:
        tensors: dict[str, Tensor] = dict(self.network.named_parameters())
        if self.network.vae is not None:
            tensors["item_order"] = self.network.vae.item_order
            tensors["category_sizes"] = torch.tensor(self.network.vae.sizes)
        return tensors

    def _restore(self, tensors: Mapping[str, Tensor], n_items: int) -> None:
        categories: NDArray[np.int64] | None = None
        learned = dict(tensors)
        if self.config.latent:
            order, sizes = learned.pop("item_order"), learned.pop("category_sizes")
            categories = np.empty(n_items, dtype=np.int64)
            categories[order.numpy()] = np.repeat(np.arange(len(sizes)), sizes.numpy())
        self.network = self._network(n_items, categories)
        with torch.no_grad():
            for name, parameter in self.network.named_parameters():
                parameter.copy_(learned[name])


def _peak_of_scores(network: DiffRecNetwork, n_users: int, n_items: int) -> int:
    """Bytes beside the weights: of a step, or of a batch in validation with the sampler's table."""
    config, latent = network.config, network.vae is not None
    training = _LATENT_TRAINING_SCORE_BYTES if latent else _TRAINING_SCORE_BYTES
    scoring = _SCORE_BYTES if latent or network.in_hidden_space else _ITEM_SPACE_SCORE_BYTES
    table = 4 * network.denoiser.first.weight.numel() if network.in_hidden_space else 0
    return max(
        training * n_items * min(n_users, config.batch_size),
        scoring * n_items * min(n_users, config.score_batch_size) + table,
    )
