"""Sampling of training timesteps: uniform, or in proportion to the size of their losses.

Importance sampling (paper, section 3.2, after Nichol & Dhariwal 2021, section 3.3):
p_t ∝ √E[L_t²] over the last losses of each t. A sample's loss divided by p_t · T keeps the
expected loss that of uniform sampling.
"""

from typing import Literal, Protocol

import torch
from pydantic import Field
from torch import Tensor, nn

from diffrec_core.common.config import Config


class TimestepSamplerConfig(Config):
    """How training timesteps are drawn."""

    timestep_sampling: Literal["importance", "uniform"] = "importance"

    loss_history_length: int = Field(default=10, ge=1)
    """How many recent losses of each t count; sampling is uniform until all have that many."""

    uniform_share: float = Field(default=0.001, ge=0.0, le=1.0)
    """Share of the probability that is spread evenly, so that no t is ever starved."""


class Timesteps(Protocol):
    """The interface of `TimestepSampler`."""

    def sample(self, batch_size: int) -> tuple[Tensor, Tensor]:
        """Draw `batch_size` timesteps; return them and by what to divide their losses."""

    def update(self, t: Tensor, losses: Tensor) -> None:
        """Remember losses."""


class TimestepSampler(nn.Module):
    """Draws timesteps out of T and remembers their losses.

    The history is a buffer, so that it is saved in checkpoints and moves with `.to()`.
    """

    loss_history: Tensor
    """(T, H) float64, a ring of the last H losses of each t."""
    loss_count: Tensor
    """(T,) int64, losses seen so far."""

    def __init__(self, steps: int, config: TimestepSamplerConfig) -> None:
        super().__init__()
        self.steps = steps
        self.config = config
        history = torch.zeros(steps, config.loss_history_length, dtype=torch.float64)
        self.register_buffer("loss_history", history)
        self.register_buffer("loss_count", torch.zeros(steps, dtype=torch.long))

    def probabilities(self) -> Tensor:
        """(T,) float64: the current probability of each t."""
        uniform = torch.full_like(self.loss_history[:, 0], 1.0 / self.steps)
        if self.config.timestep_sampling == "uniform":
            return uniform
        size = self.loss_history.square().mean(dim=1).sqrt()
        total = size.sum()
        share = self.config.uniform_share
        by_size = (1.0 - share) * size / total + share * uniform
        # No branch on values, which would make a GPU wait. Until all t are warm, and when every
        # loss is exactly 0, nothing tells the steps apart.
        warm = (self.loss_count >= self.config.loss_history_length).all()
        return torch.where(warm & (total > 0), by_size, uniform)

    def sample(self, batch_size: int) -> tuple[Tensor, Tensor]:
        """Draw timesteps.

        Returns:
            t: (B,) int64 in [0, T).
            importance: (B,) float32, p_t · T, by which to divide the loss; 1 when uniform.
        """
        probabilities = self.probabilities()
        t = torch.multinomial(probabilities, batch_size, replacement=True)
        return t, (probabilities[t] * self.steps).to(torch.float32)

    @torch.no_grad()
    def update(self, t: Tensor, losses: Tensor) -> None:
        """Remember losses, in the order of the batch; the last H of each t stay.

        Args:
            t: (B,) timesteps as drawn.
            losses: (B,) their losses, before the division by p_t · T.
        """
        length = self.config.loss_history_length
        t_sorted, order = torch.sort(t, stable=True)
        counts = torch.bincount(t, minlength=self.steps)
        starts = torch.cumsum(counts, 0) - counts
        place = torch.arange(len(t), device=t.device) - starts[t_sorted]
        last = place >= counts[t_sorted] - length
        slot = (self.loss_count[t_sorted] + place) % length
        values = losses[order].to(torch.float64)
        self.loss_history[t_sorted[last], slot[last]] = values[last]
        self.loss_count += counts
