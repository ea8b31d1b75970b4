"""The Gaussian diffusion process: q, which adds noise, and p, which a network learns to undo."""

from collections.abc import Callable
from typing import Literal, NamedTuple, Self

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field, model_validator
from torch import Tensor, nn

from diffrec_core.diffusion.noise_schedule import NoiseConfig, adds_noise, noise_betas

Denoise = Callable[[Tensor, Tensor], Tensor]
"""f_θ(x_t, t): (B, D) and (B,) to (B, D), an estimate of x_start or of the noise."""

Noise = Callable[[Tensor], Tensor]
"""Like (B, D): standard normal draws of its type, (B, D), or (1, D) for all rows alike."""


class DiffusionConfig(NoiseConfig):
    """The forward process, what the network predicts, and how the reverse process is run."""

    prediction_target: Literal["x_start", "epsilon"] = "x_start"
    """The network's output: the clean input (paper) or the noise added to it."""

    inference_noise_steps: int = Field(default=0, ge=0)
    """T' of the paper's section 3.3: steps of noise before the reverse process; 0 for none."""

    sample_with_noise: bool = False
    """Add the posterior's noise in the reverse process; off, since ranking wants the mean.
    Like that of T', it is the same for every user and in every call (see `shared_noise`)."""

    @model_validator(mode="after")
    def _inference_within_steps(self) -> Self:
        if self.inference_noise_steps > self.steps:
            raise ValueError(
                f"inference_noise_steps = {self.inference_noise_steps} must not exceed "
                f"steps = {self.steps}"
            )
        return self

    @model_validator(mode="after")
    def _epsilon_needs_noise(self) -> Self:
        if self.prediction_target == "epsilon" and not adds_noise(self):
            raise ValueError(
                f"prediction_target = epsilon needs noise to predict, but noise_scale = "
                f"{self.noise_scale} with noise_schedule = {self.noise_schedule} adds none, and "
                f"scores would be the history itself: raise noise_scale, or choose x_start"
            )
        return self


class Posterior(NamedTuple):
    """A Gaussian over x_{t-1}: mean (B, D), variance and clipped log-variance (B, 1)."""

    mean: Tensor
    variance: Tensor
    log_variance: Tensor


class GaussianDiffusion(nn.Module):
    """Forward and reverse process for a fixed schedule.

    Tables are computed in float64, kept as float32 buffers of shape (T,), and move with `.to()`.

    Args:
        config: the schedule and the prediction target.
    """

    sqrt_alpha_bar: Tensor
    sqrt_one_minus_alpha_bar: Tensor
    posterior_mean_coef1: Tensor
    posterior_mean_coef2: Tensor
    posterior_variance: Tensor
    posterior_log_variance: Tensor

    def __init__(self, config: DiffusionConfig) -> None:
        super().__init__()
        self.config = config
        self.steps = config.steps
        tables = schedule_tables(noise_betas(config))
        for name in set(tables) - {"alpha_bar", "snr"}:  # those two serve the loss weights
            buffer = torch.from_numpy(tables[name]).to(torch.float32)
            self.register_buffer(name, buffer, persistent=False)

    def q_sample(self, x_start: Tensor, t: Tensor, noise: Tensor) -> Tensor:
        """Draw x_t from q(x_t | x_start) = N(√ᾱ_t x_start, (1 - ᾱ_t) I), with given noise (eq. 3).

        Shapes: x_start (B, D), t (B,), noise (B, D) or (1, D); returns (B, D).
        """
        signal, spread = self.sqrt_alpha_bar[t], self.sqrt_one_minus_alpha_bar[t]
        return (spread[:, None] * noise).addcmul_(signal[:, None], x_start)

    def q_posterior(self, x_start: Tensor, x_t: Tensor, t: Tensor) -> Posterior:
        """Return q(x_{t-1} | x_t, x_start), the target of the reverse step."""
        coef1, coef2 = self.posterior_mean_coef1[t], self.posterior_mean_coef2[t]
        mean = coef1[:, None] * x_start + coef2[:, None] * x_t
        return Posterior(
            mean, self.posterior_variance[t][:, None], self.posterior_log_variance[t][:, None]
        )

    def predict_x_start(self, x_t: Tensor, t: Tensor, output: Tensor) -> Tensor:
        """Turn the network's output into an estimate of x_start."""
        if self.config.prediction_target == "x_start":
            return output
        return (x_t - self.sqrt_one_minus_alpha_bar[t][:, None] * output) / self.sqrt_alpha_bar[t][
            :, None
        ]

    def p_mean_variance(self, denoise: Denoise, x_t: Tensor, t: Tensor) -> Posterior:
        """Return p_θ(x_{t-1} | x_t): the posterior with the network's x_start (eq. 10)."""
        pred_x_start = self.predict_x_start(x_t, t, denoise(x_t, t))
        return self.q_posterior(pred_x_start, x_t, t)

    def p_sample_loop(self, denoise: Denoise, x_start: Tensor, noise: Noise) -> Tensor:
        """Run inference (paper, section 3.3): T' steps of noise, then all T reverse steps.

        Args:
            denoise: the network.
            x_start: (B, D).
            noise: draws for `inference_noise_steps` and `sample_with_noise`, in this order and
                from T to 1; not called without them.

        Returns:
            (B, D), the estimate of what the users will like.
        """
        x_t = x_start
        if self.config.inference_noise_steps:
            t = self._full(x_start, self.config.inference_noise_steps - 1)
            x_t = self.q_sample(x_start, t, noise(x_start))
        for step in reversed(range(self.steps)):
            posterior = self.p_mean_variance(denoise, x_t, self._full(x_start, step))
            x_t = posterior.mean
            if self.config.sample_with_noise and step > 0:
                x_t = x_t + torch.exp(0.5 * posterior.log_variance) * noise(x_t)
        return x_t

    @staticmethod
    def _full(like: Tensor, step: int) -> Tensor:
        return torch.full((len(like),), step, dtype=torch.long, device=like.device)


