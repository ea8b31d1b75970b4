"""The nearest neighbours of every item, a block of items at a time: never dense over all pairs."""

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

_BLOCK_ENTRIES = 1 << 22
"""Entries of a block of rows that is dense for a moment."""

Similarity = Callable[[slice, NDArray[np.float64]], NDArray[np.float64]]
"""From a block of items and its (b, I) products to (b, I) similarities; 0 or less: none."""


def item_blocks(n_items: int, *, entries: int | None = None) -> Iterator[slice]:
    """Cut the items into blocks whose rows over all items have about so many entries."""
    size = max(1, (entries or _BLOCK_ENTRIES) // n_items)
    for start in range(0, n_items, size):
        yield slice(start, min(start + size, n_items))


def nearest_neighbours(
    left_IU: sparse.csr_matrix,
    right_UI: sparse.csr_matrix,
    similarity: Similarity,
    neighbours: int | None,
) -> sparse.csr_matrix:
    """Find the items that are most similar to each item.

    Args:
        left_IU: what is multiplied,
        right_UI: with what, for the products that `similarity` gets.
        similarity: see `Similarity`. An item is no neighbour of its own.
        neighbours: k, how many each item has at most; None: all that are similar at all.

    Returns:
        (I, I) float32; row j holds the neighbours of item j. Ties go to the lower index.
    """
    n_items, parts = right_UI.shape[1], []
    for block in item_blocks(n_items):
        products = (left_IU[block] @ right_UI).toarray().astype(np.float64)
        values = similarity(block, products)
        rows = np.arange(len(values))
        values[rows, rows + block.start] = 0.0
        parts.append(strongest(values, neighbours))
    return sparse.vstack(parts, format="csr", dtype=np.float32)


def strongest(values: NDArray[np.float64], count: int | None) -> sparse.csr_matrix:
    """Keep the largest positive values of each row; ties go to the lower index.

    >>> strongest(np.array([[0.5, 0.2, 0.5, 0.5], [0.0, -1.0, 0.0, 0.1]]), 2).toarray().tolist()
    [[0.5, 0.0, 0.5, 0.0], [0.0, 0.0, 0.0, 0.1]]
    """
    keep = values > 0
    if count is not None and count < values.shape[1]:
        smallest = np.partition(values, -count, axis=1)[:, -count, None]
        above, tied = values > smallest, values == smallest
        room = count - above.sum(axis=1, keepdims=True)
        keep &= above | (tied & (tied.cumsum(axis=1, dtype=np.int32) <= room))
    return sparse.csr_matrix(np.where(keep, values, 0.0))


def co_occurrences(x_UI: sparse.csr_matrix) -> sparse.csr_matrix:
    """Count the users who had both items of each pair.

    Returns:
        (I, I) int32, sparse; the diagonal counts the users of each item.
    """
    # float32 would stop counting at 2^24 users
    counts_UI = x_UI.astype(np.int32)
    return (counts_UI.T @ counts_UI).tocsr()


def item_counts(x_UI: sparse.csr_matrix) -> NDArray[np.float64]:
    """(I,) users of each item."""
    return np.bincount(x_UI.indices, minlength=x_UI.shape[1]).astype(np.float64)


def inverse_power(counts: NDArray[np.float64], power: float) -> NDArray[np.float64]:
    """Counts to the power of -`power`; 0 for what has no interaction.

    >>> inverse_power(np.array([4.0, 0.0]), 0.5).tolist()
    [0.5, 0.0]
    """
    return np.where(counts > 0, np.maximum(counts, 1.0) ** -power, 0.0)
