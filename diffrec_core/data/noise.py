"""False positives, added to train and validation to measure their effect on a model.

Two kinds test the paper's second claim (noisy training, section 4.1), while test stays clean:
*natural* ones, which users rated low, and *random* ones, pairs of a user and an item that never
met.
"""

from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from diffrec_core.common.errors import DataError
from diffrec_core.common.rng import generator
from diffrec_core.data.histories import Histories
from diffrec_core.data.schema import ITEM_ID, TIMESTAMP, USER_ID, VALUE
from diffrec_core.data.vocabulary import Vocabulary

_ROUNDS = 50


class Pairs(NamedTuple):
    """Interactions in any order, as arrays of one length; `rows` are those of the histories."""

    rows: NDArray[np.int64]
    items: NDArray[np.int64]
    timestamps: NDArray[np.int64]


def add_pairs(histories: Histories, pairs: Pairs) -> Histories:
    """Insert interactions of weight 1 by time; of equal times, after those that are there.

    >>> pairs = Pairs(np.array([0]), np.array([9]), np.array([1]))
    >>> add_pairs(Histories.from_lists([[4, 5]], [[0, 2]]), pairs).items.tolist()
    [4, 9, 5]
    """
    rows = np.concatenate([histories.rows, pairs.rows])
    times = np.concatenate([histories.timestamps, pairs.timestamps])
    order = np.lexsort((times, rows))  # stable
    items = np.concatenate([histories.items, pairs.items.astype(np.int32)])
    weights = np.concatenate([histories.weights, np.ones(len(pairs.rows), dtype=np.float32)])
    lengths = histories.lengths + np.bincount(pairs.rows, minlength=len(histories))
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    return Histories(offsets, items[order], times[order], weights[order])


def random_pairs(
    histories: Histories, met: Histories, *, share: float, n_items: int, seed: int
) -> Pairs:
    """Draw user-item pairs that never met, `share` times as many as there are interactions.

    Users are drawn in proportion to the length of their histories, items uniformly, times
    uniformly within the user's own span.

    Args:
        histories: to which they are to be added.
        met: every pair of the same rows that met, liked or not, validation and test included.
        share: of the number of interactions, 0 or more.
        n_items: I.
        seed: of the draw.

    Raises:
        DataError: there are not enough pairs that never met.
    """
    wanted = round(share * len(histories.items))
    rng = generator(seed, "noise", "random", round(share * 1_000_000))
    taken = np.unique(met.rows * n_items + met.items)
    drawn = np.zeros(0, dtype=np.int64)
    for _ in range(_ROUNDS):
        missing = wanted - len(drawn)
        if missing <= 0:
            break
        rows = histories.rows[rng.integers(len(histories.items), size=2 * missing + 16)]
        keys = rows * n_items + rng.integers(n_items, size=len(rows))
        fresh = keys[~np.isin(keys, taken) & ~np.isin(keys, drawn)]
        _, first = np.unique(fresh, return_index=True)
        drawn = np.concatenate([drawn, fresh[np.sort(first)][:missing]])
    if len(drawn) < wanted:
        raise DataError(
            f"random noise of {share:g} needs {wanted} user-item pairs that never met, found "
            f"{len(drawn)}: lower robustness.random_shares"
        )
    rows, items = drawn // n_items, drawn % n_items
    first_entry, last_entry = histories.offsets[rows], histories.offsets[rows + 1] - 1
    start, end = histories.timestamps[first_entry], histories.timestamps[last_entry]
    return Pairs(rows, items, rng.integers(start, end + 1))


def low_rated_pairs(
    events: pl.DataFrame, below: float, users: Vocabulary, items: Vocabulary, known: Histories
) -> Pairs:
    """Select the EVENTS with a value below a bound, of known users and items.

    Of several events of one pair the first counts; pairs in `known`, whose row u is user index u,
    are excluded.
    """
    low = events.filter(pl.col(VALUE) < below).sort(TIMESTAMP)
    rows = users.indices(low[USER_ID]).astype(np.int64)
    columns = items.indices(low[ITEM_ID]).astype(np.int64)
    times = low[TIMESTAMP].dt.timestamp("us").to_numpy()
    met = known.rows * len(items) + known.items
    keys = rows * len(items) + columns
    keep = (rows >= 0) & (columns >= 0) & ~np.isin(keys, met)
    rows, columns, times, keys = rows[keep], columns[keep], times[keep], keys[keep]
    _, first = np.unique(keys, return_index=True)
    first.sort()
    return Pairs(rows[first], columns[first], times[first])


def divide(pairs: Pairs, train: Histories, validation: Histories) -> tuple[Pairs, Pairs]:
    """Assign pairs to train, up to a row's last train entry, or validation, up to its last one.

    Later ones are dropped: they belong to the time of test, which stays clean.
    """
    train_end, end = _last(train), np.maximum(_last(train), _last(validation))
    in_train = pairs.timestamps <= train_end[pairs.rows]
    in_validation = ~in_train & (pairs.timestamps <= end[pairs.rows])
    first, second = (
        Pairs(*(column[chosen] for column in pairs)) for chosen in (in_train, in_validation)
    )
    return first, second


def _last(histories: Histories) -> NDArray[np.int64]:
    """(B,) time of each row's last entry; the smallest integer for an empty row."""
    last = np.full(len(histories), np.iinfo(np.int64).min)
    filled = histories.lengths > 0
    last[filled] = histories.timestamps[histories.offsets[1:][filled] - 1]
    return last
