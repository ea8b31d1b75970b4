"""A catalogue of any size, since speed and memory depend on the shape of the data alone."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from diffrec_core.data.histories import Histories

_DAY = 86_400_000_000
"""Microseconds, between two interactions of a user."""
_ZIPF_EXPONENT, _ZIPF_SHIFT = 0.9, 10.0
"""Item of rank r is drawn in proportion to (r + shift)^-exponent: a long tail, no giant."""


class Shape(NamedTuple):
    """How large: users U, items I, interactions E."""

    users: int
    items: int
    interactions: int


MOVIELENS_1M = Shape(5_949, 2_810, 571_531)
"""The shape of the paper's MovieLens-1M."""
AMAZON_BOOK = Shape(108_822, 94_949, 3_100_000)
"""The shape of the paper's Amazon-book."""


def histories(shape: Shape, *, seed: int) -> Histories:
    """Draw E distinct (user, item) pairs, in an order drawn at random for each user.

    Every user has an item. Users' activity is gamma-distributed, items' popularity is Zipf's.
    """
    rng = np.random.default_rng(seed)
    activity = rng.gamma(1.5, size=shape.users)
    popularity = (np.arange(1.0, shape.items + 1.0) + _ZIPF_SHIFT) ** -_ZIPF_EXPONENT
    item_of_rank = rng.permutation(shape.items)  # so that an item's number says nothing

    def draw(weights: NDArray[np.float64], count: int) -> NDArray[np.int64]:
        return rng.choice(len(weights), count, p=weights / weights.sum())

    pairs = np.arange(shape.users) * shape.items + item_of_rank[draw(popularity, shape.users)]
    while (missing := shape.interactions - len(pairs)) > 0:
        users, ranks = draw(activity, missing), draw(popularity, missing)
        pairs = np.union1d(pairs, users * shape.items + item_of_rank[ranks])
    order = np.lexsort((rng.random(len(pairs), dtype=np.float32), pairs // shape.items))
    users, items = np.divmod(pairs[order], shape.items)
    offsets = np.concatenate([[0], np.cumsum(np.bincount(users, minlength=shape.users))])
    place = np.arange(len(users)) - offsets[users]
    weights = np.ones(len(users), dtype=np.float32)
    return Histories(offsets, items.astype(np.int32), place * _DAY, weights)
