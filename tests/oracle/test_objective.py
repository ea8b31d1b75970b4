"""The whole objective and the whole inference of both variants, put together from the oracles."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from diffrec_core.models.diffrec.config import DiffRecConfig
from diffrec_core.models.diffrec.network import DiffRecNetwork
from diffrec_core.training.seeding import torch_seed
from tests.oracle.model_oracles import (
    Matrix,
    decoded,
    denoised,
    denoiser_layers,
    encoded,
    multinomial,
    sparse,
)
from tests.oracle.oracles import (
    betas_of,
    clean,
    gaussian_kl,
    lower_bound_term,
    noisy,
    reverse_loop,
)

CATEGORIES = np.array([1, 0, 2, 0, 1, 0, 2])
STEPS = [0, 3, 1, 2, 1]  # one for each user
TARGETS = ("x_start", "epsilon")


def build(*, latent: bool, target: str, **changes: Any) -> DiffRecNetwork:
    values = {
        "hidden_dims": (5,),
        "encoder_dims": (6,),
        "steps": 4,
        "noise_scale": 0.5,
        "noise_min": 0.01,
        "noise_max": 0.4,
        "dropout": 0.0,
        "vae_dropout": 0.0,
    }
    config = DiffRecConfig(latent=latent, prediction_target=target, **{**values, **changes})
    with torch_seed(3, "network"):
        return DiffRecNetwork(config, len(CATEGORIES), CATEGORIES if latent else None)


def histories() -> Matrix:
    rng = np.random.default_rng(2)
    return (rng.random((len(STEPS), len(CATEGORIES))) < 0.5) * rng.random((len(STEPS), 1))


def network_output(network: DiffRecNetwork, x: Matrix, steps: Sequence[int]) -> Matrix:
    denoiser = network.denoiser
    return denoised(
        denoiser.embed,
        denoiser_layers(denoiser),
        x,
        steps,
        activation=network.config.activation,
        normalize=False,
    )


def diffused(network: DiffRecNetwork, x_start: Matrix, noise: Matrix) -> tuple[list[float], Matrix]:
    """Loss of each row, with importance 1, and the estimate of its x_start."""
    betas, losses, estimates = betas_of(network.config), [], np.empty(x_start.shape)
    for row, t in enumerate(STEPS):
        own = slice(row, row + 1)
        x_t = noisy(betas, t, x_start[own], noise[own])
        output = network_output(network, x_t, [t])
        epsilon = network.config.prediction_target == "epsilon"
        estimates[own] = clean(betas, t, x_t, output) if epsilon else output
        term = lower_bound_term(betas, t, x_start[own], x_t, estimates[own])[0]
        losses.append(term * 2 / x_start.shape[1])
    return losses, estimates


@pytest.fixture
def draws(monkeypatch: pytest.MonkeyPatch) -> list[Matrix]:
    """The normal draws that the code will get, in order; timesteps are those of `STEPS`."""
    width, rng = len(CATEGORIES), np.random.default_rng(9)
    prepared = [rng.normal(size=(len(STEPS), width)) for _ in range(2)]
    queue = iter(prepared)

    def randn_like(like: Tensor, **_: Any) -> Tensor:
        return torch.from_numpy(next(queue)[:, : like.shape[1]]).to(like.dtype)

    monkeypatch.setattr(torch, "randn_like", randn_like)
    monkeypatch.setattr(torch, "multinomial", lambda *_, **__: torch.tensor(STEPS))
    return prepared


@pytest.mark.parametrize("target", TARGETS)
def test_diffrec_minimises_the_diffusion_loss(target: str, draws: list[Matrix]) -> None:
    network, x = build(latent=False, target=target), histories()
    loss = network.losses(sparse(x), diffusion_weight=0.7, kl_weight=0.9).mean()
    expected = diffused(network, x, draws[0])[0]
    assert loss.item() == pytest.approx(sum(expected) / len(expected), rel=1e-4)


@pytest.mark.parametrize("target", TARGETS)
def test_l_diffrec_adds_reconstruction_and_divergence(target: str, draws: list[Matrix]) -> None:
    """Section 3.5: λ · diffusion + likelihood of what the denoised latent decodes to + γ · KL."""
    network, x = build(latent=True, target=target), histories()
    loss = network.losses(sparse(x), diffusion_weight=0.7, kl_weight=0.9).mean()
    assert network.vae is not None
    mean, log_variance = encoded(network.vae, CATEGORIES.tolist(), x)
    z = mean + np.sqrt(np.exp(log_variance)) * draws[0][:, : mean.shape[1]]
    diffusion, estimate = diffused(network, z, draws[1][:, : mean.shape[1]])
    reconstruction = multinomial(decoded(network.vae, CATEGORIES.tolist(), estimate), x)
    total = 0.0
    for row in range(len(x)):
        divergence = sum(
            gaussian_kl(m, np.exp(v), 0.0, 1.0)
            for m, v in zip(mean[row], log_variance[row], strict=True)
        )
        total += 0.7 * diffusion[row] + reconstruction[row] + 0.9 * divergence
    assert loss.item() == pytest.approx(total / len(x), rel=1e-4)


@pytest.mark.parametrize("encoder_dims", [(6,), (8, 6)], ids=["one layer", "two layers"])
def test_in_bfloat16_the_divergence_is_that_of_the_codes_in_float32(
    encoder_dims: tuple[int, ...],
) -> None:
    """Coarse products give coarse codes, but what is computed of them has 24 bits, not 8."""
    network = build(latent=True, target="x_start", encoder_dims=encoder_dims, precision="bfloat16")
    rows, losses = sparse(histories()), []
    for kl_weight in (0.0, 1.0):
        with torch_seed(4, "draws"):
            losses.append(network.losses(rows, diffusion_weight=0.0, kl_weight=kl_weight))
    assert network.vae is not None
    with torch.autocast("cpu", dtype=torch.bfloat16):
        _, mean, log_variance = network.vae.encode(rows)
    assert mean.dtype == log_variance.dtype == losses[0].dtype == torch.float32
    expected = [
        sum(gaussian_kl(m, np.exp(v), 0.0, 1.0) for m, v in zip(means, variances, strict=True))
        for means, variances in zip(mean.tolist(), log_variance.tolist(), strict=True)
    ]
    assert (losses[1] - losses[0]).tolist() == pytest.approx(expected, rel=1e-4, abs=1e-6)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("latent", [False, True])
def test_recovery_is_the_reverse_loop_between_encoder_and_decoder(
    latent: bool, target: str
) -> None:
    network, x = build(latent=latent, target=target).eval(), histories()
    start = encoded(network.vae, CATEGORIES.tolist(), x)[0] if latent else x
    expected = reverse_loop(
        betas_of(network.config),
        lambda x_t, t: network_output(network, x_t, [t] * len(x_t)),
        start,
        target=target,
    )
    if latent:
        expected = decoded(network.vae, CATEGORIES.tolist(), expected)
    result = network.recover(sparse(x)).detach()
    np.testing.assert_allclose(result, expected, rtol=1e-3, atol=1e-4)
