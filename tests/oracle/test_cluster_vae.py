"""The autoencoders: categories, the order of items, latent shares, and the loss terms."""

from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from diffrec_core.common.errors import DataError
from diffrec_core.models.diffrec.cluster_vae import ClusterVae, ClusterVaeConfig, allocate
from diffrec_core.models.diffrec.denoiser import Denoiser, DenoiserConfig
from diffrec_core.training.seeding import torch_seed
from tests.devices import DEVICES
from tests.oracle.model_oracles import decoded, encoded, linears, sparse

MIXED = np.array([1, 0, 2, 0, 1, 0, 2])
CATEGORIES = {
    "one": np.zeros(7, dtype=np.int64),
    "mixed": MIXED,
    "singletons": np.array([2, 0, 0, 1, 0, 0, 3]),
    "all singletons": np.array([6, 0, 5, 2, 3, 1, 4]),
}


def build(categories: Any, **changes: Any) -> ClusterVae:
    with torch_seed(8, "vae"):
        return ClusterVae(categories, ClusterVaeConfig(**{"vae_dropout": 0.0, **changes}))


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("activation", ["tanh", "leaky_relu"])
@pytest.mark.parametrize("dims", [((7,), ()), ((9, 8), ()), ((8,), (9,)), ((9, 8), (10, 9))])
@pytest.mark.parametrize("name", CATEGORIES)
def test_encode_and_decode_go_category_by_category(
    name: str, dims: tuple[tuple[int, ...], tuple[int, ...]], activation: str, device: str
) -> None:
    categories, rng = CATEGORIES[name], np.random.default_rng(1)
    vae = build(categories, encoder_dims=dims[0], decoder_dims=dims[1], vae_activation=activation)
    vae.to(device)
    x, z = rng.normal(size=(3, 7)), rng.normal(size=(3, vae.latent_dim))
    corrupted, mean, log_variance = vae.encode(sparse(x, device))
    expected = encoded(vae, categories, x)
    np.testing.assert_allclose(mean.detach().cpu(), expected[0], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(log_variance.detach().cpu(), expected[1], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(corrupted.dense().cpu(), x, rtol=1e-6)
    scores = vae.decode(torch.from_numpy(z).to(device, torch.float32)).detach().cpu()
    np.testing.assert_allclose(scores, decoded(vae, categories, z), rtol=1e-4, atol=1e-5)


def make_identity(vae: ClusterVae) -> None:
    """Let every layer hand its inputs on; latent dimensions to spare hold zeros."""
    with torch.no_grad():
        for layer in linears(vae):
            layer.weight.copy_(torch.eye(layer.out_features, layer.in_features))
            layer.bias.zero_()
        for encoder in vae.encoders:
            encoder.table.copy_(torch.eye(*encoder.table.shape))
        if not vae.config.decoder_dims:
            pairs = zip(vae.sizes, vae.latent_sizes, strict=True)
            grouped = torch.block_diag(*[torch.eye(*p) for p in pairs])
            linears(vae.decoders)[0].weight.copy_(grouped[vae.item_order_inverse])


@pytest.mark.parametrize("decoder_dims", [(), (30,)], ids=["shared", "per category"])
@pytest.mark.parametrize("name", CATEGORIES)
def test_items_come_back_in_vocabulary_order(name: str, decoder_dims: tuple[int, ...]) -> None:
    vae = build(
        CATEGORIES[name], encoder_dims=(30,), decoder_dims=decoder_dims, vae_activation="relu"
    )
    make_identity(vae)
    x = torch.arange(1.0, 15.0).reshape(2, 7)
    _, mean, log_variance = vae.encode(sparse(x.numpy()))
    torch.testing.assert_close(vae.decode(mean), x, rtol=0, atol=0)
    assert not log_variance.any()


def test_the_order_groups_items_by_category_and_is_undone() -> None:
    vae = build(MIXED, encoder_dims=(7,))
    assert MIXED[vae.item_order.numpy()].tolist() == [0, 0, 0, 1, 1, 2, 2]
    assert vae.item_order[vae.item_order_inverse].tolist() == list(range(7))


@pytest.mark.parametrize("decoder_dims", [(), (12,)])
def test_renaming_items_renames_the_scores_and_changes_nothing_else(
    decoder_dims: tuple[int, ...],
) -> None:
    """Sorted by category, the vocabulary is another but every category is the same."""
    order = np.argsort(MIXED, kind="stable")
    one = build(MIXED, encoder_dims=(8,), decoder_dims=decoder_dims)
    other = build(MIXED[order], encoder_dims=(8,), decoder_dims=decoder_dims)
    other.load_state_dict(one.state_dict())
    if not decoder_dims:  # the shared layer has a row for each item of the vocabulary
        for parameter in other.decoders.parameters():
            parameter.data = parameter.data[order]
    x, z = np.random.default_rng(1).random((3, 7)), torch.rand(3, 8)
    for a, b in zip(one.encode(sparse(x))[1:], other.encode(sparse(x[:, order]))[1:], strict=True):
        torch.testing.assert_close(a, b)
    torch.testing.assert_close(one.decode(z)[:, order], other.decode(z))


def test_categories_have_encoders_of_their_own() -> None:
    vae = build(MIXED, encoder_dims=(9,))
    x = np.ones((1, 7))
    before = vae.encode(sparse(x))[1]
    x[0, 1] = 5.0  # an item of category 0
    changed = (vae.encode(sparse(x))[1] != before)[0].tolist()
    own = vae.latent_sizes[0]
    assert any(changed[:own])
    assert not any(changed[own:])


@pytest.mark.parametrize("device", DEVICES)
def test_dropout_corrupts_the_input_in_training_and_says_how(device: str) -> None:
    vae = build(np.zeros(4000, dtype=np.int64), encoder_dims=(2,), vae_dropout=0.2).to(device)
    x = sparse(np.ones((2, 4000)), device)
    with torch_seed(1, "vae"):
        corrupted, mean, _ = vae.train().encode(x)
    # on a CPU the share is a multiple of 2^-16
    assert torch.unique(corrupted.weights).tolist() == pytest.approx([0.0, 1.25], rel=2**-16)
    assert float((corrupted.weights == 0).double().mean()) == pytest.approx(0.2, abs=0.02)
    assert torch.equal(vae.eval().encode(x)[0].weights, x.weights)
    torch.testing.assert_close(vae.eval().encode(corrupted)[1], mean)  # it is what was encoded


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("decoder_dims", [(), (7,)])
def test_every_weight_gets_a_gradient(decoder_dims: tuple[int, ...], device: str) -> None:
    vae = build(MIXED, encoder_dims=(9, 6), decoder_dims=decoder_dims).to(device)
    _, mean, log_variance = vae.encode(sparse(np.random.default_rng(1).random((4, 7)), device))
    (vae.decode(mean).square().sum() + log_variance.square().sum()).backward()
    assert all(p.grad is not None and p.grad.any() for p in vae.parameters())


@pytest.mark.parametrize(
    ("categories", "message"), [([0, 2, 2], "without gaps"), ([0, 1, 2], "cannot be shared")]
)
def test_impossible_categories_are_refused(categories: list[int], message: str) -> None:
    with pytest.raises(DataError, match=message):
        build(np.array(categories), encoder_dims=(2,))


def test_an_encoder_without_a_latent_layer_is_refused() -> None:
    """The last of `encoder_dims` is Z: an empty list has no Z."""
    with pytest.raises(ValidationError, match="encoder_dims"):
        ClusterVaeConfig(encoder_dims=())


@pytest.mark.parametrize(
    ("total", "sizes", "expected"),
    [
        (10, [700, 290, 10], [6, 3, 1]),
        (7, [7], [7]),
        (3, [100, 1, 1], [1, 1, 1]),
        (300, [500, 500], [150, 150]),
    ],
)
def test_allocations_by_hand(total: int, sizes: list[int], expected: list[int]) -> None:
    assert allocate(total, np.array(sizes)) == expected


@pytest.mark.parametrize(
    ("total", "sizes", "expected"), [(300, [900, 100], [270, 30]), (6, [1, 2, 3], [1, 2, 3])]
)
def test_a_whole_numbered_proportion_is_kept(
    total: int, sizes: list[int], expected: list[int]
) -> None:
    """Largest remainder has nothing to round where total · size / Σ sizes are whole numbers."""
    assert allocate(total, np.array(sizes)) == expected


def expected_size(n_items: int, latent: int, shares: list[int], sizes: list[int]) -> int:
    """Parameters of L-DiffRec with one encoder layer, a shared decoder and MLP [300]."""
    encoders = sum((size + 1) * 2 * share for size, share in zip(sizes, shares, strict=True))
    decoder = (latent + 1) * n_items
    embedding = 10 * 10 + 10
    denoiser = (latent + 10 + 1) * 300 + (300 + 1) * latent
    return encoders + decoder + embedding + denoiser


@pytest.mark.parametrize(
    ("n_items", "larger", "millions"),
    [(94_949, 0.9, 75.5), (34_395, 0.5, 20.9), (2_810, 0.5, 1.9)],
    ids=["Amazon-book", "Yelp", "ML-1M"],
)
def test_published_latent_models_have_about_the_published_size(
    n_items: int, larger: float, millions: float
) -> None:
    """The authors' clusters are not known: `larger` is the share that gives their figure."""
    first = round(n_items * larger)
    categories = np.repeat([0, 1], [first, n_items - first])
    with torch.device("meta"):
        vae = ClusterVae(categories, ClusterVaeConfig(encoder_dims=(300,)))
        denoiser = Denoiser(vae.latent_dim, DenoiserConfig(hidden_dims=(300,)))
    count = sum(p.numel() for module in (vae, denoiser) for p in module.parameters())
    assert count == expected_size(n_items, 300, vae.latent_sizes, [first, n_items - first])
    assert count / 1e6 == pytest.approx(millions, rel=0.02)
