"""Mult-VAE and Mult-DAE in training."""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn
from torch.optim import Adam, Optimizer

from diffrec_core.data.batches import shuffled_batches
from diffrec_core.models.autoencoder.config import AutoencoderConfig
from diffrec_core.models.autoencoder.network import AutoencoderNetwork
from diffrec_core.nn.denoising import reweighing
from diffrec_core.nn.sparse_rows import SparseRows
from diffrec_core.nn.variational import annealed
from diffrec_core.training.epoch import Epoch


class AutoencoderProgram:
    """The training of one network (see `training.trainer.TrainingProgram`).

    Args:
        network: what is trained.
        rows: every user's weighted history, on the network's device.
        config: learning rate, batches and the weight of the KL divergence.
        seed: of the order of users.
        validation: measures recall@20, or returns None.
    """

    def __init__(
        self,
        network: AutoencoderNetwork,
        rows: SparseRows,
        config: AutoencoderConfig,
        *,
        seed: int,
        validation: Callable[[], float | None],
    ) -> None:
        self.network, self.rows, self.config, self.seed = network, rows, config, seed
        self.validate = validation
        self.module: nn.Module = network
        self.optimizers: Mapping[str, Optimizer] = {
            "autoencoder": Adam(
                network.parameters(), config.learning_rate, weight_decay=config.l2, fused=True
            )
        }

    def train_epoch(self, epoch: Epoch) -> None:
        """One pass over all users."""
        self.network.train()
        n_users, size = len(self.rows), self.config.batch_size
        batches = list(shuffled_batches(n_users, size, seed=self.seed, epoch=epoch.number))
        optimizer = self.optimizers["autoencoder"]
        for step in epoch.steps(len(batches)):
            users = torch.from_numpy(batches[step])[epoch.share(len(batches[step]))]
            batch = self.rows.take(users.to(self.rows.items.device))
            loss = self._losses(batch, (epoch.number - 1) * len(batches) + step).mean()
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            epoch.average(loss)
            optimizer.step()

    def _losses(self, batch: SparseRows, step: int) -> Tensor:
        """(B,) in a step that is counted over all epochs."""
        kl_weight = annealed(*self.config.kl_schedule, step) if self.config.kl_schedule else 0.0
        return self.network.losses(batch, kl_weight, reweighing(self.config.denoising, step))
