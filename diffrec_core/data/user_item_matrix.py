"""The user-item matrix in compressed sparse rows."""

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from diffrec_core.data.histories import Histories


def user_item_matrix(
    histories: Histories, n_items: int, weights: NDArray[np.float32] | None = None
) -> sparse.csr_matrix:
    """Build x_BI, (B, I) float32, from B histories.

    An item that occurs twice in a history has the larger value. Weights of 0 are stored: an item
    with an entry was seen, whatever its weight.

    Args:
        histories: B users.
        n_items: I, the size of the item vocabulary.
        weights: (N,) value of each entry; None: 1.
    """
    values = np.ones(len(histories.items), np.float32) if weights is None else weights
    order = np.lexsort((values, histories.items, histories.rows))
    rows, items, values = histories.rows[order], histories.items[order], values[order]
    is_last = np.ones(len(rows), dtype=bool)
    is_last[:-1] = (rows[1:] != rows[:-1]) | (items[1:] != items[:-1])
    shape = (len(histories), n_items)
    return sparse.csr_matrix((values[is_last], (rows[is_last], items[is_last])), shape=shape)