def shared_noise(seed: int) -> Noise:
    """Make draws that the rows of a batch share, the same ones for every batch and device.

    What a row becomes then depends neither on the others nor on who drew before; in
    distribution it is what draws of its own would make of it.

    >>> like = torch.zeros(3, 2)
    >>> first, again = shared_noise(7)(like), shared_noise(7)(like)
    >>> first.shape, torch.equal(first, again)
    (torch.Size([1, 2]), True)
    """
    generator = torch.Generator().manual_seed(seed)  # a CPU's, wherever the batch is

    def draw(like: Tensor) -> Tensor:
        return torch.randn(1, like.shape[1], generator=generator).to(like)

    return draw


def schedule_tables(betas: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
    """Tabulate what the process needs for every t.

    Args:
        betas: (T,) in [0, 1).

    Returns:
        Tables of shape (T,) by name. Where no noise has been added (1 - ᾱ_t = 0) the posterior
        is the point x_start: coefficients 1 and 0, variance 0.
    """
    alpha_bar = np.cumprod(1.0 - betas)
    previous = np.concatenate([[1.0], alpha_bar[:-1]])
    spread = 1.0 - alpha_bar
    noisy = spread > 0
    safe = np.where(noisy, spread, 1.0)
    variance = np.where(noisy, betas * (1.0 - previous) / safe, 0.0)
    # At t = 0 the variance is 0 and its log unbounded; like Ho et al. take that of t = 1.
    clipped = variance.copy()
    clipped[0] = variance[1] if len(variance) > 1 else 0.0
    return {
        "alpha_bar": alpha_bar,
        "snr": np.divide(alpha_bar, spread, out=np.full_like(spread, np.inf), where=noisy),
        "sqrt_alpha_bar": np.sqrt(alpha_bar),
        "sqrt_one_minus_alpha_bar": np.sqrt(spread),
        "posterior_mean_coef1": np.where(noisy, betas * np.sqrt(previous) / safe, 1.0),
        "posterior_mean_coef2": np.where(
            noisy, (1.0 - previous) * np.sqrt(1.0 - betas) / safe, 0.0
        ),
        "posterior_variance": variance,
        "posterior_log_variance": np.log(np.maximum(clipped, 1e-20)),
    }
