"""Batches of rows for an epoch, shuffled as a function of (seed, epoch) and nothing else."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from diffrec_core.common.rng import generator


def shuffled_batches(
    n_rows: int, batch_size: int, *, seed: int, epoch: int
) -> Iterator[NDArray[np.int64]]:
    """Yield every row once, in shuffled batches; the last one may be smaller.

    >>> sorted(np.concatenate(list(shuffled_batches(5, 2, seed=1, epoch=0))).tolist())
    [0, 1, 2, 3, 4]
    """
    order = generator(seed, "shuffle", epoch).permutation(n_rows)
    for rows in batches(n_rows, batch_size):
        yield order[rows]


def batches(n_rows: int, batch_size: int) -> Iterator[NDArray[np.int64]]:
    """Yield every row once, in order."""
    for start in range(0, n_rows, batch_size):
        yield np.arange(start, min(start + batch_size, n_rows))
