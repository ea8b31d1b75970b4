"""The loss against the terms of the evidence lower bound, as divergences between Gaussians.

A term of the bound is ½ Σ_d w_t (target - output)², so that the code's mean over D and its
left-out ½ are undone here: term = loss · D / 2.
"""

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from diffrec_core.diffusion.gaussian import GaussianDiffusion
from diffrec_core.diffusion.losses import (
    DiffusionLossConfig,
    diffusion_loss,
    loss_weights,
    mean_squared_error,
)
from diffrec_core.diffusion.timestep_sampler import TimestepSampler
from diffrec_core.training.seeding import torch_seed
from tests.devices import DEVICES
from tests.oracle.oracles import Rows, betas_of, clean, lower_bound_term, marginal, noisy
from tests.oracle.strategies import SCHEDULES

TARGETS = ("x_start", "epsilon")
ROWS, DIM = 3, 4
NOISE = {"noise_scale": 0.5, "noise_min": 0.01, "noise_max": 0.4}


def config_of(schedule: str, **changes: Any) -> DiffusionLossConfig:
    return DiffusionLossConfig(**{"noise_schedule": schedule, "steps": 6, **NOISE, **changes})


def normal(seed: int, *shape: int) -> Rows:
    return np.random.default_rng(seed).normal(size=shape or (ROWS, DIM))


def squared_error(truth: Rows, guess: Rows) -> Rows:
    return np.array(
        [
            sum((a - b) ** 2 for a, b in zip(row, other, strict=True)) / len(row)
            for row, other in zip(truth, guess, strict=True)
        ]
    )


@pytest.mark.parametrize("fix_first", [True, False])
@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("schedule", SCHEDULES)
def test_weighted_errors_are_the_terms_of_the_lower_bound(
    schedule: str, target: str, fix_first: bool
) -> None:
    config = config_of(schedule, prediction_target=target, fix_first_beta=fix_first)
    weights, betas = loss_weights(config), betas_of(config)
    assert weights.dtype == torch.float32
    x_start, noise, output = normal(1), normal(2), normal(3)
    for t in range(config.steps):
        x_t = noisy(betas, t, x_start, noise)
        if target == "x_start":
            error, estimate = squared_error(x_start, output), output
        else:
            error, estimate = squared_error(noise, output), clean(betas, t, x_t, output)
        expected = lower_bound_term(betas, t, x_start, x_t, estimate)
        np.testing.assert_allclose(float(weights[t]) * error * DIM / 2, expected, rtol=1e-4)


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_x_start_weights_are_differences_of_the_signal_to_noise_ratio(schedule: str) -> None:
    config = config_of(schedule, fix_first_beta=False)
    ratios = [(s * s) / v for s, v in (marginal(betas_of(config), t) for t in range(6))]
    expected = [1.0] + [before - after for before, after in pairwise(ratios)]
    np.testing.assert_allclose(loss_weights(config), expected, rtol=1e-5)


@pytest.mark.parametrize(
    "change",
    [
        {"snr_weighting": False},
        {"snr_weighting": False, "prediction_target": "epsilon"},
        {"noise_scale": 0.0},
        {"noise_scale": 0.0, "steps": 1},
    ],
)
def test_without_weighting_or_noise_every_step_counts_one(change: dict[str, Any]) -> None:
    config = config_of("linear-var", **change)
    assert loss_weights(config).tolist() == [1.0] * config.steps


def test_one_step_has_the_reconstruction_term_only() -> None:
    assert loss_weights(config_of("linear", steps=1)).tolist() == [1.0]


