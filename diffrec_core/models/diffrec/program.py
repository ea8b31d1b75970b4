"""The family in training."""

from collections.abc import Callable, Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.optim import AdamW, Optimizer

from diffrec_core.data.batches import shuffled_batches
from diffrec_core.models.diffrec.config import DiffRecConfig
from diffrec_core.models.diffrec.network import DiffRecNetwork
from diffrec_core.models.diffrec.shared_timesteps import SharedTimesteps
from diffrec_core.nn.denoising import reweighing
from diffrec_core.nn.sparse_rows import SparseRows
from diffrec_core.nn.variational import annealed
from diffrec_core.training.epoch import Epoch


class DiffRecProgram:
    """One network, its optimizers and its data (see `training.trainer.TrainingProgram`).

    Args:
        network: what is trained.
        rows: every user's weighted history, on the network's device.
        config: learning rates, batches and loss weights.
        seed: of the order of users.
        validation: measures recall@20, or returns None.
    """

    def __init__(
        self,
        network: DiffRecNetwork,
        rows: SparseRows,
        config: DiffRecConfig,
        *,
        seed: int,
        validation: Callable[[], float | None],
    ) -> None:
        self.network, self.rows, self.config, self.seed = network, rows, config, seed
        self.validate = validation
        self.module: nn.Module = network
        self.optimizers: Mapping[str, Optimizer] = {
            "denoiser": self._optimizer(network.denoiser, config.learning_rate)
        }
        if network.vae is not None:
            vae = self._optimizer(network.vae, config.vae_learning_rate)
            self.optimizers = {**self.optimizers, "vae": vae}

    def _optimizer(self, module: nn.Module, learning_rate: float) -> AdamW:
        return AdamW(
            module.parameters(), lr=learning_rate, weight_decay=self.config.weight_decay, fused=True
        )

    def train_epoch(self, epoch: Epoch) -> None:
        """One pass over all users."""
        self.network.train()
        n_users, size = len(self.rows), self.config.batch_size
        batches = list(shuffled_batches(n_users, size, seed=self.seed, epoch=epoch.number))
        for step in epoch.steps(len(batches)):
            users = batches[step]
            loss = self._loss(self._rows(users[epoch.share(len(users))]), epoch, step)
            self.network.zero_grad()  # of all optimizers at once
            loss.backward()  # type: ignore[no-untyped-call]
            epoch.average(loss)
            for optimizer in self.optimizers.values():
                optimizer.step()

    def _rows(self, users: NDArray[np.int64]) -> SparseRows:
        return self.rows.take(torch.from_numpy(users).to(self.rows.items.device))

    def _loss(self, batch: SparseRows, epoch: Epoch, step: int) -> Tensor:
        steps_before = (epoch.number - 1) * -(-len(self.rows) // self.config.batch_size)
        return self.network.losses(
            batch,
            diffusion_weight=self._diffusion_weight(epoch.number),
            kl_weight=annealed(
                self.config.kl_weight_max, self.config.kl_weight_anneal_steps, steps_before + step
            ),
            timesteps=SharedTimesteps(epoch, self.network.sampler),
            reweigh=reweighing(self.config.denoising, steps_before + step),
        ).mean()

    def _diffusion_weight(self, epoch: int) -> float:
        config, share = self.config, 1.0
        if config.diffusion_loss_weight_anneal_epochs:
            share -= (epoch - 1) / config.diffusion_loss_weight_anneal_epochs
        return max(share * config.diffusion_loss_weight, config.diffusion_loss_weight_floor)
