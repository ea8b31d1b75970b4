"""IRGAN as a recommender: what the game adds, memory."""

from typing import Any

import pytest
import torch

from diffrec_core.models.base import Recommender
from diffrec_core.models.kinds import create
from diffrec_core.training.trainer import TrainingOptions
from tests.planted import HALF_ITEMS, HALF_USERS, planted_data

SMALL = {
    "kind": "irgan",
    "embedding_dim": 8,
    "discriminator_dim": 8,
    "batch_size": 20,
    "learning_rate": 0.01,
    "discriminator_learning_rate": 0.1,
}


def fitted(**options: Any) -> Recommender:
    model = create({**SMALL, **options}, "x")
    model.fit(planted_data(), TrainingOptions(seed=2))
    return model


def mass_on_own_block(model: Recommender) -> float:
    """The share of p(item | user) that the items of the user's own block have."""
    p = model.score(planted_data().histories).softmax(dim=1)
    first, second = p[:HALF_USERS, :HALF_ITEMS], p[HALF_USERS:, HALF_ITEMS:]
    return float(torch.cat([first.sum(dim=1), second.sum(dim=1)]).mean())


@pytest.mark.parametrize("reward", ["log", "sigmoid"])
def test_the_game_alone_finds_the_planted_blocks(reward: str) -> None:
    """No maximum likelihood: all that the generator learns, it learns from its rewards."""
    before = mass_on_own_block(fitted(pretrain_epochs=0, epochs=1, learning_rate=1e-6))
    after = mass_on_own_block(fitted(pretrain_epochs=0, epochs=40, reward=reward))
    assert before < 0.7
    assert after > 0.9
