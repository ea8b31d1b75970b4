"""IRGAN: a generator of items, taught by a discriminator through policy gradients.

Source: Wang et al., SIGIR 2017 (arXiv 1705.10513), sections 2 and 4.2. The generator recommends;
the discriminator is dropped when training ends.
"""

from collections.abc import Mapping
from typing import ClassVar

from torch import Tensor

from diffrec_core.data.histories import Histories
from diffrec_core.models.base import ModelConfig, Recommender, TrainingData
from diffrec_core.models.irgan.config import IrganConfig
from diffrec_core.models.irgan.discriminator import Discriminator
from diffrec_core.models.irgan.generator import Generator
from diffrec_core.models.irgan.program import Game, IrganProgram
from diffrec_core.training.seeding import torch_seed
from diffrec_core.training.trainer import TrainingOptions, TrainingReport, train


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
