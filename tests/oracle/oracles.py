"""Slow oracles of the diffusion mathematics, written from the papers' formulas.

Plain Python floats and loops, one scalar at a time, and on purpose built the other way round than
the code under test: the noise variance follows the Markov chain instead of a cumulative product,
posteriors come from Bayes' rule on one-dimensional Gaussians, the terms of the lower bound are
Kullback-Leibler divergences between Gaussians given by mean and variance.

Sources: DiffRec (arXiv 2304.04971) sections 2 and 3; Ho et al. 2020; Nichol & Dhariwal 2021,
eq. 17 and section 3.3; Sohl-Dickstein et al. 2015, section 2.4.1. Steps are 0-based in arguments.
"""

import math
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

FIRST_BETA = 1e-5
LARGEST_BETA = 0.999
COSINE_OFFSET = 0.008

Rows = NDArray[np.float64]
DenoiseRows = Callable[[Rows, int], Rows]


def betas(
    schedule: str, steps: int, *, scale: float, low: float, high: float, fix_first: bool
) -> list[float]:
    """β_1 … β_T, each from its own formula with the paper's 1-based t."""
    if scale == 0.0 and schedule in {"linear", "linear-var"}:
        return [0.0] * steps
    result = []
    for t in range(1, steps + 1):
        if schedule == "linear":
            beta = _between(scale * low, scale * high, t, steps)
        elif schedule == "linear-var":
            before = 0.0 if t == 1 else _between(scale * low, scale * high, t - 1, steps)
            after = _between(scale * low, scale * high, t, steps)
            beta = (after - before) / (1.0 - before)  # 1 - (1 - after) / (1 - before)
        elif schedule == "cosine":
            beta = 1.0 - _cosine_signal(t, steps) / _cosine_signal(t - 1, steps)
        else:
            beta = 1.0 / (steps - t + 1)
        result.append(min(beta, LARGEST_BETA))
    if fix_first:
        result[0] = FIRST_BETA
    return result


def betas_of(config: Any) -> list[float]:
    """`betas` with the arguments taken from a configuration of the code under test."""
    return betas(
        config.noise_schedule,
        config.steps,
        scale=config.noise_scale,
        low=config.noise_min,
        high=config.noise_max,
        fix_first=config.fix_first_beta,
    )


def _between(low: float, high: float, t: int, steps: int) -> float:
    return low if steps == 1 else low + (t - 1) / (steps - 1) * (high - low)


def _cosine_signal(t: int, steps: int) -> float:
    return math.cos((t / steps + COSINE_OFFSET) / (1 + COSINE_OFFSET) * math.pi / 2) ** 2


def marginal(betas_: Sequence[float], t: int) -> tuple[float, float]:
    """Factor of x_0 and variance of q(x_t | x_0), by walking the chain; t = -1 is x_0 itself.

    x_s = √(1 - β_s) x_{s-1} + √β_s ε multiplies mean and variance, and adds β_s to the latter.
    """
    factor, variance = 1.0, 0.0
    for beta in betas_[: t + 1]:
        factor *= math.sqrt(1.0 - beta)
        variance = (1.0 - beta) * variance + beta
    return factor, variance


def posterior(betas_: Sequence[float], t: int, x_start: float, x_t: float) -> tuple[float, float]:
    """Mean and variance of q(x_{t-1} | x_t, x_0) in one dimension, by Bayes' rule.

    Prior x_{t-1} | x_0 and likelihood x_t | x_{t-1} are Gaussian: precisions add.
    """
    factor, variance = marginal(betas_, t - 1)
    if variance == 0.0:
        return factor * x_start, 0.0
    beta = betas_[t]
    if beta == 0.0:  # the step does nothing, so its input is its output
        return x_t, 0.0
    precision = 1.0 / variance + (1.0 - beta) / beta
    weighted = factor * x_start / variance + math.sqrt(1.0 - beta) * x_t / beta
    return weighted / precision, 1.0 / precision


def posterior_on_a_grid(
    betas_: Sequence[float], t: int, x_start: float, x_t: float
) -> tuple[float, float]:
    """The same by numerical integration of prior times likelihood, for 0 < t."""
    factor, variance = marginal(betas_, t - 1)
    beta, spread = betas_[t], math.sqrt(variance)
    x = np.linspace(factor * x_start - 12 * spread, factor * x_start + 12 * spread, 200_001)
    log_density = -((x - factor * x_start) ** 2) / (2 * variance)
    log_density -= (x_t - math.sqrt(1 - beta) * x) ** 2 / (2 * beta)
    density = np.exp(log_density - log_density.max())
    density /= density.sum()
    mean = float((density * x).sum())
    return mean, float((density * (x - mean) ** 2).sum())


