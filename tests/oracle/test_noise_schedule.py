"""The noise schedules against their formulas, one β at a time."""

from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from diffrec_core.diffusion.noise_schedule import NoiseConfig, adds_noise, noise_betas
from tests.oracle.oracles import LARGEST_BETA, betas_of, marginal
from tests.oracle.strategies import SCHEDULES

CASES: list[dict[str, Any]] = [
    {"steps": 1},
    {"steps": 2},
    {"steps": 5, "noise_scale": 1e-4, "noise_min": 5e-4, "noise_max": 5e-3},  # Amazon-book
    {"steps": 40, "noise_scale": 0.005, "noise_min": 5e-3, "noise_max": 1e-2},  # ML-1M
    {"steps": 1000, "noise_scale": 1.0, "noise_min": 1e-4, "noise_max": 0.02},  # Ho et al.
    {"steps": 7, "noise_scale": 1.0, "noise_min": 0.1, "noise_max": 0.99},
]


@pytest.mark.parametrize("fix_first", [True, False])
@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("case", CASES, ids=lambda case: f"T{case['steps']}")
def test_betas_follow_the_formula(case: dict[str, Any], schedule: str, fix_first: bool) -> None:
    config = NoiseConfig(noise_schedule=schedule, fix_first_beta=fix_first, **case)
    betas = noise_betas(config)
    assert betas.dtype == np.float64
    np.testing.assert_allclose(betas, betas_of(config), rtol=1e-6, atol=1e-15)


def test_the_noise_variance_itself_is_linear() -> None:
    config = NoiseConfig(
        steps=5, noise_scale=0.5, noise_min=0.1, noise_max=0.3, fix_first_beta=False
    )
    betas = noise_betas(config).tolist()
    variances = [marginal(betas, t)[1] for t in range(5)]
    np.testing.assert_allclose(variances, [0.05, 0.075, 0.1, 0.125, 0.15], rtol=1e-12)


def test_linear_is_an_arithmetic_progression() -> None:
    config = NoiseConfig(
        steps=3,
        noise_schedule="linear",
        noise_scale=0.1,
        noise_min=0.2,
        noise_max=0.4,
        fix_first_beta=False,
    )
    np.testing.assert_allclose(noise_betas(config), [0.02, 0.03, 0.04], rtol=1e-12)


def test_binomial_ends_at_the_largest_beta_and_is_one_based() -> None:
    config = NoiseConfig(steps=5, noise_schedule="binomial", fix_first_beta=False)
    np.testing.assert_allclose(noise_betas(config), [1 / 5, 1 / 4, 1 / 3, 1 / 2, LARGEST_BETA])


def test_binomial_erases_the_same_share_of_the_signal_in_every_step() -> None:
    betas = noise_betas(NoiseConfig(steps=6, noise_schedule="binomial", fix_first_beta=False))
    remaining = [marginal(betas.tolist(), t)[0] ** 2 for t in range(5)]
    np.testing.assert_allclose(remaining, [5 / 6, 4 / 6, 3 / 6, 2 / 6, 1 / 6], rtol=1e-12)


def test_cosine_signal_is_the_squared_cosine() -> None:
    steps = 8
    betas = noise_betas(NoiseConfig(steps=steps, noise_schedule="cosine", fix_first_beta=False))
    angles = (np.arange(1, steps) / steps + 0.008) / 1.008 * np.pi / 2
    signal = [marginal(betas.tolist(), t)[0] ** 2 for t in range(steps - 1)]
    np.testing.assert_allclose(signal, np.cos(angles) ** 2 / np.cos(0.008 / 1.008 * np.pi / 2) ** 2)
    assert betas[-1] == LARGEST_BETA


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_fixing_the_first_beta_changes_no_other(schedule: str) -> None:
    fixed, free = (
        noise_betas(NoiseConfig(noise_schedule=schedule, noise_min=1e-3, fix_first_beta=fix))
        for fix in (True, False)
    )
    assert fixed[0] == 1e-5
    assert free[0] != 1e-5
    np.testing.assert_array_equal(fixed[1:], free[1:])


@pytest.mark.parametrize("fix_first", [True, False])
@pytest.mark.parametrize("schedule", ["linear", "linear-var"])
def test_no_scale_no_noise(schedule: str, fix_first: bool) -> None:
    config = NoiseConfig(noise_schedule=schedule, noise_scale=0.0, fix_first_beta=fix_first)
    assert noise_betas(config).tolist() == [0.0] * 5
    assert not adds_noise(config)


@pytest.mark.parametrize("schedule", ["cosine", "binomial"])
def test_unscaled_schedules_do_not_listen_to_the_scale(schedule: str) -> None:
    silent, loud = (NoiseConfig(noise_schedule=schedule, noise_scale=s) for s in (0.0, 0.5))
    assert adds_noise(silent)
    np.testing.assert_array_equal(noise_betas(silent), noise_betas(loud))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"noise_min": 0.02, "noise_max": 0.01}, "swapped"),
        ({"noise_min": 0.02, "noise_max": 0.02}, "must be less than"),
        ({"noise_scale": 100.0}, "variance share"),
        ({"steps": 0}, "greater than or equal to 1"),
        ({"noise_scale": -0.1}, "greater than or equal to 0"),
        ({"noise_schedule": "exponential"}, "linear-var"),
    ],
)
def test_impossible_schedules_are_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        NoiseConfig(**change)
