"""Timesteps for a batch that several processes compute together."""

import torch
from torch import Tensor

from diffrec_core.diffusion.timestep_sampler import TimestepSampler
from diffrec_core.training.epoch import Epoch


class SharedTimesteps:
    """A timestep sampler for the part of a step's batch that this process computes.

    Timesteps are drawn for the whole batch, from the same seed in every process, and the losses
    of the whole batch are remembered: so all processes' samplers are, and stay, equal.

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
