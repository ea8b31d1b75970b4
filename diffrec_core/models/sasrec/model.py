"""SASRec: what comes next, by self-attention over the last items of a history in time order.

Source: Kang & McAuley, "Self-Attentive Sequential Recommendation", ICDM 2018 (arXiv 1808.09781).
The paper's loss compares each item with one negative; cross entropy over all items, or many, is
what makes the model strong (Klenitskiy & Vasilev, "Turning Dross Into Gold Loss", RecSys 2023;
Petrov & Macdonald, "gSASRec", RecSys 2023), hence the default here.
"""

from collections.abc import Mapping
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from diffrec_core.common.errors import DataError
from diffrec_core.data.histories import Histories
from diffrec_core.models.base import ModelConfig, Recommender, TrainingData
from diffrec_core.models.sasrec.config import SasRecConfig
from diffrec_core.models.sasrec.network import SasRecNetwork
from diffrec_core.models.sasrec.program import SasRecProgram
from diffrec_core.models.sasrec.windows import Padded, newest
from diffrec_core.training.seeding import torch_seed
from diffrec_core.training.trainer import TrainingOptions, TrainingReport, train

_SCORED_CELLS = 1 << 22
"""Of attention at a time when histories are scored: 16 MiB a head; does not change results."""


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

    def _score(self, histories: Histories) -> Tensor:
        self.network.eval()
        length, parts = self.config.max_length, []
        count = max(1, _SCORED_CELLS // length**2)
        for start in range(0, len(histories), count):
            rows = np.arange(start, min(start + count, len(histories)))
            windows = newest(histories.take(rows), length)
            batch = Padded.from_histories(windows, self.input_weights(windows), self.device)
            parts.append(self.network(batch)[:, -1] @ self.network.items.T)
        return torch.cat(parts)

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
