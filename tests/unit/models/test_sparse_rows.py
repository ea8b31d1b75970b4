"""Sparse batches: what they hold, take, densify and project, against the dense matrix."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from diffrec_core.data.histories import Histories
from diffrec_core.nn.sparse_rows import SparseRows
from tests.devices import DEVICES
from tests.oracle.strategies import effort, item_lists

N_ITEMS = 8


def rows_of(
    lists: list[list[int]], seed: int = 1, device: str = "cpu"
) -> tuple[SparseRows, np.ndarray]:
    """Sparse rows with random weights, and the dense matrix put together entry by entry."""
    histories = Histories.from_lists(lists)
    weights = np.random.default_rng(seed).random(len(histories.items)).astype(np.float32)
    dense = np.zeros((len(lists), N_ITEMS), np.float32)
    for row, item, weight in zip(histories.rows, histories.items, weights, strict=True):
        dense[row, item] = weight
    return SparseRows.from_histories(histories, weights, N_ITEMS, torch.device(device)), dense


def test_by_hand() -> None:
    rows, _ = rows_of([[3, 1], [], [7]])
    assert len(rows) == 3
    assert rows.rows.tolist() == [0, 0, 2]
    assert rows.positions.tolist() == [3, 1, 23]


@pytest.mark.parametrize("device", DEVICES)
@effort(60)
@given(item_lists(n_items=N_ITEMS, min_users=1), st.data())
def test_taking_densifying_and_projecting_are_those_of_the_matrix(
    device: str, lists: list[list[int]], data: st.DataObject
) -> None:
    rows, dense = rows_of(lists, device=device)
    order = data.draw(st.lists(st.integers(0, len(lists) - 1), max_size=6))
    taken = rows.take(torch.tensor(order, dtype=torch.long, device=device))
    expected = torch.from_numpy(dense[order]).to(device)
    torch.testing.assert_close(taken.dense(), expected, rtol=0, atol=0)
    table = torch.rand(N_ITEMS, 3, device=device)
    torch.testing.assert_close(taken.project(table), expected @ table)


@pytest.mark.parametrize("device", DEVICES)
def test_projecting_passes_the_gradient_of_the_dense_product(device: str) -> None:
    rows, dense = rows_of([[3, 1], [], [7, 3]], device=device)
    table = torch.rand(N_ITEMS, 3, device=device, requires_grad=True)
    direction = torch.rand(3, 3, device=device)
    (rows.project(table) * direction).sum().backward()
    torch.testing.assert_close(table.grad, torch.from_numpy(dense).to(device).T @ direction)


@effort(60)
@given(item_lists(n_items=N_ITEMS, min_users=1))
def test_normalized_rows_have_length_one(lists: list[list[int]]) -> None:
    rows, dense = rows_of(lists)
    lengths = np.linalg.norm(dense, axis=1, keepdims=True)
    expected = np.divide(dense, lengths, out=np.zeros_like(dense), where=lengths > 0)
    np.testing.assert_allclose(rows.normalized().dense(), expected, rtol=1e-5)


def test_weights_of_zero_stay_zero_when_normalized() -> None:
    rows, _ = rows_of([[3, 1], [2]])
    zero = rows.with_weights(torch.tensor([0.0, 0.0, 2.0])).normalized()
    assert zero.weights.tolist() == pytest.approx([0.0, 0.0, 1.0])
