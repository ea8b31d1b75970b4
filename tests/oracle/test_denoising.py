"""Adaptive denoising training: whose weight it takes, in which loss, and when."""

from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from diffrec_core.data.histories import Histories
from diffrec_core.models.autoencoder.config import MultDaeConfig
from diffrec_core.models.autoencoder.model import MultDae
from diffrec_core.models.autoencoder.network import AutoencoderNetwork
from diffrec_core.models.base import TrainingData
from diffrec_core.models.diffrec.config import DiffRecConfig
from diffrec_core.models.diffrec.network import DiffRecNetwork, denoised_squared_error
from diffrec_core.models.kinds import create
from diffrec_core.nn.denoising import (
    DenoisingConfig,
    Reweigh,
    reweighing,
    truncated,
)
from diffrec_core.nn.variational import logistic_loss, multinomial_entries
from diffrec_core.training.seeding import torch_seed
from diffrec_core.training.trainer import TrainingOptions
from tests.oracle.denoising_oracles import (
    Matrix,
    Weights,
    cut,
    double,
    logistic_losses,
    multinomial_losses,
    softened,
    squared_errors,
)
from tests.oracle.model_oracles import sparse
from tests.planted import HALF_ITEMS, planted_data

N_ITEMS, LATE = 9, 10**6
TRUNCATED = {"kind": "truncated", "drop_rate_max": 0.3}
REWEIGHTED = {"kind": "reweighted", "exponent": 0.7}
KINDS: list[tuple[dict[str, Any], Weights]] = [
    (TRUNCATED, cut(0.3)),
    (REWEIGHTED, softened(0.7)),
]
DENOISINGS = pytest.mark.parametrize(("section", "weights"), KINDS, ids=["truncated", "reweighted"])


def made(section: dict[str, Any], step: int = LATE) -> Reweigh:
    reweigh = reweighing(DenoisingConfig(**section), step)
    assert reweigh is not None
    return reweigh


def histories(seed: int = 2) -> Matrix:
    rng = np.random.default_rng(seed)
    return (rng.random((6, N_ITEMS)) < 0.5) * rng.uniform(0.3, 1.0, size=(6, N_ITEMS))


def test_the_largest_losses_of_the_whole_batch_are_left_out() -> None:
    losses = torch.tensor([0.5, 4.0, 1.0, 9.0, 2.0, 7.0])
    weights = torch.tensor([1.0, 2.0, 3.0, 0.0, 5.0, 6.0])  # the fourth is none
    assert truncated(losses, weights, 0.39).tolist() == [1.0, 2.0, 3.0, 0.0, 5.0, 0.0]  # 1 of 5
    assert truncated(losses, weights, 0.4).tolist() == [1.0, 0.0, 3.0, 0.0, 5.0, 0.0]
    assert truncated(torch.ones(4), torch.ones(4), 0.5).tolist() == [0.0, 0.0, 1.0, 1.0]
    assert truncated(torch.ones(0), torch.ones(0), 0.5).tolist() == []


@pytest.mark.parametrize(
    ("anneal_steps", "left"), [(8, {0: 10, 2: 9, 4: 8, 7: 7, 8: 6, 99: 6}), (0, {0: 6, 99: 6})]
)
def test_the_share_rises_by_the_step(anneal_steps: int, left: dict[int, int]) -> None:
    section = {"kind": "truncated", "drop_rate_max": 0.4, "drop_rate_anneal_steps": anneal_steps}
    for step, expected in left.items():
        kept = made(section, step)(torch.arange(10.0), torch.ones(10))
        assert kept.tolist() == [1.0] * expected + [0.0] * (10 - expected)


def test_reweighting_by_hand() -> None:
    """p = ½ and ¼, β = ½."""
    losses, weights = -torch.tensor([0.5, 0.25]).log(), torch.tensor([1.0, 3.0])
    result = made({"kind": "reweighted", "exponent": 0.5}, 0)(losses, weights)
    assert result.tolist() == pytest.approx([0.5**0.5, 3 * 0.5])


def test_none_is_nothing() -> None:
    assert reweighing(DenoisingConfig(), LATE) is None


def test_logistic_loss_is_the_cross_entropy_of_all_items() -> None:
    given = torch.from_numpy((histories() > 0).astype(np.float64))
    scores = torch.from_numpy(np.random.default_rng(4).normal(size=given.shape) * 30)
    expected = binary_cross_entropy_with_logits(scores, given, reduction="none").sum(dim=1)
    torch.testing.assert_close(logistic_loss(scores, sparse(given.numpy())), expected)


@DENOISINGS
@pytest.mark.parametrize("likelihood", ["multinomial", "logistic"])
def test_the_loss_of_an_autoencoder(
    likelihood: str, section: dict[str, Any], weights: Weights
) -> None:
    config = MultDaeConfig(hidden_dims=(), latent_dim=4, dropout=0.0, likelihood=likelihood)
    with torch_seed(5, "network"):
        network = AutoencoderNetwork(N_ITEMS, config)
    x = histories()
    oracle = {"multinomial": multinomial_losses, "logistic": logistic_losses}[likelihood]
    expected = oracle(double(network.scores(sparse(x))), x, weights)
    losses = network.losses(sparse(x), 0.0, made(section))
    np.testing.assert_allclose(double(losses), expected, rtol=1e-5)
    plain = network.losses(sparse(x), 0.0)
    assert not torch.allclose(plain, losses)
    torch.testing.assert_close(
        network.losses(sparse(x), 0.0, made({"kind": "reweighted", "exponent": 0.0})), plain
    )


