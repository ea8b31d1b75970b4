"""Mult-VAE and Mult-DAE: autoencoders of histories with a multinomial likelihood.

Source: Liang, Krishnan, Hoffman & Jebara, "Variational Autoencoders for Collaborative Filtering",
WWW 2018, section 2.2, and 2.3 for Mult-DAE (a code that is a point, without a prior).
"""

from collections.abc import Mapping
from typing import ClassVar

from torch import Tensor

from diffrec_core.data.histories import Histories
from diffrec_core.models.autoencoder.config import AutoencoderConfig, MultDaeConfig, MultVaeConfig
from diffrec_core.models.autoencoder.network import AutoencoderNetwork
from diffrec_core.models.autoencoder.program import AutoencoderProgram
from diffrec_core.models.base import ModelConfig, Recommender, TrainingData
from diffrec_core.training.seeding import torch_seed
from diffrec_core.training.trainer import TrainingOptions, TrainingReport, train


class Autoencoder(Recommender):
    """Scores by the logits of the multinomial that the history's code decodes to.

    Memory: five copies of the weights, and four times the scores of a batch of users.
    """

    Config: ClassVar[type[ModelConfig]] = AutoencoderConfig
    config: AutoencoderConfig
    network: AutoencoderNetwork

    def _fit(self, data: TrainingData, options: TrainingOptions) -> TrainingReport:
        with torch_seed(options.seed, "initialise"):
            self.network = AutoencoderNetwork(len(data.items), self.config).to(self.device)
        program = AutoencoderProgram(
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
        return self.network.scores(self.input_rows(histories))

    def _tensors(self) -> dict[str, Tensor]:
        return dict(self.network.named_parameters())

    def _restore(self, tensors: Mapping[str, Tensor], n_items: int) -> None:
        self.network = AutoencoderNetwork(n_items, self.config)
        self.network.load_state_dict(dict(tensors))
        self.network.to(self.device)


class MultVae(Autoencoder):
    """Draws a code from the history, in training; scores from the code's mean."""

    Config: ClassVar[type[ModelConfig]] = MultVaeConfig
    config: MultVaeConfig


class MultDae(Autoencoder):
    """Restores what is missing in a history; the restored one ranks."""

    Config: ClassVar[type[ModelConfig]] = MultDaeConfig
    config: MultDaeConfig
