"""SASRec in training."""

from collections.abc import Callable, Iterator
from typing import Literal, Self

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field, model_validator
from torch import Tensor
from torch.optim import Adam

from diffrec_core.common.rng import generator
from diffrec_core.data.histories import Histories
from diffrec_core.models.sasrec.losses import (
    binary_loss,
    sampled_softmax_loss,
    softmax_loss,
)
from diffrec_core.models.sasrec.network import SasRecNetwork
from diffrec_core.models.sasrec.windows import Padded, cut
from diffrec_core.nn.denoising import DenoisingConfig, Reweigh, reweighing
from diffrec_core.nn.negatives import NegativeSampler, pair_scores
from diffrec_core.training.batch_program import BatchProgram
from diffrec_core.training.epoch import Epoch
from diffrec_core.training.trainer import TrainingConfig


class SequenceTrainingConfig(TrainingConfig):
    """What is read, and how it is learned from."""

    max_length: int = Field(default=50, ge=1)
    """Newest entries of a history that are read; in training, histories are cut into so many."""

    loss: Literal["softmax", "bce"] = "softmax"
    """`softmax`: cross entropy of the next item among all, or among `negatives`; `bce`: the
    paper's, binary cross entropy of the next item against items that the user does not have."""

    negatives: int | None = Field(default=None, ge=1)
    """softmax: items drawn for each step, null: all items; bce: for each entry, null: 1."""

    denoising: DenoisingConfig = DenoisingConfig()
    """bce: whether next items that are unlikely count less (see `training.denoising`)."""

    batch_size: int = Field(default=128, ge=1)
    """Windows of histories per step."""

    learning_rate: float = Field(default=1e-3, gt=0.0)
    """Adam's."""

    @model_validator(mode="after")
    def _denoising_needs_bce(self) -> Self:
        if self.denoising.kind != "none" and self.loss != "bce":
            raise ValueError(
                f"denoising.kind = {self.denoising.kind} needs loss = bce, which has a term for "
                f"each interaction"
            )
        return self


class SasRecProgram(BatchProgram):
    """Network, windows of histories and optimizer.

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
        config: SequenceTrainingConfig,
        *,
        weights: Callable[[Histories], NDArray[np.float32]],
        seed: int,
        validation: Callable[[], float | None],
    ) -> None:
        self.network, self.config, self.weights = network, config, weights
        self.windows = cut(histories, config.max_length)
        self.users = _users_of_windows(histories, config.max_length)
        self.device = network.items.device
        self.sampler = NegativeSampler(histories, len(network.items))
        super().__init__(
            network,
            {"network": Adam(network.parameters(), lr=config.learning_rate, fused=True)},
            n_rows=len(self.windows),
            batch_size=config.batch_size,
            seed=seed,
            validation=validation,
        )

    def losses(self, rows: NDArray[np.int64], epoch: Epoch) -> Iterator[Tensor]:
        """Mean over the batch's entries; processes share its windows, which differ in length."""
        part = rows[epoch.share(len(rows))]
        entries_per_window = (self.windows.lengths[rows] - 1).mean()
        windows = self.windows.take(part)
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


def _users_of_windows(histories: Histories, length: int) -> NDArray[np.int64]:
    """The row that each window of `cut` comes from."""
    counts = -(-np.maximum(histories.lengths - 1, 0) // length)
    return np.repeat(np.arange(len(histories)), counts)