@DENOISINGS
def test_the_squared_error_and_its_gradient(section: dict[str, Any], weights: Weights) -> None:
    x, rng = histories(), np.random.default_rng(3)
    x[1] = 0.0  # without any
    output = torch.from_numpy(rng.normal(size=x.shape)).to(torch.float32).requires_grad_()
    rows = sparse(x)
    losses = denoised_squared_error(output, rows.dense(), histories=rows, reweigh=made(section))
    np.testing.assert_allclose(
        double(losses), squared_errors(double(output), x, weights), rtol=1e-4
    )
    losses.sum().backward()
    assert output.grad is not None
    entries = {(u, i): 0.5 * (double(output)[u, i] - x[u, i]) ** 2 for u, i in np.argwhere(x)}
    constant = np.ones_like(x)
    for place, weight in weights(entries).items():
        constant[place] = weight
    expected = 2 * constant * (double(output) - x) / N_ITEMS  # the weights are constants
    np.testing.assert_allclose(double(output.grad), expected, rtol=1e-4, atol=1e-7)


@DENOISINGS
@pytest.mark.parametrize("latent", [False, True])
def test_diffrec_weighs_the_error_or_the_likelihood(
    latent: bool, section: dict[str, Any], weights: Weights, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = DiffRecConfig(
        latent=latent, hidden_dims=(5,), encoder_dims=(6,), steps=3, dropout=0.0, vae_dropout=0.5
    )
    categories = np.zeros(N_ITEMS, dtype=np.int64)
    with torch_seed(3, "network"):
        network = DiffRecNetwork(config, N_ITEMS, categories if latent else None).train()
    x, seen = histories(), []

    def losses(reweigh: Reweigh | None) -> Matrix:
        with torch_seed(9, "draws"):
            result = network.losses(sparse(x), diffusion_weight=0.0, kl_weight=0.0, reweigh=reweigh)
        return double(result)

    name = "decode" if latent else "forward"
    part: Any = network.vae if latent else network.denoiser
    original = getattr(part, name)
    monkeypatch.setattr(part, name, lambda *a: seen.append(original(*a)) or seen[-1])
    if not latent:
        plain, result = losses(None), losses(made(section))
        errors = squared_errors(double(seen[1]), x, weights)
        ratio = errors / squared_errors(double(seen[0]), x, cut(0.0))
        np.testing.assert_allclose(result / plain, ratio, rtol=1e-4)
        return
    assert network.vae is not None
    with torch_seed(9, "draws"):
        left = double(network.vae.encode(sparse(x)).corrupted.dense())
    result = losses(made(section))
    expected = multinomial_losses(double(seen[-1]), left, weights)
    np.testing.assert_allclose(result, expected, rtol=1e-5)


def test_errors_of_noise_are_not_errors_of_interactions() -> None:
    denoising = DenoisingConfig(kind="truncated")
    with pytest.raises(ValidationError, match="needs prediction_target = x_start"):
        DiffRecConfig(prediction_target="epsilon", denoising=denoising)
    DiffRecConfig(prediction_target="epsilon", denoising=denoising, latent=True)
    DiffRecConfig(prediction_target="epsilon")


@pytest.mark.parametrize(
    ("section", "module"),
    [({"kind": "mult_vae"}, "autoencoder"), ({"kind": "diffrec", "steps": 2}, "diffrec")],
)
def test_steps_are_counted_over_all_epochs(
    section: dict[str, Any], module: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The planted data has 80 users: 3 steps an epoch."""
    steps: list[tuple[str, int]] = []

    def record(config: DenoisingConfig, step: int) -> Reweigh | None:
        steps.append((config.kind, step))
        return reweighing(config, step)

    monkeypatch.setattr(f"diffrec_core.models.{module}.program.reweighing", record)
    tiny = {"hidden_dims": [4], "batch_size": 30, "denoising": TRUNCATED}
    create({**section, **tiny}, "model").fit(planted_data(), TrainingOptions(fixed_epochs=2))
    assert steps == [("truncated", step) for step in range(6)]


def noisy_data(share: int = 4) -> tuple[TrainingData, Tensor]:
    """The planted data with an item of the other block in every history's place `share`."""
    data, rng = planted_data(), np.random.default_rng(6)
    lists = [data.histories.take(np.array([u])).items.tolist() for u in range(len(data.histories))]
    noise = []
    for items in lists:
        start = HALF_ITEMS if items[0] < HALF_ITEMS else 0
        items.insert(share, int(start + rng.integers(HALF_ITEMS)))
        noise += [place == share for place in range(len(items))]
    clean = TrainingData(histories=Histories.from_lists(lists), items=data.items)
    return clean, torch.tensor(noise)


@pytest.mark.parametrize("likelihood", ["multinomial", "logistic"])
def test_what_is_left_out_is_noise(likelihood: str) -> None:
    """One in eleven interactions is noise; as many are left out: nearly all of them are it."""
    data, noise = noisy_data()
    section = {
        "kind": "mult_dae",
        "hidden_dims": [],
        "latent_dim": 8,
        "batch_size": 40,
        "learning_rate": 0.01,
        "likelihood": likelihood,
        "denoising": {"kind": "truncated", "drop_rate_max": 0.09, "drop_rate_anneal_steps": 20},
    }
    model = create(section, "mult_dae")
    model.fit(data, TrainingOptions(seed=1, fixed_epochs=30))
    assert isinstance(model, MultDae)
    rows = model.input_rows(data.histories)
    losses = multinomial_entries(model.score(data.histories), rows)
    left_out = truncated(losses, torch.ones_like(losses), 1 / 11) == 0
    assert left_out.sum() == noise.sum() == 80
    assert float(noise[left_out].double().mean()) > 0.95
