"""Noise schedules: the variances β_1 … β_T that the forward process adds, step by step."""

import math
from typing import Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from diffrec_core.common.config import Config

_MAX_BETA = 0.999
"""Keeps some signal at the last step; without it ᾱ_T may be 0 and ε-prediction undefined."""

_FIXED_FIRST_BETA = 1e-5


class NoiseConfig(Config):
    """The forward process."""

    steps: int = Field(default=5, ge=1)
    """T, the number of diffusion steps."""

    noise_schedule: Literal["linear", "linear-var", "cosine", "binomial"] = "linear-var"
    """linear: β is linear in t; linear-var: the variance 1 - ᾱ is (paper, eq. 4); cosine:
    Nichol & Dhariwal 2021, eq. 17; binomial: Sohl-Dickstein et al. 2015, section 2.4.1."""

    noise_scale: float = Field(default=0.1, ge=0.0)
    """s of the paper's eq. 4; 0 switches noise off. Not used by cosine and binomial."""

    noise_min: float = Field(default=0.0001, gt=0.0)
    """Lower bound, before scaling."""

    noise_max: float = Field(default=0.02, gt=0.0)
    """Upper bound, before scaling."""

    fix_first_beta: bool = True
    """Set β_1 to 1e-5 against overfitting of the first step (Sohl-Dickstein et al., 2.4.1)."""

    @model_validator(mode="after")
    def _bounds_in_order(self) -> Self:
        if self.noise_min >= self.noise_max:
            raise ValueError(
                f"noise_min = {self.noise_min} must be less than noise_max = {self.noise_max}"
                f"{' (are they swapped?)' if self.noise_min > self.noise_max else ''}"
            )
        scaled = self.noise_schedule in {"linear", "linear-var"}
        if scaled and self.noise_scale * self.noise_max >= 1.0:
            raise ValueError(
                f"noise_scale * noise_max = {self.noise_scale * self.noise_max} must be less "
                f"than 1: it is a variance share"
            )
        return self


def noise_betas(config: NoiseConfig) -> NDArray[np.float64]:
    """Compute the schedule.

    Returns:
        (T,) float64, each in [0, 1); all 0 when noise_scale is 0 with a scaled schedule.

    >>> noise_betas(NoiseConfig(steps=2, noise_schedule="binomial", fix_first_beta=False)).tolist()
    [0.5, 0.999]
    """
    if not adds_noise(config):
        return np.zeros(config.steps)
    betas = {
        "linear": _bounds,
        "linear-var": _linear_variance,
        "cosine": _cosine,
        "binomial": _binomial,
    }[config.noise_schedule](config)
    if config.fix_first_beta:
        betas[0] = _FIXED_FIRST_BETA
    return betas


def adds_noise(config: NoiseConfig) -> bool:
    """Return whether the forward process changes its input at all."""
    return config.noise_scale > 0 or config.noise_schedule in {"cosine", "binomial"}


def _bounds(config: NoiseConfig) -> NDArray[np.float64]:
    low, high = config.noise_scale * config.noise_min, config.noise_scale * config.noise_max
    return np.linspace(low, high, config.steps, dtype=np.float64)


def _linear_variance(config: NoiseConfig) -> NDArray[np.float64]:
    """β_t = 1 - ᾱ_t / ᾱ_{t-1} with 1 - ᾱ_t linear between the scaled bounds (paper, eq. 4)."""
    return _betas_from_alpha_bar(1.0 - _bounds(config))


def _cosine(config: NoiseConfig) -> NDArray[np.float64]:
    angles = [(t / config.steps + 0.008) / 1.008 * math.pi / 2 for t in range(config.steps + 1)]
    start, *alpha_bar = (math.cos(angle) ** 2 for angle in angles)
    return _betas_from_alpha_bar(np.array(alpha_bar) / start)


def _binomial(config: NoiseConfig) -> NDArray[np.float64]:
    """β_t = 1 / (T - t + 1) for t = 1 … T: every step erases the same share of the signal."""
    t = np.arange(1, config.steps + 1, dtype=np.float64)
    betas: NDArray[np.float64] = np.minimum(1.0 / (config.steps - t + 1.0), _MAX_BETA)
    return betas


def _betas_from_alpha_bar(alpha_bar: NDArray[np.float64]) -> NDArray[np.float64]:
    previous = np.concatenate([[1.0], alpha_bar[:-1]])
    betas: NDArray[np.float64] = np.minimum(1.0 - alpha_bar / previous, _MAX_BETA)
    return betas
