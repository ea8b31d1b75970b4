"""What holds for every schedule, whatever its settings."""

from typing import Any

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from diffrec_core.diffusion.gaussian import GaussianDiffusion, schedule_tables
from diffrec_core.diffusion.losses import DiffusionLossConfig, loss_weights
from diffrec_core.diffusion.noise_schedule import NoiseConfig, noise_betas
from tests.oracle.oracles import Rows, betas_of, clean, lower_bound_term, noisy, posterior
from tests.oracle.strategies import diffusion_configs, effort, noise_settings

ROWS, DIM = 2, 3


def normal(seed: int) -> Rows:
    return np.random.default_rng(seed).normal(size=(ROWS, DIM))


@effort(100)
@given(noise_settings())
def test_every_schedule_is_its_formula_and_never_erases_all(values: dict[str, Any]) -> None:
    config = NoiseConfig(**values)
    betas = noise_betas(config)
    assert betas.shape == (config.steps,)
    assert ((betas >= 0) & (betas < 1)).all()
    np.testing.assert_allclose(betas, betas_of(config), rtol=1e-6, atol=1e-12)


@effort(100)
@given(noise_settings())
def test_noise_only_grows_and_posteriors_are_narrower_than_steps(values: dict[str, Any]) -> None:
    betas = noise_betas(NoiseConfig(**values))
    tables = schedule_tables(betas)
    assert (np.diff(tables["alpha_bar"]) <= 0).all()
    assert (tables["posterior_variance"] <= betas + 1e-12).all()
    assert all(np.isfinite(tables[name]).all() for name in set(tables) - {"snr"})
    if betas.any():
        assert np.isfinite(tables["snr"]).all()


@effort(60)
@given(st.lists(st.floats(1e-4, 0.999), min_size=1, max_size=8))
def test_tables_of_any_betas_describe_the_posterior_of_bayes_rule(betas: list[float]) -> None:
    tables = schedule_tables(np.array(betas))
    for t in range(len(betas)):
        for x_start, x_t in ((1.0, 0.0), (0.0, 1.0)):
            mean, variance = posterior(betas, t, x_start, x_t)
            coefficient = "posterior_mean_coef1" if x_start else "posterior_mean_coef2"
            np.testing.assert_allclose(tables[coefficient][t], mean, rtol=1e-8, atol=1e-12)
            np.testing.assert_allclose(tables["posterior_variance"][t], variance, rtol=1e-8)


@effort(60)
@given(st.lists(st.floats(1e-4, 0.999), min_size=2, max_size=8))
def test_only_the_log_variance_of_the_first_step_is_clipped(betas: list[float]) -> None:
    """Also where a schedule's noise falls again, as none of the four does."""
    tables = schedule_tables(np.array(betas))
    for t in range(1, len(betas)):
        expected = np.log(posterior(betas, t, 0.0, 0.0)[1])
        np.testing.assert_allclose(tables["posterior_log_variance"][t], expected, 1e-6, 1e-9)


@effort(60)
@given(diffusion_configs(), st.data())
def test_predict_x_start_inverts_q_sample(config: DiffusionLossConfig, data: st.DataObject) -> None:
    step = data.draw(st.integers(0, config.steps - 1))
    diffusion, t = GaussianDiffusion(config).double(), torch.full((ROWS,), step)
    x_start, noise = torch.from_numpy(normal(1)), torch.from_numpy(normal(2))
    x_t = diffusion.q_sample(x_start, t, noise)
    output = x_start if config.prediction_target == "x_start" else noise
    torch.testing.assert_close(diffusion.predict_x_start(x_t, t, output), x_start)


@effort(100)
@given(diffusion_configs())
def test_weighted_errors_are_the_lower_bound_at_every_step(config: DiffusionLossConfig) -> None:
    betas, weights = betas_of(config), loss_weights(config).double().numpy()
    x_start, noise, output = normal(3), normal(4), normal(5)
    for t in range(config.steps):
        x_t = noisy(betas, t, x_start, noise)
        if config.prediction_target == "x_start":
            error, estimate = (x_start - output) ** 2, output
        else:
            error, estimate = (noise - output) ** 2, clean(betas, t, x_t, output)
        expected = lower_bound_term(betas, t, x_start, x_t, estimate)
        np.testing.assert_allclose(weights[t] * error.sum(axis=1) / 2, expected, rtol=1e-3)


@effort(60)
@given(diffusion_configs(prediction_target="x_start"))
def test_the_weights_add_up_to_the_lost_signal_to_noise(config: DiffusionLossConfig) -> None:
    """Differences telescope: after the first step, SNR(1) - SNR(T) is all there is to share."""
    snr = schedule_tables(noise_betas(config))["snr"]
    total = float(loss_weights(config)[1:].double().sum())
    np.testing.assert_allclose(total, snr[0] - snr[-1], rtol=1e-5, atol=1e-12)
