"""IRGAN: a generator of items, taught by a discriminator through policy gradients.

Source: Wang et al., "IRGAN: A Minimax Game for Unifying Generative and Discriminative Information
Retrieval Models", SIGIR 2017 (arXiv 1705.10513), sections 2 and 4.2. The generator is what
recommends; the discriminator goes when training ends.
"""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from diffrec_core.common.trial import Trial
from diffrec_core.data.histories import Histories
from diffrec_core.models.base import ModelConfig, Recommender, TrainingData
from diffrec_core.models.irgan.discriminator import Discriminator
from diffrec_core.models.irgan.generator import Generator
from diffrec_core.models.irgan.program import (
    AdversarialTrainingConfig,
    Game,
    IrganProgram,
)
from diffrec_core.training.seeding import torch_seed
from diffrec_core.training.trainer import TrainingOptions, TrainingReport, train


class IrganConfig(ModelConfig, AdversarialTrainingConfig):
    """Size of both players, and their training."""

    kind: Literal["irgan"] = "irgan"

    embedding_dim: int = Field(default=64, ge=1)
    """D, of the generator."""

    discriminator_dim: int = Field(default=16, ge=1)
    """Of the discriminator's users and items."""

    dropout: float = Field(default=0.5, ge=0.0, lt=1.0)
    """Share of a history's entries that are hidden from the generator in training."""

    def suggest(self, trial: Trial) -> dict[str, Any]:
        """Add sizes, the game and optimisation."""
        return {
            **super().suggest(trial),
            "embedding_dim": trial.suggest_categorical("embedding_dim", (32, 64, 128, 256)),
            "discriminator_dim": trial.suggest_categorical("discriminator_dim", (8, 16, 32, 64)),
            "dropout": trial.suggest_float("dropout", 0.2, 0.8),
            "pretrain_epochs": trial.suggest_int("pretrain_epochs", 5, 80, log=True),
            "samples": trial.suggest_categorical("samples", (8, 32, 128)),
            "reward": trial.suggest_categorical("reward", ("log", "sigmoid")),
            "learning_rate": trial.suggest_float("learning_rate", 1e-4, 1e-2, log=True),
            "discriminator_learning_rate": trial.suggest_float(
                "discriminator_learning_rate", 1e-3, 1e-1, log=True
            ),
        }


class Irgan(Recommender):
    """Scores by the generator: ln p(item | history), but for a constant.

    Recency weighs the history that the generator sees, in training as in scoring; the items that
    it is to generate count the same. Memory: five copies of both players' vectors, and six times
    a chunk of scores.
    """

    Config: ClassVar[type[ModelConfig]] = IrganConfig
    config: IrganConfig
    generator: Generator

    def _fit(self, data: TrainingData, options: TrainingOptions) -> TrainingReport:
        n_users, n_items = len(data.histories), len(data.items)
        with torch_seed(options.seed, "initialise"):
            self.generator = self._generator(n_items)
            discriminator = Discriminator(n_users, n_items, self.config.discriminator_dim)
        program = IrganProgram(
            Game(self.generator, discriminator.to(self.device)),
            self.input_rows(data.histories),
            self.config,
            seed=options.seed,
            validation=lambda: self.validate(data.validation),
        )
        return train(program, self.config, options)

    @torch.no_grad()
    def _score(self, histories: Histories) -> Tensor:
        self.generator.eval()
        scores_BI: Tensor = self.generator(self.input_rows(histories))
        return scores_BI

    def _generator(self, n_items: int) -> Generator:
        config = self.config
        return Generator(n_items, config.embedding_dim, config.dropout).to(self.device)

    def _tensors(self) -> dict[str, Tensor]:
        return dict(self.generator.named_parameters())

    def _restore(self, tensors: Mapping[str, Tensor], n_items: int) -> None:
        self.generator = self._generator(n_items)
        self.generator.load_state_dict(dict(tensors))
