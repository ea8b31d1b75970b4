"""The sparse matrix over items: the same scores however it lies in memory."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse

from diffrec_core.models.item_item import matrix
from diffrec_core.models.item_item.matrix import ItemItemMatrix
from diffrec_core.nn.sparse_rows import SparseRows
from tests.devices import DEVICES
from tests.oracle.strategies import effort, item_lists
from tests.unit.models.test_sparse_rows import N_ITEMS, rows_of


def weights(density: float, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    kept = rng.random((N_ITEMS, N_ITEMS)) < density
    return np.where(kept, rng.normal(size=kept.shape), 0.0)


def is_dense(found: ItemItemMatrix) -> bool:
    return found._dense is not None


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("max_votes", [1, 5, 1 << 22])
@pytest.mark.parametrize("density", [0.0, 0.2, 0.9])
@effort(40)
@given(item_lists(n_items=N_ITEMS, min_users=1), st.integers(0, 9))
def test_scores_are_the_product(
    density: float, max_votes: int, device: str, lists: list[list[int]], seed: int
) -> None:
    w_II = weights(density, seed)
    rows, x_BI = rows_of(lists, device=device)
    found = ItemItemMatrix.from_scipy(sparse.csr_matrix(w_II), torch.device(device))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(matrix, "_MAX_VOTES", max_votes)
        scores = found.score(rows)
    assert scores.shape == x_BI.shape
    np.testing.assert_allclose(scores.cpu(), x_BI @ w_II, rtol=1e-5, atol=1e-6)


def test_it_is_dense_where_that_takes_no_more_memory() -> None:
    # 12 bytes for each of n entries against 4 for each of the 64 pairs: from 22 entries on
    for count in (0, 21, 22, 64):
        w_II = np.zeros(N_ITEMS**2)
        w_II[:count] = 1.0
        square = sparse.csr_matrix(w_II.reshape(N_ITEMS, N_ITEMS))
        found = ItemItemMatrix.from_scipy(square, torch.device("cpu"))
        assert is_dense(found) == (count >= 22)


@pytest.mark.parametrize("density", [0.1, 0.9])
def test_what_is_saved_is_what_is_restored(density: float) -> None:
    found = ItemItemMatrix.from_scipy(sparse.csr_matrix(weights(density)), torch.device("cpu"))
    again = ItemItemMatrix.restore(found.tensors(), torch.device("cpu"))
    assert is_dense(again) == is_dense(found)
    for name in ("offsets", "items", "weights"):
        assert torch.equal(getattr(again.rows, name), getattr(found.rows, name))
    assert again.rows.n_items == N_ITEMS


def test_parts_hold_about_so_many_votes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(matrix, "_MAX_VOTES", 4)
    items, weights = torch.zeros(6, dtype=torch.int64), torch.ones(6)
    found = ItemItemMatrix(SparseRows(torch.tensor([0, 3, 5, 6]), items, weights, 3))
    parts = [(part.start, part.stop) for part in found._parts(torch.tensor([1, 2, 1, 0, 1, 2]))]
    # votes 2 1 2 3 2 1, summed 2 3 5 8 10 11: below 4, below 8, the rest
    assert parts == [(0, 2), (2, 3), (3, 6)]
