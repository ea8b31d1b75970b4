"""Recency is an option of every model: with it, the newest entries of a history count most.

Users of the planted data like one of two blocks of items. A history that moves from the one to the
other, and the same one backwards, hold the same items, so that their order alone can tell.
"""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from diffrec_core.data.histories import Histories
from diffrec_core.data.recency import RecencyConfig
from diffrec_core.models.base import Recommender, TrainingData
from diffrec_core.models.kinds import create, implementation
from tests.contracts.test_recommender_contract import KINDS, MODELS, fitted
from tests.devices import DEVICES
from tests.planted import HALF_ITEMS, N_ITEMS, planted_data

RECENCIES: dict[str, dict[str, Any]] = {
    "linear": {"weight_min": 0.0},
    "exponential_position": {"half_life": 1.0},
    "exponential_age": {"half_life": 1.0},
}
SHOWN = 3
"""Items of each block in the histories; the others are what is compared."""

DAY = 86_400_000_000
PERSONAL = sorted(kind for kind in KINDS if implementation(kind).reads_history)
"""Kinds whose scores depend on the history."""


def moving() -> Histories:
    """From block 0 to block 1, and back; three days lie between the two halves."""
    first, second = list(range(SHOWN)), list(range(HALF_ITEMS, HALF_ITEMS + SHOWN))
    times = [DAY * day for day in (0, 0, 0, 3, 3, 3)]
    return Histories.from_lists([first + second, second + first], [times, times])


def for_the_newest(scores: Tensor) -> tuple[float, float]:
    """By how much each row prefers unseen items of the newer block to those of the older."""
    unseen = [scores[:, start + SHOWN : start + HALF_ITEMS] for start in (0, HALF_ITEMS)]
    there, back = (unseen[1].mean(dim=1) - unseen[0].mean(dim=1)).tolist()
    return there, -back


def scores(model: Recommender, **recency: Any) -> Tensor:
    """Scores of the moving histories with a recency; the learned values stay as they are."""
    model.config = model.config.model_copy(update={"recency": RecencyConfig(**recency)})
    return model.score(moving())


@pytest.fixture(scope="module", params=PERSONAL)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module", params=DEVICES)
def model(kind: str, request: pytest.FixtureRequest) -> Recommender:
    """The first model of the kind that has no recency of its own."""
    names = [name for name, section in MODELS.items() if section["kind"] == kind]
    return fitted(next(n for n in names if "recency" not in MODELS[n]), device=request.param)


def test_without_recency_the_order_does_not_count(kind: str, model: Recommender) -> None:
    there, back = scores(model, kind="none")
    assert torch.allclose(there, back, rtol=1e-4, atol=1e-5) == (
        not implementation(kind).reads_order
    )


@pytest.mark.parametrize("recency", RECENCIES)
def test_with_recency_the_newest_entries_count_most(model: Recommender, recency: str) -> None:
    plain = scores(model, kind="none")
    recent = scores(model, kind=recency, **{"weight_min": 0.0, **RECENCIES[recency]})
    for row in range(2):
        assert not torch.allclose(recent[row], plain[row], rtol=1e-3, atol=1e-4)
    assert min(for_the_newest(recent)) > 0
    assert sum(for_the_newest(recent)) > sum(for_the_newest(plain)) + 1e-3


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("recency", RECENCIES)
def test_popularity_counts_the_newest_entries_most(recency: str, device: str) -> None:
    """Everybody's history moves to block 1: without recency both blocks are as popular."""
    found = []
    for kind in ("none", recency):
        section = {"kind": "popularity", "recency": {"kind": kind, "weight_min": 0.0}}
        model = create(section, "train.popularity", torch.device(device))
        model.fit(TrainingData(histories=moving().take(np.array([0])), items=planted_data().items))
        found.append(model.score(moving())[0].reshape(2, N_ITEMS // 2).sum(dim=1).tolist())
    (first, second), (older, newer) = found
    assert first == second == SHOWN
    assert newer > 1.5 * older
