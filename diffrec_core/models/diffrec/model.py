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
from diffrec_core.training.seeding import torch_seed
from diffrec_core.training.trainer import TrainingOptions, TrainingReport, train


class DiffRec(Recommender):
    """Recover a user's interactions from a noisy copy of them; what appears is recommended.

    Memory: five copies of the weights, and of the users of a batch times all items six float32
    tensors in training (four if latent) or two to eight in validation.
    """

    Config: ClassVar[type[ModelConfig]] = DiffRecConfig
    config: DiffRecConfig
    network: DiffRecNetwork

    @property
    def needs_item_clusters(self) -> bool:  # type: ignore[override]
        """Latent variants group items by cluster."""
        return self.config.latent

    def _fit(self, data: TrainingData, options: TrainingOptions) -> TrainingReport:
        warn_of_emulation(self.config.precision, options.device)
        with torch_seed(options.seed, "initialise"):
            self.network = self._network(len(data.items), data.item_clusters)
        if options.compile:
            self.network.compile_denoiser()
        program = DiffRecProgram(
            self.network,
            self.input_rows(data.histories, with_recency=self.config.recency_in_training),
            self.config,
            seed=options.seed,
            validation=lambda: self.validate(
                data.validation, batch_size=self.config.score_batch_size
            ),
        )
        return train(program, self.config, options)

    def _score(self, histories: Histories) -> Tensor:
        self.network.eval()
        return self.network.recover(self.input_rows(histories))

    def _network(self, n_items: int, clusters: NDArray[np.int64] | None) -> DiffRecNetwork:
        return DiffRecNetwork(self.config, n_items, clusters).to(self.device)

    def _tensors(self) -> dict[str, Tensor]:
        tensors: dict[str, Tensor] = dict(self.network.named_parameters())
        if self.network.vae is not None:
            tensors["item_order"] = self.network.vae.item_order
            tensors["category_sizes"] = torch.tensor(self.network.vae.sizes)
        return tensors

    def _restore(self, tensors: Mapping[str, Tensor], n_items: int) -> None:
        clusters: NDArray[np.int64] | None = None
        learned = dict(tensors)
        if self.config.latent:
            order, sizes = learned.pop("item_order"), learned.pop("category_sizes")
            clusters = np.empty(n_items, dtype=np.int64)
            clusters[order.numpy()] = np.repeat(np.arange(len(sizes)), sizes.numpy())
        self.network = self._network(n_items, clusters)
        with torch.no_grad():
            for name, parameter in self.network.named_parameters():
                parameter.copy_(learned[name])
