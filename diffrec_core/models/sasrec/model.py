"""SASRec: what comes next, by self-attention over the last items of a history in time order.

Source: Kang & McAuley, "Self-Attentive Sequential Recommendation", ICDM 2018 (arXiv 1808.09781).
The paper's loss compares each item with one negative; cross entropy over all items, or many, is
what makes the model strong (Klenitskiy & Vasilev, "Turning Dross Into Gold Loss", RecSys 2023;
Petrov & Macdonald, "gSASRec", RecSys 2023), hence the default here.
"""

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, Literal, Self

import numpy as np
import torch
from pydantic import Field, model_validator
from torch import Tensor

from diffrec_core.common.errors import DataError
from diffrec_core.common.trial import Trial
from diffrec_core.data.histories import Histories
from diffrec_core.models.base import ModelConfig, Recommender, TrainingData
from diffrec_core.models.sasrec.network import SasRecNetwork
from diffrec_core.models.sasrec.program import SasRecProgram, SequenceTrainingConfig
from diffrec_core.models.sasrec.windows import Padded, newest
from diffrec_core.nn.denoising import suggest_denoising
from diffrec_core.training.seeding import torch_seed
from diffrec_core.training.trainer import TrainingOptions, TrainingReport, train

_SCORED_CELLS = 1 << 22
"""Of attention at a time when histories are scored: 16 MiB a head; does not change results."""


class SasRecConfig(ModelConfig, SequenceTrainingConfig):
    """Size of the network, and how it is trained."""

    kind: Literal["sasrec"] = "sasrec"

    embedding_dim: int = Field(default=64, ge=1)
    """D, of items, positions and hidden layers."""

    blocks: int = Field(default=2, ge=1)
    """Of self-attention, each followed by a network for each entry."""

    heads: int = Field(default=1, ge=1)
    """Of each block; a divisor of embedding_dim."""

    dropout: float = Field(default=0.2, ge=0.0, lt=1.0)
    """On the input and on what each part of a block adds; not on attention weights."""

    @model_validator(mode="after")
    def _heads_divide(self) -> Self:
        if self.embedding_dim % self.heads:
            raise ValueError(
                f"heads = {self.heads} must divide embedding_dim = {self.embedding_dim}"
            )
        return self

    def suggest(self, trial: Trial) -> dict[str, Any]:
        """Add what is read, size and optimisation."""
        return {
            **super().suggest(trial),
            **(suggest_denoising(trial) if self.loss == "bce" else {}),
            "max_length": trial.suggest_categorical("max_length", (20, 50, 100, 200)),
            "embedding_dim": trial.suggest_categorical("embedding_dim", (32, 64, 128)),
            "blocks": trial.suggest_int("blocks", 1, 3),
            "dropout": trial.suggest_float("dropout", 0.0, 0.5),
            "learning_rate": trial.suggest_float("learning_rate", 3e-4, 1e-2, log=True),
        }


class SasRec(Recommender):
    """Scores by the hidden state of a history's newest item · item embeddings.

    Recency, and the weights of interactions, enter the attention: an entry of weight w counts
    there like w entries, in training (within each window) as in scoring. Memory: five copies of
    the weights, and of a batch the activations of every block and the attention, length squared.
    """

    Config: ClassVar[type[ModelConfig]] = SasRecConfig
    reads_order = True
    config: SasRecConfig
    network: SasRecNetwork

    def _fit(self, data: TrainingData, options: TrainingOptions) -> TrainingReport:
        if not (data.histories.lengths > 1).any():
            raise DataError("sasrec learns what comes next: no history has two interactions")
        n_items = len(data.items)
        with torch_seed(options.seed, "initialise"):
            self.network = self._network(n_items)
        program = SasRecProgram(
            self.network,
            data.histories,
            self.config,
            weights=self.input_weights,
            seed=options.seed,
            validation=lambda: self.validate(data.validation),
        )
        return train(program, self.config, options)

    @torch.no_grad()
    def _score(self, histories: Histories) -> Tensor:
        self.network.eval()
        return torch.cat(
            [self._last_hidden(part) @ self.network.items.T for part in self._parts(histories)]
        )

    def _parts(self, histories: Histories) -> Iterator[Histories]:
        """What is read of the histories, some at a time."""
        count = max(1, _SCORED_CELLS // self.config.max_length**2)
        for start in range(0, len(histories), count):
            rows = np.arange(start, min(start + count, len(histories)))
            yield newest(histories.take(rows), self.config.max_length)

    def _last_hidden(self, windows: Histories) -> Tensor:
        batch = Padded.from_histories(windows, self.input_weights(windows), self.device)
        last_BD: Tensor = self.network(batch)[:, -1]
        return last_BD

    def _network(self, n_items: int) -> SasRecNetwork:
        config = self.config
        return SasRecNetwork(
            n_items,
            max_length=config.max_length,
            dim=config.embedding_dim,
            blocks=config.blocks,
            heads=config.heads,
            dropout=config.dropout,
        ).to(self.device)

    def _tensors(self) -> dict[str, Tensor]:
        return dict(self.network.named_parameters())

    def _restore(self, tensors: Mapping[str, Tensor], n_items: int) -> None:
        self.network = self._network(n_items)
        self.network.load_state_dict(dict(tensors))
