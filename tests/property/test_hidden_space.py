"""The hidden-space sampler is the item-space sampler, whatever the network and the process."""

from copy import deepcopy
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from diffrec_core.diffusion.gaussian import DiffusionConfig, GaussianDiffusion, shared_noise
from diffrec_core.diffusion.hidden_space_sampler import HiddenSpaceSampler, applies_to
from diffrec_core.models.diffrec.config import DiffRecConfig
from diffrec_core.models.diffrec.denoiser import Denoiser, DenoiserConfig
from diffrec_core.models.diffrec.network import NOISE_SEED, DiffRecNetwork
from diffrec_core.nn.sparse_rows import SparseRows
from diffrec_core.training.seeding import torch_seed
from tests.devices import DEVICES
from tests.oracle.model_oracles import sparse
from tests.oracle.strategies import effort, noise_settings

N_ITEMS = 9
NOISE: dict[str, Any] = {"steps": 5, "noise_scale": 0.5, "noise_min": 0.01, "noise_max": 0.4}


def build(
    *, seed: int = 1, n_items: int = N_ITEMS, categories: Any = None, **values: Any
) -> DiffRecNetwork:
    config = DiffRecConfig(
        **{"hidden_dims": (6,), "encoder_dims": (5,), "precision": "float32", **values}
    )
    with torch_seed(seed, "network"):
        network = DiffRecNetwork(config, n_items, categories).eval()
        for parameter in network.parameters():  # biases too, which start near 0
            torch.nn.init.normal_(parameter, std=0.5)
    return network


def histories(seed: int, shape: tuple[int, int] = (4, N_ITEMS), device: str = "cpu") -> SparseRows:
    rng = np.random.default_rng(seed)
    return sparse((rng.random(shape) < 0.4) * rng.random(shape), device)


@st.composite
def networks(draw: st.DrawFn, n_items: int, *, latent: bool) -> DiffRecNetwork:
    """Any network; if latent, with 1 to 9 latent dimensions and categories."""
    target = draw(st.sampled_from(("x_start", "epsilon")))
    values = draw(noise_settings(switched_off=target == "x_start"))
    latent_dim = draw(st.integers(1, 9))
    n_categories = draw(st.integers(1, min(n_items, latent_dim)))
    return build(
        seed=draw(st.integers(0, 99)),
        n_items=n_items,
        latent=latent,
        categories=np.arange(n_items) % n_categories if latent else None,
        encoder_dims=(latent_dim,),
        hidden_dims=tuple(draw(st.lists(st.integers(1, 7), min_size=1, max_size=3))),
        activation=draw(st.sampled_from(("tanh", "relu", "sigmoid", "leaky_relu"))),
        prediction_target=target,
        inference_noise_steps=draw(st.integers(0, values["steps"])),
        timestep_embedding_dim=draw(st.integers(2, 6)),
        **values,
    )


def item_space(network: DiffRecNetwork, x_start: torch.Tensor) -> torch.Tensor:
    """The reverse process in item space, from the draws that `recover` takes."""
    noise = shared_noise(NOISE_SEED)
    return network.diffusion.p_sample_loop(network.denoiser, x_start, noise)


def by_item_space(network: DiffRecNetwork, rows: SparseRows) -> torch.Tensor:
    """Scores by item space, in the network's type."""
    if network.vae is None:
        return item_space(network, rows.dense().to(network.loss_weights))
    z_start = network.vae.encode(rows).mean.to(network.loss_weights)
    return network.vae.decode(item_space(network, z_start))


def both_ways(network: DiffRecNetwork, rows: SparseRows) -> tuple[torch.Tensor, torch.Tensor]:
    """Scores by the hidden space and by item space, from the same random draws."""
    assert network.in_hidden_space
    with torch.no_grad():
        return network.recover(rows), by_item_space(network, rows)


