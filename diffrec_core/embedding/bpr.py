"""Bayesian personalised ranking: sampled triples and their loss."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from diffrec_core.data.histories import Histories

_ROUNDS = 50


def sample_negatives(
    users: NDArray[np.int64], positives: Histories, n_items: int, rng: np.random.Generator
) -> NDArray[np.int64]:
    """Draw for each user an item that is not among the user's positives, uniformly.

    Collisions are drawn again; a user who has all but very few items may, after 50 rounds,
    keep one.

    Args:
        users: (E,) user of each triple.
        positives: every user's items.
        n_items: I.
        rng: source of randomness.

    Returns:
        (E,) item indices.
    """
    taken = np.sort(positives.rows * n_items + positives.items)
    negatives = rng.integers(n_items, size=len(users))
    for _ in range(_ROUNDS):
        keys = users * n_items + negatives
        place = np.minimum(np.searchsorted(taken, keys), len(taken) - 1)
        collides = np.flatnonzero(taken[place] == keys)
        if len(collides) == 0:
            break
        negatives[collides] = rng.integers(n_items, size=len(collides))
    return negatives


def bpr_loss(user_BD: Tensor, positive_BD: Tensor, negative_BD: Tensor) -> Tensor:
    """Mean -ln σ(score of the positive - score of the negative), scores being inner products."""
    margin = (user_BD * (positive_BD - negative_BD)).sum(dim=1)
    return torch.nn.functional.softplus(-margin).mean()
