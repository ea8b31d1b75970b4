"""A catalogue of any size: users whose items follow Zipf's law, made in seconds.

No real data set of this shape may be passed on with the project, and speed and memory depend on
the shape alone.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from diffrec_core.data.histories import Histories
from diffrec_core.data.vocabulary import Vocabulary
from diffrec_core.evaluation.ranking import RankingTask

_DAY = 86_400_000_000
"""Microseconds. A user's interactions are taken as a day apart."""
_ZIPF_EXPONENT, _ZIPF_SHIFT = 0.9, 10.0
"""Item of rank r is drawn in proportion to (r + shift)^-exponent: a long tail, no giant."""


class Shape(NamedTuple):
    """How large: users U, items I, interactions E."""

    users: int
    items: int
    interactions: int


AMAZON_BOOK = Shape(108_822, 94_949, 3_100_000)
"""The shape of the paper's Amazon-book."""


def histories(shape: Shape, *, seed: int) -> Histories:
    """Draw E distinct (user, item) pairs, in an order drawn at random for each user.

    Every user has an item. Users' activity is gamma-distributed, items' popularity is Zipf's.
    """
    rng = np.random.default_rng(seed)
    keys = _distinct_pairs(shape, rng)
    order = np.lexsort((rng.random(len(keys), dtype=np.float32), keys // shape.items))
    users, items = np.divmod(keys[order], shape.items)
    counts = np.bincount(users, minlength=shape.users)
    offsets = np.concatenate([[0], np.cumsum(counts)])
    place = np.arange(len(users)) - offsets[users]
    weights = np.ones(len(users), dtype=np.float32)
    return Histories(offsets, items.astype(np.int32), place * _DAY, weights)


def _distinct_pairs(shape: Shape, rng: np.random.Generator) -> NDArray[np.int64]:
    """(E,) keys user · I + item, distinct, in ascending order."""
    by_user = _cumulative(rng.gamma(1.5, size=shape.users))
    ranks = np.arange(1.0, shape.items + 1.0) + _ZIPF_SHIFT
    by_item = _cumulative(np.exp(-_ZIPF_EXPONENT * np.log(ranks)))
    of_rank = rng.permutation(shape.items)  # so that an item's number tells nothing
    first = np.arange(shape.users) * shape.items + of_rank[_draw(by_item, shape.users, rng)]
    keys = np.sort(first)
    while (missing := shape.interactions - len(keys)) > 0:
        users, ranks_drawn = _draw(by_user, missing, rng), _draw(by_item, missing, rng)
        keys = np.union1d(keys, users * shape.items + of_rank[ranks_drawn])
    return keys


def _cumulative(weights: NDArray[np.float64]) -> NDArray[np.float64]:
    total = np.cumsum(weights)
    share: NDArray[np.float64] = total / total[-1]
    return share


def _draw(
    cumulative: NDArray[np.float64], count: int, rng: np.random.Generator
) -> NDArray[np.int64]:
    return np.searchsorted(cumulative, rng.random(count), side="right")


def task(past: Histories, users: int, *, n_items: int, seed: int) -> RankingTask:
    """Ask for one item, drawn at random, for each of the first users."""
    rows = np.arange(users)
    targets = rng_items(users, n_items, seed)
    return RankingTask("validation", past.take(rows), targets)


def rng_items(users: int, n_items: int, seed: int) -> Histories:
    """One random item for each user."""
    items = np.random.default_rng(seed).integers(0, n_items, size=(users, 1))
    return Histories.from_lists(items.tolist())


def vocabulary(n_items: int) -> Vocabulary:
    """Items named by their number."""
    return Vocabulary(tuple(map(str, range(n_items))))


def categories(n_items: int, n_clusters: int, *, seed: int) -> NDArray[np.int64]:
    """A category for each item, at random, each of about the same size."""
    labels: NDArray[np.int64] = np.random.default_rng(seed).permutation(n_items) % n_clusters
    return labels
