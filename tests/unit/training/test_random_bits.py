"""Noise from bits: its distribution, that entries are independent, and that seeds repeat it.

Each test runs with both generators: torch's, and the one that is used under autocast.
"""

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from scipy import stats

from diffrec_core.nn.random_bits import LEVELS, coarse_normal_like, random_levels
from diffrec_core.training.seeding import torch_seed


@pytest.fixture(autouse=True, params=[False, True], ids=["float32", "autocast"])
def autocast(request: pytest.FixtureRequest) -> Iterator[None]:
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=request.param):
        yield


def test_levels_are_even() -> None:
    with torch_seed(1, "levels"):
        levels = random_levels(400_003)  # not a multiple of four
    counts, _ = np.histogram(levels.numpy(), bins=64, range=(-LEVELS // 2, LEVELS // 2))
    assert stats.chisquare(counts).pvalue > 1e-4


def test_noise_is_standard_normal() -> None:
    with torch_seed(2, "noise"):
        noise = coarse_normal_like(torch.zeros(1000, 1001))
    values = noise.numpy().ravel()
    assert noise.dtype == torch.float32
    assert abs(values.mean()) < 4 / len(values) ** 0.5
    assert values.var() == pytest.approx(1.0, abs=4 * (2 / len(values)) ** 0.5)
    assert stats.kstest(values, "norm").pvalue > 1e-4
    assert 4.2 < np.abs(values).max() < 4.4


def test_neighbours_know_nothing_of_each_other() -> None:
    """Four entries come of one draw of 64 bits."""
    with torch_seed(3, "noise"):
        noise = coarse_normal_like(torch.zeros(100_000, 4))
    correlation = torch.corrcoef(noise.T) - torch.eye(4)
    assert float(correlation.abs().max()) < 4 / 100_000**0.5


def test_a_seed_repeats_the_noise_and_the_type_is_kept() -> None:
    like = torch.zeros(3, 7, dtype=torch.bfloat16)
    drawn = []
    for _ in range(2):
        with torch_seed(4, "noise"):
            drawn.append([coarse_normal_like(like), coarse_normal_like(like)])
    (first, second), again = drawn
    assert torch.equal(first, again[0])
    assert torch.equal(second, again[1])
    assert not torch.equal(first, second)
    assert first.dtype == torch.bfloat16
