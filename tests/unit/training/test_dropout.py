"""Dropout from bits: its share, its scale, and that it is a function of the seed."""

import pytest
import torch

from diffrec_core.nn.dropout import Dropout, keep_scale
from diffrec_core.training.seeding import torch_seed
from tests.devices import DEVICES


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("p", [0.1, 0.5, 0.93])
def test_shares_and_expectation(p: float, device: str) -> None:
    count = 200_003  # not a multiple of four
    with torch_seed(1, "dropout"):
        scale = Dropout(p).train()(torch.ones(count, device=device))
    error = 4 * (p * (1 - p) / count) ** 0.5
    assert float((scale == 0).double().mean()) == pytest.approx(p, abs=error)
    assert float(scale.double().mean()) == pytest.approx(1.0, abs=error / (1 - p))
    assert torch.unique(scale).tolist() == pytest.approx([0.0, 1 / (1 - p)], rel=1e-3)


@pytest.mark.parametrize("device", DEVICES)
def test_neighbours_are_dropped_independently(device: str) -> None:
    """On a CPU four entries share one draw of 64 bits: their masks must not know of each other."""
    with torch_seed(2, "dropout"):
        kept = (Dropout(0.5).train()(torch.ones(100_000, 4, device=device)) > 0).double().cpu()
    correlation = torch.corrcoef(kept.T) - torch.eye(4)
    assert float(correlation.abs().max()) < 4 / 100_000**0.5


def test_it_is_off_outside_training_and_at_share_zero() -> None:
    x = torch.rand(3, 5)
    assert Dropout(0.5).eval()(x) is x
    assert Dropout(0.0).train()(x) is x


@pytest.mark.parametrize("device", DEVICES)
def test_the_same_seed_drops_the_same_and_gradients_are_masked(device: str) -> None:
    results = []
    for _ in range(2):
        x = torch.ones(40, 7, device=device, requires_grad=True)
        with torch_seed(3, "dropout"):
            y = Dropout(0.3).train()(x)
        y.sum().backward()
        assert x.grad is not None
        torch.testing.assert_close(x.grad, y.detach(), rtol=0, atol=0)
        results.append(y.detach())
    assert torch.equal(*results)


def test_nearly_everything_may_be_dropped() -> None:
    assert torch.isfinite(keep_scale(torch.Size([1000]), 0.9999999)).all()
