"""The family in training."""

from collections.abc import Callable, Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.optim import AdamW

from diffrec_core.models.diffrec.config import DiffRecConfig
from diffrec_core.models.diffrec.network import DiffRecNetwork
from diffrec_core.models.diffrec.shared_timesteps import SharedTimesteps
from diffrec_core.nn.denoising import reweighing
from diffrec_core.nn.sparse_rows import SparseRows
from diffrec_core.nn.variational import annealed
from diffrec_core.training.batch_program import BatchProgram
from diffrec_core.training.epoch import Epoch


class DiffRecProgram(BatchProgram):
    """One network and every user's history.

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
        parts: dict[str, tuple[nn.Module, float]] = {
            "denoiser": (network.denoiser, config.learning_rate)
        }
        if network.vae is not None:
            parts["vae"] = (network.vae, config.vae_learning_rate)
        super().__init__(
            network,
            {
                name: AdamW(part.parameters(), rate, weight_decay=config.weight_decay, fused=True)
                for name, (part, rate) in parts.items()
            },
            n_rows=len(rows),
            batch_size=config.batch_size,
            seed=seed,
            validation=validation,
        )
        self.network, self.rows, self.config = network, rows, config

    def losses(self, rows: NDArray[np.int64], epoch: Epoch) -> Iterator[Tensor]:
        """Diffusion alone, or with the autoencoder's likelihood if latent."""
        step, config = epoch.steps_since_start, self.config
        yield self.network.losses(
            self.rows.take(torch.from_numpy(rows[epoch.share(len(rows))])),
            diffusion_weight=self._diffusion_weight(epoch.number),
            kl_weight=annealed(config.kl_weight_max, config.kl_weight_anneal_steps, step),
            timesteps=SharedTimesteps(epoch, self.network.sampler),
            reweigh=reweighing(config.denoising, step),
        ).mean()

    def _diffusion_weight(self, epoch: int) -> float:
        config, share = self.config, 1.0
        if config.diffusion_loss_weight_anneal_epochs:
            share -= (epoch - 1) / config.diffusion_loss_weight_anneal_epochs
        return max(share * config.diffusion_loss_weight, config.diffusion_loss_weight_floor)
