"""Mult-VAE and Mult-DAE against dense matrices in float64, and what their training is given."""

from typing import Any

import numpy as np
import pytest
import torch

from diffrec_core.models.autoencoder.config import AutoencoderConfig, MultDaeConfig, MultVaeConfig
from diffrec_core.models.autoencoder.network import AutoencoderNetwork
from diffrec_core.models.autoencoder.program import AutoencoderProgram
from diffrec_core.models.kinds import create
from diffrec_core.nn.dropout import keep_scale
from diffrec_core.training.epoch import Epoch
from diffrec_core.training.seeding import torch_seed
from diffrec_core.training.trainer import TrainingOptions
from tests.oracle.model_oracles import Matrix, affine, linears, multinomial, sparse
from tests.planted import planted_data

N_ITEMS, LATENT = 7, 3
KINDS: dict[str, type[AutoencoderConfig]] = {"mult_vae": MultVaeConfig, "mult_dae": MultDaeConfig}
TINY = {"hidden_dims": [6], "latent_dim": 4, "batch_size": 30, "learning_rate": 0.01}


def build(kind: str, hidden_dims: tuple[int, ...], dropout: float = 0.0) -> AutoencoderNetwork:
    config = KINDS[kind](hidden_dims=hidden_dims, latent_dim=LATENT, dropout=dropout)
    with torch_seed(5, "network"):
        network = AutoencoderNetwork(N_ITEMS, config)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.mul_(3.0)  # far from the linear part of tanh
    return network


def histories() -> Matrix:
    rng = np.random.default_rng(2)
    return (rng.random((5, N_ITEMS)) < 0.6) * rng.random((5, N_ITEMS))


def unit(x: Matrix) -> Matrix:
    """Each row divided by its length."""
    return np.array([row / np.sqrt(sum(value * value for value in row)) for row in x])


def encoded(network: AutoencoderNetwork, inputs: Matrix) -> Matrix:
    """The last layer of the encoder; tanh between layers, none after the last."""
    table, bias = (p.detach().double().numpy() for p in (network.table, network.bias))
    state = inputs @ table + bias
    for layer in linears(network.encoder):
        state = affine(layer, np.tanh(state))
    return state


def decoded(network: AutoencoderNetwork, code: Matrix) -> Matrix:
    first, *rest = linears(network.decoder)
    state = affine(first, code)
    for layer in rest:
        state = affine(layer, np.tanh(state))
    return state


WIDTHS = pytest.mark.parametrize("hidden_dims", [(), (5,), (4, 6)])


@WIDTHS
@pytest.mark.parametrize("kind", KINDS)
def test_scores_are_those_of_the_dense_network(kind: str, hidden_dims: tuple[int, ...]) -> None:
    network, x = build(kind, hidden_dims, dropout=0.5).eval(), histories()
    code = encoded(network, unit(x))
    expected = decoded(network, code[:, :LATENT] if kind == "mult_vae" else np.tanh(code))
    np.testing.assert_allclose(network.scores(sparse(x)).detach(), expected, rtol=1e-4, atol=1e-5)


@WIDTHS
@pytest.mark.parametrize("dropout", [0.0, 0.5])
def test_the_loss_of_mult_vae_is_the_bound_of_a_corrupted_input(
    hidden_dims: tuple[int, ...], dropout: float
) -> None:
    network, x = build("mult_vae", hidden_dims, dropout).train(), histories()
    rows = sparse(x)
    with torch_seed(7, "draws"):  # the draws in the order of the docstring: gaps, then the code
        scale = np.ones(len(rows.weights))
        if dropout:
            scale = keep_scale(rows.weights.shape, dropout).double().numpy()
        noise = torch.randn(len(x), LATENT).double().numpy()
    corrupted = unit(x)
    corrupted[np.nonzero(x)] *= scale
    code = encoded(network, corrupted)
    mean, log_variance = code[:, :LATENT], code[:, LATENT:]
    scores = decoded(network, mean + np.sqrt(np.exp(log_variance)) * noise)
    variance = np.exp(log_variance)
    divergence = (0.5 * (mean**2 + variance - 1.0 - log_variance)).sum(axis=1)
    expected = multinomial(scores, x) + 0.3 * divergence  # of the whole history, not of the rest
    with torch_seed(7, "draws"):
        losses = network.losses(rows, kl_weight=0.3)
    np.testing.assert_allclose(losses.detach(), expected, rtol=1e-4)


@WIDTHS
def test_the_loss_of_mult_dae_is_the_likelihood(hidden_dims: tuple[int, ...]) -> None:
    network, x = build("mult_dae", hidden_dims), histories()
    expected = multinomial(decoded(network, np.tanh(encoded(network, unit(x)))), x)
    losses = network.losses(sparse(x), kl_weight=9.0)
    np.testing.assert_allclose(losses.detach(), expected, rtol=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_a_history_without_weight_gets_finite_scores_and_gradients(kind: str) -> None:
    network, x = build(kind, (5,)).train(), np.zeros((2, N_ITEMS))
    rows = sparse(np.ones((2, N_ITEMS))).with_weights(torch.zeros(2 * N_ITEMS))
    np.testing.assert_allclose(
        network.scores(rows).detach(), network.scores(sparse(x)).detach(), rtol=1e-6
    )
    network.losses(rows, kl_weight=1.0).sum().backward()
    assert all(torch.isfinite(p.grad).all() for p in network.parameters() if p.grad is not None)


def program(section: dict[str, Any]) -> AutoencoderProgram:
    """What a model trains on the planted data."""
    model = create(section, "model")
    seen: list[AutoencoderProgram] = []
    original = AutoencoderProgram.__init__

    def remember(self: AutoencoderProgram, *args: Any, **settings: Any) -> None:
        original(self, *args, **settings)
        seen.append(self)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(AutoencoderProgram, "__init__", remember)
        model.fit(planted_data(), TrainingOptions(fixed_epochs=1))
    return seen[0]


def test_the_kl_weight_rises_over_the_steps_of_all_epochs(monkeypatch: pytest.MonkeyPatch) -> None:
    trained = program(
        {"kind": "mult_vae", **TINY, "kl_weight_max": 0.5, "kl_weight_anneal_steps": 10}
    )
    weights, original = [], trained.network.losses
    monkeypatch.setattr(
        trained.network,
        "losses",
        lambda rows, weight, _: weights.append(weight) or original(rows, weight),
    )
    for number in (1, 2):  # 80 users, 30 per step: 3 steps an epoch
        trained.train_epoch(Epoch(number))
    assert weights == pytest.approx([0.0, 0.1, 0.2, 0.3, 0.4, 0.5])
    trained.train_epoch(Epoch(4))
    assert weights[6:] == [0.5, 0.5, 0.5]


@pytest.mark.parametrize("in_training", [True, False])
def test_recency_weighs_what_is_trained_on_if_asked(in_training: bool) -> None:
    recency = {"kind": "linear", "weight_min": 0.0, "weight_max": 1.0}
    trained = program(
        {"kind": "mult_dae", **TINY, "recency": recency, "recency_in_training": in_training}
    )
    first = trained.rows.weights[: int(trained.rows.offsets[1])].tolist()
    n = len(first)
    expected = [place / (n - 1) for place in range(n)] if in_training else [1.0] * n
    assert first == pytest.approx(expected)
