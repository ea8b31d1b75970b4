"""The forward and the reverse process against Bayes' rule and against sampling."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from diffrec_core.diffusion.gaussian import (
    DiffusionConfig,
    GaussianDiffusion,
    Noise,
    shared_noise,
)
from diffrec_core.training.seeding import torch_seed
from tests.oracle.oracles import (
    Rows,
    betas_of,
    clean,
    marginal,
    noisy,
    posterior,
    posterior_on_a_grid,
    reverse_loop,
)
from tests.oracle.strategies import SCHEDULES

STRONG = {"noise_scale": 1.0, "noise_min": 0.05, "noise_max": 0.5}
TARGETS = ("x_start", "epsilon")
ROWS, DIM = 4, 3


def config_of(schedule: str, **changes: Any) -> DiffusionConfig:
    return DiffusionConfig(**{"noise_schedule": schedule, **STRONG, **changes})


def normal(seed: int, *shape: int) -> Rows:
    return np.random.default_rng(seed).normal(size=shape or (ROWS, DIM))


def each_step(rows: int, step: int) -> Tensor:
    return torch.full((rows,), step)


def dummy(x: Any, t: Any) -> Any:
    """A network without weights that mixes neighbours and knows the step."""
    rolled = np.roll(x, 1, axis=1) if isinstance(x, np.ndarray) else torch.roll(x, 1, dims=1)
    return 0.6 * x - 0.3 * rolled + 0.1 * (t + 1)


def denoise(x_t: Tensor, t: Tensor) -> Tensor:
    result: Tensor = dummy(x_t, t[:, None].to(x_t.dtype))
    return result


def replay() -> tuple[Iterator[Rows], Noise, list[int]]:
    """The same standard normal draws for both sides, and a count of those that the code takes."""
    draws = [normal(100 + i) for i in range(50)]
    for_code, taken = iter(draws), [0]

    def drawn(like: Tensor) -> Tensor:
        taken[0] += 1
        return torch.from_numpy(next(for_code)).to(like)

    return iter(draws), drawn, taken


def no_noise(_like: Tensor) -> Tensor:
    raise AssertionError("inference without noise must not draw any")


@pytest.mark.parametrize("fix_first", [True, False])
@pytest.mark.parametrize("schedule", SCHEDULES)
def test_q_sample_scales_signal_and_noise(schedule: str, fix_first: bool) -> None:
    config = config_of(schedule, fix_first_beta=fix_first)
    diffusion, betas = GaussianDiffusion(config), betas_of(config)
    x_start, noise = normal(1), normal(2)
    for t in range(config.steps):
        x_t = diffusion.q_sample(
            torch.from_numpy(x_start), each_step(ROWS, t), torch.from_numpy(noise)
        )
        np.testing.assert_allclose(x_t, noisy(betas, t, x_start, noise), rtol=1e-5, atol=1e-6)


def test_rows_of_a_batch_may_be_at_different_steps() -> None:
    config = config_of("linear")
    diffusion, betas = GaussianDiffusion(config), betas_of(config)
    x_start, noise, steps = normal(1), normal(2), [4, 0, 2, 2]
    arguments = [torch.from_numpy(a) for a in (x_start, noise)]
    x_t = diffusion.q_sample(arguments[0], torch.tensor(steps), arguments[1])
    q = diffusion.q_posterior(arguments[0], arguments[1], torch.tensor(steps))
    for row, t in enumerate(steps):
        one = noisy(betas, t, x_start[row : row + 1], noise[row : row + 1])
        np.testing.assert_allclose(x_t[row : row + 1], one, rtol=1e-5)
        mean, variance = posterior(betas, t, x_start[row, 1], noise[row, 1])
        assert float(q.mean[row, 1]) == pytest.approx(mean, rel=1e-5)
        assert float(q.variance[row, 0]) == pytest.approx(variance, rel=1e-5)


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_q_sample_draws_have_the_promised_mean_and_variance(schedule: str) -> None:
    config = config_of(schedule, fix_first_beta=False)
    diffusion, betas, count = GaussianDiffusion(config), betas_of(config), 100_000
    with torch_seed(11, schedule):
        noise = torch.randn(count, 1)
    for t in (0, 2, 4):
        x_t = diffusion.q_sample(torch.full((count, 1), 1.7), each_step(count, t), noise)
        factor, variance = marginal(betas, t)
        assert float(x_t.mean()) == pytest.approx(1.7 * factor, abs=4 * (variance / count) ** 0.5)
        assert float(x_t.var()) == pytest.approx(variance, rel=4 * (2 / count) ** 0.5)


def test_one_jump_has_the_distribution_of_many_small_steps() -> None:
    """q(x_t | x_0) against the Markov chain itself: x_s = √(1 - β_s) x_{s-1} + √β_s ε."""
    config = config_of("linear")
    count, rng = 100_000, np.random.default_rng(5)
    x = np.full(count, 0.8)
    for beta in betas_of(config):
        x = np.sqrt(1 - beta) * x + np.sqrt(beta) * rng.normal(size=count)
    diffusion = GaussianDiffusion(config)
    signal, spread = diffusion.sqrt_alpha_bar[-1], diffusion.sqrt_one_minus_alpha_bar[-1]
    assert float(signal) * 0.8 == pytest.approx(x.mean(), abs=4 * float(spread) / count**0.5)
    assert float(spread) ** 2 == pytest.approx(x.var(), rel=4 * (2 / count) ** 0.5)


@pytest.mark.parametrize("fix_first", [True, False])
@pytest.mark.parametrize("schedule", SCHEDULES)
def test_the_posterior_is_bayes_rule(schedule: str, fix_first: bool) -> None:
    config = config_of(schedule, fix_first_beta=fix_first)
    diffusion, betas = GaussianDiffusion(config), betas_of(config)
    x_start, x_t = normal(3), normal(4)
    for t in range(config.steps):
        q = diffusion.q_posterior(
            torch.from_numpy(x_start), torch.from_numpy(x_t), each_step(ROWS, t)
        )
        assert q.variance.shape == q.log_variance.shape == (ROWS, 1)
        for index in np.ndindex(x_start.shape):
            mean, variance = posterior(betas, t, x_start[index], x_t[index])
            assert float(q.mean[index]) == pytest.approx(mean, rel=1e-5, abs=1e-6)
            assert float(q.variance[index[0], 0]) == pytest.approx(variance, rel=1e-5)
            if t > 0:
                assert float(q.log_variance[index[0], 0]) == pytest.approx(
                    np.log(variance), rel=1e-5
                )


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_the_posterior_is_prior_times_likelihood_on_a_grid(schedule: str) -> None:
    config = config_of(schedule, fix_first_beta=False)
    diffusion, betas = GaussianDiffusion(config), betas_of(config)
    x_start, x_t = torch.tensor([[0.9]]), torch.tensor([[0.4]])
    for t in range(1, config.steps):
        q = diffusion.q_posterior(x_start, x_t, each_step(1, t))
        mean, variance = posterior_on_a_grid(betas, t, 0.9, 0.4)
        assert float(q.mean) == pytest.approx(mean, rel=1e-4)
        assert float(q.variance) == pytest.approx(variance, rel=1e-4)


def test_the_log_variance_at_the_first_step_is_that_of_the_second() -> None:
    q = GaussianDiffusion(config_of("linear"))
    assert float(q.posterior_variance[0]) == 0.0
    assert float(q.posterior_log_variance[0]) == float(q.posterior_log_variance[1])


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_one_step_is_enough(schedule: str) -> None:
    diffusion = GaussianDiffusion(config_of(schedule, steps=1))
    assert torch.isfinite(diffusion.posterior_log_variance).all()
    x = torch.from_numpy(normal(6))
    expected = denoise(x, each_step(ROWS, 0))
    result = diffusion.p_sample_loop(denoise, x, no_noise)
    torch.testing.assert_close(result, expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("schedule", SCHEDULES)
def test_predict_x_start_undoes_q_sample(schedule: str, target: str) -> None:
    config = config_of(schedule, prediction_target=target)
    diffusion, betas = GaussianDiffusion(config), betas_of(config)
    x_start, noise = torch.from_numpy(normal(7)), torch.from_numpy(normal(8))
    perfect = x_start if target == "x_start" else noise
    wrong = perfect + 0.25
    for step in range(config.steps):
        t = each_step(ROWS, step)
        x_t = diffusion.q_sample(x_start, t, noise)
        torch.testing.assert_close(
            diffusion.predict_x_start(x_t, t, perfect), x_start, rtol=1e-5, atol=1e-4
        )
        expected = (
            wrong.numpy() if target == "x_start" else clean(betas, step, x_t.numpy(), wrong.numpy())
        )
        np.testing.assert_allclose(
            diffusion.predict_x_start(x_t, t, wrong), expected, rtol=1e-5, atol=1e-4
        )


@pytest.mark.parametrize("target", TARGETS)
def test_p_is_the_posterior_of_the_networks_estimate(target: str) -> None:
    config = config_of("linear-var", prediction_target=target)
    diffusion, betas = GaussianDiffusion(config), betas_of(config)
    x_t = normal(9)
    for step in range(config.steps):
        p = diffusion.p_mean_variance(denoise, torch.from_numpy(x_t), each_step(ROWS, step))
        output = dummy(x_t, step)
        estimate = output if target == "x_start" else clean(betas, step, x_t, output)
        for index in np.ndindex(x_t.shape):
            mean, variance = posterior(betas, step, estimate[index], x_t[index])
            assert float(p.mean[index]) == pytest.approx(mean, rel=1e-5, abs=1e-5)
            assert float(p.variance[index[0], 0]) == pytest.approx(variance, rel=1e-5)


@pytest.mark.parametrize("with_noise", [False, True])
@pytest.mark.parametrize("forward_steps", [0, 1, 3, 6])
@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("schedule", SCHEDULES)
def test_inference_follows_the_reverse_loop(
    schedule: str, target: str, forward_steps: int, with_noise: bool
) -> None:
    config = config_of(
        schedule,
        steps=6,
        prediction_target=target,
        inference_noise_steps=forward_steps,
        sample_with_noise=with_noise,
    )
    x_start, (noises, drawn, taken) = normal(10), replay()
    result = GaussianDiffusion(config).p_sample_loop(denoise, torch.from_numpy(x_start), drawn)
    expected = reverse_loop(
        betas_of(config),
        dummy,
        x_start,
        target=target,
        forward_steps=forward_steps,
        noises=noises,
        with_noise=with_noise,
    )
    np.testing.assert_allclose(result, expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max())
    assert taken[0] == (forward_steps > 0) + 5 * with_noise


def test_without_noise_the_network_is_applied_once_per_step() -> None:
    config = DiffusionConfig(noise_scale=0.0, steps=4)
    x = torch.from_numpy(normal(12))
    expected = x
    for step in (3, 2, 1, 0):
        expected = denoise(expected, each_step(ROWS, step))
    result = GaussianDiffusion(config).p_sample_loop(denoise, x, no_noise)
    torch.testing.assert_close(result, expected)


def test_a_perfect_network_recovers_the_input_from_any_noise() -> None:
    config = config_of("linear-var", inference_noise_steps=5, sample_with_noise=True)
    x_start = torch.from_numpy(normal(13))
    noise = shared_noise(1)
    result = GaussianDiffusion(config).p_sample_loop(lambda _x, _t: x_start, x_start, noise)
    torch.testing.assert_close(result, x_start, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("target", TARGETS)
def test_with_shared_noise_a_row_depends_neither_on_the_others_nor_on_earlier_draws(
    target: str,
) -> None:
    """The network mixes dimensions, not rows: what could tie rows together is the noise alone."""
    config = config_of(
        "linear-var", prediction_target=target, inference_noise_steps=3, sample_with_noise=True
    )
    diffusion, x_start = GaussianDiffusion(config), torch.from_numpy(normal(14))
    together = diffusion.p_sample_loop(denoise, x_start, shared_noise(5))
    backwards = diffusion.p_sample_loop(denoise, x_start.flip(0), shared_noise(5)).flip(0)
    torch.testing.assert_close(backwards, together, rtol=1e-12, atol=1e-12)
    for row in range(ROWS):
        alone = diffusion.p_sample_loop(denoise, x_start[row : row + 1], shared_noise(5))
        torch.testing.assert_close(alone[0], together[row], rtol=1e-12, atol=1e-12)
    other = diffusion.p_sample_loop(denoise, x_start, shared_noise(6))
    assert not torch.allclose(other, together)


def test_shared_noise_is_standard_normal_and_new_in_every_step() -> None:
    draw, like = shared_noise(3), torch.zeros(2, 40_000, dtype=torch.float64)
    first, second = draw(like)[0], draw(like)[0]
    for noise in (first, second):
        assert noise.dtype == torch.float64
        assert float(noise.mean()) == pytest.approx(0.0, abs=0.02)
        assert float(noise.std()) == pytest.approx(1.0, abs=0.02)
    assert abs(float((first * second).mean())) < 0.02


def test_tables_are_float32_and_move_with_the_module() -> None:
    diffusion = GaussianDiffusion(config_of("cosine"))
    assert {name for name, _ in diffusion.named_buffers()} >= {"sqrt_alpha_bar"}
    assert all(buffer.dtype == torch.float32 for buffer in diffusion.buffers())
    assert all(buffer.device.type == "meta" for buffer in diffusion.to("meta").buffers())