def in_float64(network: DiffRecNetwork, *, off_by: float = 0.0) -> DiffRecNetwork:
    """The same network, but for the rounding; its parameters off by a share, half of them down."""
    exact = deepcopy(network).double()
    with torch.no_grad():
        for parameter in exact.denoiser.parameters():
            parameter.flatten()[::2] *= 1 + off_by
            parameter.flatten()[1::2] *= 1 - off_by
    # features of t are float32 always
    exact.denoiser.embed.register_forward_pre_hook(lambda _, inputs: (inputs[0].double(),))
    return exact


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("latent", [False, True])
@effort(200)
@given(st.data())
def test_hidden_space_is_item_space(device: str, latent: bool, data: st.DataObject) -> None:
    """Also where a schedule erases nearly all, and ε-prediction divides by the little left.

    And where layers magnify rounding: item space in float32 tells by how much, and in float64 with
    weights that are off by a rounding, as the errors of float32 may happen to cancel.
    """
    shape = data.draw(st.integers(1, 12)), data.draw(st.integers(1, 40))
    network = data.draw(networks(shape[1], latent=latent)).to(device)
    rows = histories(data.draw(st.integers(0, 999)), shape, device)
    hidden, item = both_ways(network, rows)
    with torch.no_grad():
        exact = by_item_space(in_float64(network), rows)
        off = by_item_space(in_float64(network, off_by=1e-7), rows)
    assert hidden.shape == shape
    size = float(exact.abs().max()) + 1.0
    item_error = max(float((scores - exact).abs().max()) for scores in (item, off)) / size
    # what item space may lose: each step may magnify rounding by 1 / √ᾱ_T
    lost = 1e-6 / float(network.diffusion.sqrt_alpha_bar[-1])
    if network.vae is not None:  # a score adds up the errors of all of z
        lost *= network.vae.latent_dim
    atol = max(2e-5, lost, 4.0 * item_error)
    torch.testing.assert_close(hidden.double() / size, exact / size, rtol=0, atol=atol)


@pytest.mark.parametrize(
    "options",
    [{"sample_with_noise": True}, {"normalize_input": True}, {"hidden_dims": ()}],
    ids=str,
)
def test_what_breaks_the_algebra_falls_back_to_item_space(options: dict[str, Any]) -> None:
    network, rows = build(inference_noise_steps=2, **options, **NOISE), histories(1)
    assert not network.in_hidden_space
    with torch.no_grad():
        result, expected = network.recover(rows), item_space(network, rows.dense())
    torch.testing.assert_close(result, expected, rtol=0, atol=0)


def test_the_rule_names_what_breaks_the_algebra() -> None:
    quiet, noisy = DiffusionConfig(), DiffusionConfig(sample_with_noise=True)
    assert applies_to(quiet, normalize_input=False, hidden_layers=1)
    assert not applies_to(noisy, normalize_input=False, hidden_layers=1)
    assert not applies_to(quiet, normalize_input=True, hidden_layers=1)
    assert not applies_to(quiet, normalize_input=False, hidden_layers=0)


def test_a_noisy_process_is_refused() -> None:
    denoiser = Denoiser(N_ITEMS, DenoiserConfig(hidden_dims=(4,)))
    diffusion = GaussianDiffusion(DiffusionConfig(sample_with_noise=True))
    with pytest.raises(ValueError, match="item space"):
        HiddenSpaceSampler(diffusion, denoiser.split(5))


def test_a_denoiser_without_hidden_layers_cannot_be_split() -> None:
    with pytest.raises(ValueError, match="no hidden space"):
        Denoiser(N_ITEMS, DenoiserConfig(hidden_dims=())).split(5)


def test_only_epsilon_prediction_needs_the_history_again() -> None:
    for target, needed in (("x_start", False), ("epsilon", True)):
        network = build(prediction_target=target, **NOISE)
        sampler = HiddenSpaceSampler(network.diffusion, network.denoiser.split(5))
        assert sampler.needs_x_start is needed


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("change", ["step", "load", "restore"])
def test_scores_follow_the_weights(change: str, device: str) -> None:
    """W V is computed once, but anew as soon as any weight has changed."""
    network, rows = build(**NOISE).to(device), histories(2, device=device)
    before = both_ways(network, rows)[0]
    if change == "step":
        optimizer = torch.optim.AdamW(network.denoiser.parameters(), lr=0.1, fused=True)
        network.train().losses(rows, diffusion_weight=1.0, kl_weight=0.0).mean().backward()
        optimizer.step()
        network.eval()
    elif change == "load":
        network.load_state_dict(build(seed=9, **NOISE).state_dict())
    else:
        with torch.no_grad():
            for parameter in network.parameters():
                parameter.copy_(parameter * 1.1)
    after, expected = both_ways(network, rows)
    assert not torch.allclose(after, before)
    torch.testing.assert_close(after, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("device", DEVICES)
def test_bfloat16_scores_are_float32_near_the_exact_ones(device: str) -> None:
    exact, rows = build(precision="float32", **NOISE).to(device), histories(6, device=device)
    coarse = build(precision="bfloat16", **NOISE).to(device)
    with torch.no_grad():
        expected, result = exact.recover(rows), coarse.recover(rows)
    assert result.dtype == torch.float32
    assert not torch.equal(result, expected)
    torch.testing.assert_close(result, expected, rtol=0.05, atol=0.05)


def test_a_network_whose_precision_changes_scores_in_it() -> None:
    rows = histories(6)
    network, coarse = (build(precision=precision, **NOISE) for precision in ("float32", "bfloat16"))
    with torch.no_grad():
        network.recover(rows)  # the sampler of float32 is kept
        network.config = coarse.config
        assert torch.equal(network.recover(rows), coarse.recover(rows))
