"""DiffRec and its variants in training."""

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.optim import AdamW

from diffrec_core.diffusion.timestep_sampler import TimestepSampler
from diffrec_core.models.diffrec.config import DiffRecConfig
from diffrec_core.models.diffrec.network import DiffRecNetwork
from diffrec_core.nn.denoising import reweighing
from diffrec_core.nn.sparse_rows import SparseRows
from diffrec_core.nn.variational import annealed
from diffrec_core.training.batch_program import BatchProgram
from diffrec_core.training.epoch import Epoch


class DiffRecProgram(BatchProgram[DiffRecNetwork, SparseRows, DiffRecConfig]):
    """One network and every user's weighted history."""

    def make_optimizers(self) -> dict[str, AdamW]:
        """Return AdamW for the denoiser, and for the autoencoders if latent."""
        config = self.config
        parts: dict[str, tuple[nn.Module, float]] = {
            "denoiser": (self.network.denoiser, config.learning_rate)
        }
        if self.network.vae is not None:
            parts["vae"] = (self.network.vae, config.vae_learning_rate)
        return {
            name: AdamW(part.parameters(), rate, weight_decay=config.weight_decay, fused=True)
            for name, (part, rate) in parts.items()
        }

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


class SharedTimesteps:
    """A timestep sampler for this process's share of a batch that several compute together.

    Timesteps are drawn for the whole batch, from the same seed in every process, and the losses
    of the whole batch are remembered: the processes' samplers stay equal.

    Args:
        epoch: the epoch under way.
        sampler: whose probabilities and history are used.
    """

    def __init__(self, epoch: Epoch, sampler: TimestepSampler) -> None:
        self._epoch, self._sampler = epoch, sampler
        self._t = torch.zeros(0, dtype=torch.long)

    def sample(self, batch_size: int) -> tuple[Tensor, Tensor]:
        """Draw for the `batch_size` rows of this process; see `TimestepSampler.sample`."""
        with self._epoch.common_seed("timesteps"):
            self._t, importance = self._sampler.sample(self._epoch.batch_rows)
        part = self._epoch.part
        return self._t[part], importance[part]

    def update(self, t: Tensor, losses: Tensor) -> None:
        """Remember the losses of this process and all others; see `TimestepSampler.update`."""
        self._sampler.update(self._t, self._epoch.whole(losses))
