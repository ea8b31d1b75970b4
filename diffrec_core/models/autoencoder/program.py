"""Mult-VAE and Mult-DAE in training."""

from collections.abc import Callable, Iterator

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


class AutoencoderProgram(BatchProgram):
    """The training of one network.

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
        adam = Adam(network.parameters(), config.learning_rate, weight_decay=config.l2, fused=True)
        super().__init__(
            network,
            {"autoencoder": adam},
            n_rows=len(rows),
            batch_size=config.batch_size,
            seed=seed,
            validation=validation,
        )
        self.network, self.rows, self.config = network, rows, config

    def losses(self, rows: NDArray[np.int64], epoch: Epoch) -> Iterator[Tensor]:
        """Negative log-likelihood of the users' histories, and the KL divergence of their codes."""
        batch = self.rows.take(torch.from_numpy(rows[epoch.share(len(rows))]))
        step, schedule = epoch.steps_since_start, self.config.kl_schedule
        kl_weight = annealed(*schedule, step) if schedule else 0.0
        reweigh = reweighing(self.config.denoising, step)
        yield self.network.losses(batch, kl_weight, reweigh).mean()