class GivenSteps(TimestepSampler):
    """Draws what it is told, with made-up importances."""

    def __init__(self, config: DiffusionLossConfig, t: list[int], device: str) -> None:
        super().__init__(config.steps, config)
        self.to(device)
        self.t = torch.tensor(t, device=device)
        self.importance = torch.linspace(0.5, 2.0, len(t), device=device)

    def sample(self, batch_size: int) -> tuple[Tensor, Tensor]:
        assert batch_size == len(self.t)
        return self.t, self.importance


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("schedule", SCHEDULES)
def test_the_loss_of_each_row_is_its_term_over_its_importance(
    schedule: str, target: str, device: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = config_of(schedule, prediction_target=target)
    betas, steps = betas_of(config), [0, 5, 1, 3, 1, 0, 4, 2]
    x_start, noise = normal(4, len(steps), DIM), normal(5, len(steps), DIM)
    monkeypatch.setattr(torch, "randn_like", lambda like: torch.from_numpy(noise).to(like))
    sampler = GivenSteps(config, steps, device)
    terms = diffusion_loss(
        GaussianDiffusion(config).to(device),
        sampler,
        lambda x_t, t: 0.5 * x_t + 0.1 * t[:, None],
        torch.from_numpy(x_start).to(device),
        weights=loss_weights(config).to(device),
    )
    seen: dict[int, list[float]] = {}
    for row, t in enumerate(steps):
        x_0 = x_start[row : row + 1]
        x_t = noisy(betas, t, x_0, noise[row : row + 1])
        output = 0.5 * x_t + 0.1 * t
        estimate = output if target == "x_start" else clean(betas, t, x_t, output)
        loss = lower_bound_term(betas, t, x_0, x_t, estimate)[0] * 2 / DIM
        seen.setdefault(t, []).append(loss)
        expected = loss / float(sampler.importance[row])
        assert float(terms.loss[row]) == pytest.approx(expected, rel=1e-4)
        np.testing.assert_allclose(terms.pred_x_start[row].cpu(), estimate[0], rtol=1e-4, atol=1e-5)
    for t, losses in seen.items():  # the sampler learns the losses before the division
        kept = sampler.loss_history[t][: len(losses)].tolist()
        assert kept == pytest.approx(losses, rel=1e-4)


@pytest.mark.parametrize("target", TARGETS)
def test_the_loss_trains_the_network_and_not_the_sampler(target: str) -> None:
    config = config_of("linear-var", prediction_target=target)
    scale = torch.tensor(0.3, requires_grad=True)
    sampler = TimestepSampler(config.steps, config)
    with torch_seed(2, target):
        terms = diffusion_loss(
            GaussianDiffusion(config),
            sampler,
            lambda x_t, _t: scale * x_t,
            torch.ones(5, DIM),
            weights=loss_weights(config),
        )
    terms.loss.mean().backward()
    assert scale.grad is not None
    assert float(scale.grad) != 0.0
    assert not sampler.loss_history.requires_grad


@pytest.mark.parametrize("target", TARGETS)
def test_importance_sampling_leaves_the_expected_loss_of_uniform_sampling(target: str) -> None:
    """Both estimate the lower bound, whichever t the skewed history makes frequent."""
    config = config_of("linear-var", prediction_target=target, loss_history_length=2)
    rows, x_start = 40_000, torch.from_numpy(normal(6, 1, DIM)).to(torch.float32)
    means, errors = [], []
    for kind in ("uniform", "importance"):
        sampler = TimestepSampler(
            config.steps, config.model_copy(update={"timestep_sampling": kind})
        )
        skewed = torch.tensor([3.0, 0.2, 5.0, 1.0, 0.5, 2.0])
        sampler.update(torch.arange(6).repeat(2), skewed.repeat(2))
        with torch_seed(9, kind):
            loss = diffusion_loss(
                GaussianDiffusion(config),
                sampler,
                lambda x_t, _t: 0.4 * x_t,
                x_start.expand(rows, DIM),
                weights=loss_weights(config),
            ).loss
        means.append(float(loss.mean()))
        errors.append(float(loss.std()) / rows**0.5)
    assert abs(means[0] - means[1]) < 4 * (errors[0] ** 2 + errors[1] ** 2) ** 0.5
    assert max(errors) < 0.05 * means[0]  # or the comparison would say nothing


def test_the_error_of_a_coarse_output_is_computed_in_float32() -> None:
    with torch_seed(1, "error"):
        output, target = torch.randn(4, 700).to(torch.bfloat16), torch.randn(4, 700)
    result = mean_squared_error(output, target)
    torch.testing.assert_close(result, mean_squared_error(output.float(), target))
    assert result.dtype == torch.float32