def noisy(betas_: Sequence[float], t: int, x_start: Rows, noise: Rows) -> Rows:
    """x_t from x_0 and the noise, element by element (eq. 3)."""
    factor, variance = marginal(betas_, t)
    result = np.empty(x_start.shape)
    for index in np.ndindex(x_start.shape):
        result[index] = factor * x_start[index] + math.sqrt(variance) * noise[index]
    return result


def clean(betas_: Sequence[float], t: int, x_t: Rows, noise: Rows) -> Rows:
    """x_0 from x_t and the noise: eq. 3 solved for x_0."""
    factor, variance = marginal(betas_, t)
    result = np.empty(x_t.shape)
    for index in np.ndindex(x_t.shape):
        result[index] = (x_t[index] - math.sqrt(variance) * noise[index]) / factor
    return result


def reverse_loop(
    betas_: Sequence[float],
    denoise: DenoiseRows,
    x_start: Rows,
    *,
    target: str = "x_start",
    forward_steps: int = 0,
    noises: Iterator[Rows] | None = None,
    with_noise: bool = False,
) -> Rows:
    """Inference of section 3.3: T' steps of noise at once, then T posterior steps down to x_0.

    `noises` are the standard normal draws in the order in which they are needed; the last step
    needs none, since its variance is 0.
    """
    x = x_start
    if forward_steps:
        assert noises is not None
        x = noisy(betas_, forward_steps - 1, x_start, next(noises))
    for t in reversed(range(len(betas_))):
        output = denoise(x, t)
        estimate = output if target == "x_start" else clean(betas_, t, x, output)
        lower = np.empty(x.shape)
        noise = next(noises) if with_noise and t > 0 and noises is not None else None
        for index in np.ndindex(x.shape):
            mean, variance = posterior(betas_, t, float(estimate[index]), float(x[index]))
            extra = 0.0 if noise is None else math.sqrt(variance) * float(noise[index])
            lower[index] = mean + extra
        x = lower
    return x


def gaussian_kl(mean_1: float, variance_1: float, mean_2: float, variance_2: float) -> float:
    """KL(N(mean_1, variance_1) ‖ N(mean_2, variance_2)) in one dimension."""
    ratio = variance_1 / variance_2
    return 0.5 * (ratio - 1.0 - math.log(ratio) + (mean_1 - mean_2) ** 2 / variance_2)


def lower_bound_term(
    betas_: Sequence[float], t: int, x_start: Rows, x_t: Rows, estimate: Rows
) -> list[float]:
    """L_t of each row, summed over D: what the lower bound loses in the step to x_{t-1}.

    For t > 0 it is the KL of p_θ(x_{t-1} | x_t) from q(x_{t-1} | x_t, x_0) (eq. 10 and 11), for
    t = 0 the negative log-likelihood of x_0 under N(x̂_0, I) (eq. 12) without its constant.
    """
    terms = []
    for truth, current, guess in zip(x_start, x_t, estimate, strict=True):
        term = 0.0
        for x0, xt, xhat in zip(truth, current, guess, strict=True):
            if t == 0:
                term += (x0 - xhat) ** 2 / 2  # -ln N(x_0; x̂_0, 1) = this + ½ ln 2π
            else:
                q_mean, q_variance = posterior(betas_, t, float(x0), float(xt))
                p_mean, p_variance = posterior(betas_, t, float(xhat), float(xt))
                term += gaussian_kl(q_mean, q_variance, p_mean, p_variance)
        terms.append(term)
    return terms


class TimestepOracle:
    """Importance sampling by the book: a bounded queue of losses for each t."""

    def __init__(self, steps: int, length: int, uniform_share: float) -> None:
        self.recent: list[deque[float]] = [deque(maxlen=length) for _ in range(steps)]
        self.length, self.uniform_share = length, uniform_share

    def update(self, steps: Sequence[int], losses: Sequence[float]) -> None:
        for t, loss in zip(steps, losses, strict=True):
            self.recent[t].append(loss)

    def probabilities(self) -> list[float]:
        count = len(self.recent)
        if any(len(queue) < self.length for queue in self.recent):
            return [1.0 / count] * count
        sizes = [math.sqrt(sum(v * v for v in queue) / len(queue)) for queue in self.recent]
        total = sum(sizes)
        return [
            (1.0 - self.uniform_share) * size / total + self.uniform_share / count for size in sizes
        ]
