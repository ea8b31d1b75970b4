"""The denoiser: its widths, its size, and every layer of its forward pass."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from diffrec_core.models.diffrec.denoiser import Denoiser, DenoiserConfig, timestep_embedding
from diffrec_core.training.seeding import torch_seed
from tests.oracle.model_oracles import ACTIVATIONS, denoised, denoiser_layers, timestep_features

DIM, EMBEDDING = 7, 4


def build(dim: int = DIM, **changes: Any) -> Denoiser:
    config = DenoiserConfig(**{"timestep_embedding_dim": EMBEDDING, "dropout": 0.0, **changes})
    with torch_seed(5, "denoiser"):
        return Denoiser(dim, config)


def linears(denoiser: Denoiser) -> tuple[nn.Linear, list[nn.Linear]]:
    """The timestep's layer, and the others from the input to the output."""
    return denoiser.embed, denoiser_layers(denoiser)


def widths(denoiser: Denoiser) -> list[tuple[int, int]]:
    return [(layer.in_features, layer.out_features) for layer in linears(denoiser)[1]]


@pytest.mark.parametrize(
    ("hidden", "expected"),
    [
        ([], [(17, 7)]),
        ([1000], [(17, 1000), (1000, 7)]),
        ([200, 600], [(17, 600), (600, 200), (200, 600), (600, 7)]),
        ([2, 3, 5], [(17, 5), (5, 3), (3, 2), (2, 3), (3, 5), (5, 7)]),
    ],
)
def test_widths_are_mirrored_around_the_bottleneck(
    hidden: list[int], expected: list[tuple[int, int]]
) -> None:
    denoiser = build(hidden_dims=hidden, timestep_embedding_dim=10)
    assert widths(denoiser) == expected
    assert (denoiser.embed.in_features, denoiser.embed.out_features) == (10, 10)
    assert len(denoiser.rest) == 2 * len(expected) - 2  # an activation between any two


@pytest.mark.parametrize(
    ("n_items", "hidden", "millions"),
    [(94_949, [1000], 190.0), (34_395, [1000], 68.8), (2_810, [200, 600], 3.6)],
    ids=["Amazon-book", "Yelp", "ML-1M"],
)
def test_published_models_have_the_published_size(
    n_items: int, hidden: list[int], millions: float
) -> None:
    with torch.device("meta"):
        denoiser = Denoiser(n_items, DenoiserConfig(hidden_dims=hidden))
    count = sum(parameter.numel() for parameter in denoiser.parameters())
    assert round(count / 1e6, 1) == millions


@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize("hidden", [[], [6], [3, 5]])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_forward_is_the_layers_one_after_another(
    activation: str, hidden: list[int], normalize: bool
) -> None:
    denoiser = build(hidden_dims=hidden, activation=activation, normalize_input=normalize)
    x, steps = np.random.default_rng(2).normal(size=(5, DIM)) * 3, [0, 1, 7, 39, 7]
    result = denoiser(torch.from_numpy(x).to(torch.float32), torch.tensor(steps))
    embed, layers = linears(denoiser)
    expected = denoised(embed, layers, x, steps, activation=activation, normalize=normalize)
    np.testing.assert_allclose(result.detach(), expected, rtol=1e-4, atol=1e-5)


def test_leaky_relu_leaks() -> None:
    """With negative pre-activations, relu would erase what leaky_relu lets through."""
    leaky, relu = (build(hidden_dims=[6], activation=a) for a in ("leaky_relu", "relu"))
    x, t = -3 * torch.ones(1, DIM), torch.tensor([0])
    with torch.no_grad():
        for denoiser in (leaky, relu):
            denoiser.first.weight.fill_(1.0)
    assert not torch.equal(leaky(x, t), relu(x, t))
    torch.testing.assert_close(relu(x, t), relu.rest[-1].bias[None])


def first_inputs(denoiser: Denoiser, x: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
    """What the two halves of the first of the mirrored layers are given."""
    seen: list[Tensor] = []
    hooks = [
        part.register_forward_pre_hook(lambda _, args: seen.append(args[0].detach()))
        for part in (denoiser.first, denoiser.first_of_t)
    ]
    with torch_seed(1, "dropout"):
        denoiser(x, t)
    for hook in hooks:
        hook.remove()
    return seen[0], seen[1]


def test_dropout_falls_on_the_input_alone_and_in_training_alone() -> None:
    denoiser = build(dim=2000, dropout=0.25, hidden_dims=[3])
    x, t = torch.full((20, 2000), 3.0), torch.tensor([4] * 20)
    kept, embedded = first_inputs(denoiser.train(), x, t)
    scored, embedded_scored = first_inputs(denoiser.eval(), x, t)
    torch.testing.assert_close(scored, x, rtol=0, atol=0)
    torch.testing.assert_close(embedded, embedded_scored, rtol=0, atol=0)
    assert torch.unique(kept).tolist() == [0.0, 4.0]  # 3 / (1 - 0.25)
    share = float((kept == 0).double().mean())
    assert share == pytest.approx(0.25, abs=4 * (0.25 * 0.75 / 40_000) ** 0.5)


def test_normalising_comes_before_dropout_and_leaves_empty_rows_alone() -> None:
    denoiser = build(dim=50, dropout=0.5, normalize_input=True, hidden_dims=[3]).train()
    x = torch.cat([torch.full((1, 50), 9.0), torch.zeros(1, 50)])
    seen, _ = first_inputs(denoiser, x, torch.tensor([0, 0]))
    size = 2 / 50**0.5  # 9 / |x| doubled: dropping first would make the rest larger
    assert all(v == pytest.approx(0) or v == pytest.approx(size) for v in seen[0].tolist())
    assert seen[1].tolist() == [0.0] * 50


@pytest.mark.parametrize("dim", [2, 3, 9, 10, 64])
def test_timestep_embedding_follows_the_formula(dim: int) -> None:
    steps = [0, 1, 2, 39, 999]
    result = timestep_embedding(torch.tensor(steps), dim)
    assert result.shape == (len(steps), dim)
    expected = [timestep_features(t, dim) for t in steps]
    np.testing.assert_allclose(result, expected, rtol=1e-4, atol=1e-4)


def test_weights_start_xavier_normal_and_biases_nearly_zero() -> None:
    denoiser = build(dim=500, hidden_dims=[400])
    layer = linears(denoiser)[1][0]
    spread = (2 / (504 + 400)) ** 0.5
    for weight in (layer.weight, denoiser.first_of_t.weight):
        assert float(weight.detach().std()) == pytest.approx(spread, rel=0.05)
    assert float(layer.weight.detach().std()) == pytest.approx(spread, rel=0.02)
    assert float(layer.bias.detach().abs().max()) < 0.01
