"""Mult-VAE and Mult-DAE in training."""

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.optim import Adam

from diffrec_core.models.autoencoder.config import AutoencoderConfig
from diffrec_core.models.autoencoder.network import AutoencoderNetwork
from diffrec_core.nn.denoising import reweighing
from diffrec_core.nn.sparse_rows import SparseRows
from diffrec_core.nn.variational import annealed
from diffrec_core.training.batch_program import BatchProgram
from diffrec_core.training.epoch import Epoch


class AutoencoderProgram(BatchProgram[AutoencoderNetwork, SparseRows, AutoencoderConfig]):
    """One network and every user's weighted history."""

    def make_optimizers(self) -> dict[str, Adam]:
        """Return Adam for all parameters."""
        rate, l2 = self.config.learning_rate, self.config.l2
        adam = Adam(self.network.parameters(), rate, weight_decay=l2, fused=True)
        return {"autoencoder": adam}

    def losses(self, rows: NDArray[np.int64], epoch: Epoch) -> Iterator[Tensor]:
        """Negative log-likelihood of the users' histories, and the KL divergence of their codes."""
        batch = self.rows.take(torch.from_numpy(rows[epoch.share(len(rows))]))
        step, schedule = epoch.steps_since_start, self.config.kl_schedule
        kl_weight = annealed(*schedule, step) if schedule else 0.0
        reweigh = reweighing(self.config.denoising, step)
        yield self.network.losses(batch, kl_weight, reweigh).mean()
