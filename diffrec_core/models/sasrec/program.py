"""SASRec in training."""

from collections.abc import Callable, Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.optim import Adam

from diffrec_core.common.rng import generator
from diffrec_core.data.histories import Histories
from diffrec_core.models.sasrec.config import SasRecConfig
from diffrec_core.models.sasrec.losses import (
    binary_loss,
    sampled_softmax_loss,
    softmax_loss,
)
from diffrec_core.models.sasrec.network import SasRecNetwork
from diffrec_core.models.sasrec.windows import Padded, cut, rows_of_windows
from diffrec_core.nn.denoising import Reweigh, reweighing
from diffrec_core.nn.negatives import NegativeSampler, pair_scores
from diffrec_core.training.batch_program import BatchProgram
from diffrec_core.training.epoch import Epoch


class SasRecProgram(BatchProgram[SasRecNetwork, Histories, SasRecConfig]):
    """A network and windows of every user's history.

    Args:
        network: what is trained.
        histories: every user's.
        config: cutting, loss and optimisation.
        weights: gives the (N,) weights of a batch of windows.
        seed: of shuffling and negatives.
        validation: measures recall@20, or returns None.
    """

    def __init__(
        self,
        network: SasRecNetwork,
        histories: Histories,
        config: SasRecConfig,
        *,
        weights: Callable[[Histories], NDArray[np.float32]],
        seed: int,
        validation: Callable[[], float | None],
    ) -> None:
        windows = cut(histories, config.max_length)
        super().__init__(network, windows, config, seed=seed, validation=validation)
        self.weights, self.device = weights, network.items.device
        self.users = rows_of_windows(histories, config.max_length)
        self.sampler = NegativeSampler(histories, len(network.items))

    def make_optimizers(self) -> dict[str, Adam]:
        """Return Adam for all parameters."""
        rate = self.config.learning_rate
        return {"network": Adam(self.network.parameters(), lr=rate, fused=True)}

    def losses(self, rows: NDArray[np.int64], epoch: Epoch) -> Iterator[Tensor]:
        """Mean over the batch's entries; processes share its windows, which differ in length."""
        part = rows[epoch.share(len(rows))]
        entries_per_window = (self.rows.lengths[rows] - 1).mean()
        windows = self.rows.take(part)
        batch = Padded.from_histories(windows, self.weights(windows), self.device)
        before, targets_N = batch.split_last()
        hidden_ND = self.network(before)[before.filled]
        rng = generator(self.seed, "negatives", epoch.number, epoch.steps_done)
        if self.config.loss == "bce":
            users = self.users[part].repeat(windows.lengths - 1)
            reweigh = reweighing(self.config.denoising, epoch.steps_since_start)
            total = self._binary(hidden_ND, targets_N, users, rng, reweigh)
        else:
            total = self._softmax(hidden_ND, targets_N, rng)
        yield total / (entries_per_window * len(part))

    def _softmax(self, hidden_ND: Tensor, targets_N: Tensor, rng: np.random.Generator) -> Tensor:
        items_ID, count = self.network.items, self.config.negatives
        if count is None:
            return softmax_loss(hidden_ND, items_ID, targets_N)
        negatives = torch.from_numpy(rng.integers(len(items_ID), size=count)).to(self.device)
        return sampled_softmax_loss(hidden_ND, items_ID, targets_N, negatives)

    def _binary(
        self,
        hidden_ND: Tensor,
        targets_N: Tensor,
        users_N: NDArray[np.int64],
        rng: np.random.Generator,
        reweigh: Reweigh | None,
    ) -> Tensor:
        drawn = self.sampler.draw(users_N, self.config.negatives or 1, rng)
        negatives_NK = torch.from_numpy(drawn).to(self.device)
        items_NK = torch.cat([targets_N[:, None], negatives_NK], dim=1)
        return binary_loss(pair_scores(hidden_ND, self.network.items, items_NK), reweigh)
