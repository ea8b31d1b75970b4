"""Importance sampling of timesteps against queues, and against the law of large numbers."""

import numpy as np
import pytest
import torch

from diffrec_core.diffusion.timestep_sampler import TimestepSampler, TimestepSamplerConfig
from diffrec_core.training.seeding import torch_seed
from tests.devices import DEVICES
from tests.oracle.oracles import TimestepOracle

STEPS = 4


def warmed(length: int = 3, device: str = "cpu", **changes: object) -> TimestepSampler:
    """A sampler with full histories of unequal losses."""
    config = TimestepSamplerConfig(**{"loss_history_length": length, **changes})
    sampler = TimestepSampler(STEPS, config).to(device)
    losses = torch.tensor([0.1, 2.0, 0.5, 1.0], device=device).repeat(length)
    sampler.update(torch.arange(STEPS, device=device).repeat(length), losses)
    return sampler


def test_sampling_is_uniform_until_every_step_has_a_full_history() -> None:
    sampler = TimestepSampler(STEPS, TimestepSamplerConfig(loss_history_length=2))
    sampler.update(torch.tensor([0, 0, 1, 1, 2, 2, 3]), torch.arange(1.0, 8.0))
    assert sampler.probabilities().tolist() == [0.25] * STEPS
    assert sampler.sample(7)[1].tolist() == [1.0] * 7
    sampler.update(torch.tensor([3]), torch.tensor([8.0]))
    assert sampler.probabilities().tolist() != [0.25] * STEPS


def test_probabilities_are_root_mean_squares_and_a_uniform_share() -> None:
    config = TimestepSamplerConfig(loss_history_length=2, uniform_share=0.2)
    sampler = TimestepSampler(2, config)
    sampler.update(torch.tensor([0, 0, 1, 1]), torch.tensor([3.0, 4.0, 1.0, 7.0]))
    sizes = [12.5**0.5, 25.0**0.5]
    expected = [0.8 * size / sum(sizes) + 0.1 for size in sizes]
    assert sampler.probabilities().tolist() == pytest.approx(expected, rel=1e-12)
    assert sampler.probabilities().dtype == torch.float64


def test_only_the_last_losses_count() -> None:
    sampler = warmed(length=3)
    sampler.update(torch.full((5,), 1), torch.tensor([9.0, 9.0, 4.0, 5.0, 6.0]))
    assert sorted(sampler.loss_history[1].tolist()) == [4.0, 5.0, 6.0]
    assert sorted(sampler.loss_history[0].tolist()) == pytest.approx([0.1] * 3)


def test_uniform_sampling_ignores_the_losses() -> None:
    sampler = warmed(timestep_sampling="uniform")
    assert sampler.probabilities().tolist() == [0.25] * STEPS


def test_losses_of_zero_leave_sampling_uniform() -> None:
    sampler = TimestepSampler(STEPS, TimestepSamplerConfig(loss_history_length=1))
    sampler.update(torch.arange(STEPS), torch.zeros(STEPS))
    assert sampler.probabilities().tolist() == [0.25] * STEPS


@pytest.mark.parametrize("device", DEVICES)
def test_draws_have_the_probabilities_and_carry_them(device: str) -> None:
    sampler, count = warmed(device=device), 100_000
    with torch_seed(3, "draws"):
        t, importance = (drawn.cpu() for drawn in sampler.sample(count))
    p = sampler.probabilities().cpu().numpy()
    assert importance.dtype == torch.float32
    np.testing.assert_allclose(importance, p[t.numpy()] * STEPS, rtol=1e-6)
    shares = np.bincount(t.numpy(), minlength=STEPS) / count
    assert (np.abs(shares - p) < 4 * np.sqrt(p * (1 - p) / count)).all()


def test_dividing_by_the_importance_is_unbiased() -> None:
    """E[L_t / (p_t T)] is the plain mean of L_t, for losses unrelated to the history."""
    sampler, count = warmed(uniform_share=0.05), 200_000
    losses = torch.tensor([7.0, 0.3, 1.0, 2.0])
    with torch_seed(4, "unbiased"):
        t, importance = sampler.sample(count)
    estimate = losses[t] / importance
    error = float(estimate.std()) / count**0.5
    assert float(estimate.mean()) == pytest.approx(float(losses.mean()), abs=4 * error)
    assert error < 0.02 * float(losses.mean())


def test_the_history_travels_in_the_state() -> None:
    sampler = warmed()
    sampler.update(torch.tensor([2]), torch.tensor([5.0]))
    copy = TimestepSampler(STEPS, sampler.config)
    assert copy.probabilities().tolist() != sampler.probabilities().tolist()
    copy.load_state_dict(sampler.state_dict())
    for one in (sampler, copy):  # the ring goes on at the same place
        one.update(torch.tensor([2, 2, 0]), torch.tensor([6.0, 7.0, 8.0]))
    assert torch.equal(copy.loss_history, sampler.loss_history)
    assert torch.equal(copy.probabilities(), sampler.probabilities())


@pytest.mark.parametrize("device", DEVICES)
def test_a_long_run_agrees_with_queues(device: str) -> None:
    rng = np.random.default_rng(0)
    config = TimestepSamplerConfig(loss_history_length=10)
    sampler, oracle = TimestepSampler(40, config), TimestepOracle(40, 10, config.uniform_share)
    sampler.to(device)
    for _ in range(60):
        t, losses = rng.integers(40, size=400), rng.exponential(size=400)
        sampler.update(torch.from_numpy(t).to(device), torch.from_numpy(losses).to(device))
        oracle.update(t.tolist(), losses.tolist())
    np.testing.assert_allclose(sampler.probabilities().cpu(), oracle.probabilities(), rtol=1e-12)
