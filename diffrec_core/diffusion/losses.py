"""The diffusion loss: the terms of the evidence lower bound, weighted or not."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from diffrec_core.diffusion.gaussian import (
    Denoise,
    DiffusionConfig,
    GaussianDiffusion,
    schedule_tables,
)
from diffrec_core.diffusion.noise_schedule import noise_betas
from diffrec_core.diffusion.timestep_sampler import Timesteps, TimestepSamplerConfig

SquaredError = Callable[[Tensor, Tensor], Tensor]
"""Output and target, (B, D), to (B,)."""


class DiffusionLossConfig(DiffusionConfig, TimestepSamplerConfig):
    """All that shapes training: process, timestep sampling and weighting."""

    snr_weighting: bool = Field(default=True)
    """Weight each t as the lower bound does, by SNR(t-1) - SNR(t); off: every t counts 1."""


class DiffusionTerms(NamedTuple):
    """One batch's loss.

    Attributes:
        loss: (B,) divided by p_t · T, to be averaged and minimised.
        pred_x_start: (B, D), the network's estimate, which latent models decode.
    """

    loss: Tensor
    pred_x_start: Tensor


def loss_weights(config: DiffusionLossConfig) -> Tensor:
    """Weight of the squared error of each t in the lower bound.

    For x_start it is SNR(t-1) - SNR(t) (paper, eq. 11). For epsilon the same term is written in
    the noise: ‖x̂_0 - x_0‖² = ‖ε̂ - ε‖² (1 - ᾱ_t) / ᾱ_t, hence β_t / (α_t (1 - ᾱ_{t-1})). The
    first step is the reconstruction term (eq. 12), weight 1 on x_start. The factor ½ that all
    terms share is left out, and so is the sum over D in favour of the mean.

    Returns:
        (T,) float32; 1 throughout without SNR weighting, or when the process adds no noise.
    """
    snr = schedule_tables(noise_betas(config))["snr"]
    weights = np.ones_like(snr)
    if config.snr_weighting and np.isfinite(snr).all():
        weights[1:] = snr[:-1] - snr[1:]
        if config.prediction_target == "epsilon":
            weights = weights / snr
    return torch.from_numpy(weights).to(torch.float32)


def diffusion_loss(
    diffusion: GaussianDiffusion,
    sampler: Timesteps,
    denoise: Denoise,
    x_start: Tensor,
    *,
    weights: Tensor,
    squared_error: SquaredError | None = None,
) -> DiffusionTerms:
    """Draw timesteps and noise, predict, and weigh the squared error.

    Args:
        diffusion: the process.
        sampler: draws the timesteps; it is told their losses.
        denoise: the network.
        x_start: (B, D) clean inputs.
        weights: (T,), from `loss_weights`.
        squared_error: instead of `mean_squared_error`.
    """
    t, importance = sampler.sample(len(x_start))
    noise = torch.randn_like(x_start)
    x_t = diffusion.q_sample(x_start, t, noise)
    output = denoise(x_t, t)
    target = x_start if diffusion.config.prediction_target == "x_start" else noise
    loss = weights[t] * (squared_error or mean_squared_error)(output, target)
    sampler.update(t, loss.detach())
    return DiffusionTerms(loss / importance, diffusion.predict_x_start(x_t, t, output))


def mean_squared_error(output: Tensor, target: Tensor) -> Tensor:
    """(B,) mean over D of the squared difference, in float32; output and target are (B, D)."""
    return (output - target).square().mean(dim=1)  # of bfloat16 and float32: float32
