"""The two-way graph and propagation against dense matrices and node-by-node sums."""

import numpy as np
import pytest
import torch
from torch import Tensor

from diffrec_core.data.histories import Histories
from diffrec_core.models.lightgcn.adjacency import Adjacency, normalised_adjacency, propagate
from tests.oracle.model_oracles import adjacency, dense_propagation, layers_of
from tests.oracle.small_graphs import DIM, GRAPHS, N_ITEMS, N_NODES, embeddings, graph


def dense(sparse: Adjacency) -> Tensor:
    """The matrix, as its product with the identity."""
    return sparse.product(torch.eye(N_NODES))


@pytest.mark.parametrize("name", GRAPHS)
def test_the_adjacency_is_normalised_on_both_sides(name: str) -> None:
    rows, sparse = graph(name)
    matrix = dense(sparse)
    assert matrix.dtype == torch.float32
    assert torch.equal(matrix, matrix.T)
    np.testing.assert_allclose(matrix, adjacency(rows, N_ITEMS), rtol=1e-6)
    edges = sum(map(len, rows))
    assert (len(sparse.neighbours), len(sparse.weights)) == (2 * edges, 2 * edges)


def test_nodes_without_edges_have_zero_rows_and_scale() -> None:
    sparse = graph("isolated")[1]
    matrix = dense(sparse)
    for node in (1, 3, 4 + 1, 4 + 3):
        assert not matrix[node].any()
        assert not matrix[:, node].any()
        assert sparse.scale[node] == 0.0
    assert sparse.scale[[0, 2, 4 + 2]].tolist() == pytest.approx([0.5**0.5] * 3)


def test_the_spectrum_of_a_normalised_graph_lies_within_one() -> None:
    values = np.linalg.eigvalsh(dense(graph("connected")[1]).double().numpy())
    assert values.max() == pytest.approx(1.0, abs=1e-6)
    assert values.min() == pytest.approx(-1.0, abs=1e-6)  # bipartite


@pytest.mark.parametrize("depth", [1, 2, 4])
@pytest.mark.parametrize("name", GRAPHS)
def test_propagation_sums_over_neighbours(name: str, depth: int) -> None:
    (rows, sparse), start = graph(name), embeddings()
    layers = propagate(sparse, torch.from_numpy(start).to(torch.float32), depth)
    expected = layers_of(rows, N_ITEMS, start, depth)
    assert len(layers) == depth + 1
    for layer, by_hand in zip(layers, expected, strict=True):
        np.testing.assert_allclose(layer, by_hand, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", GRAPHS)
def test_the_gradient_is_that_of_dense_products(name: str) -> None:
    rows, sparse = graph(name)
    start = torch.from_numpy(embeddings()).to(torch.float32)
    weights = torch.from_numpy(np.random.default_rng(2).normal(size=(4, N_NODES, DIM)))
    by_code, by_hand = start.clone().requires_grad_(), start.double().requires_grad_()
    layers = propagate(sparse, by_code, 3)
    (weights.to(torch.float32) * torch.stack(layers).tanh()).sum().backward()
    by_products = dense_propagation(torch.from_numpy(adjacency(rows, N_ITEMS)), by_hand, 3)
    (weights * torch.stack(by_products).tanh()).sum().backward()
    np.testing.assert_allclose(by_code.grad, by_hand.grad, rtol=1e-4, atol=1e-5)


def test_the_gradient_passes_finite_differences() -> None:
    sparse = graph("connected")[1]
    sparse = sparse._replace(weights=sparse.weights.double())
    start = torch.from_numpy(embeddings()).requires_grad_()
    assert torch.autograd.gradcheck(lambda e: tuple(propagate(sparse, e, 2)[1:]), (start,))


def test_the_graph_is_two_way() -> None:
    """A user's embedding reaches the user's items, and a new edge changes the item's side."""
    sparse, start = graph("connected")[1], torch.from_numpy(embeddings()).to(torch.float32)
    moved = start.clone()
    moved[1] += 1.0  # user 1, who has items 1 and 3
    before, after = (propagate(sparse, e, 1)[1] for e in (start, moved))
    changed = (before != after).any(dim=1).nonzero().ravel().tolist()
    assert changed == [4 + 1, 4 + 3]
    rows = [*GRAPHS["connected"][:3], [4, 0]]  # user 3 takes item 0 as well
    wider = propagate(normalised_adjacency(Histories.from_lists(rows), N_ITEMS), start, 1)[1]
    assert not torch.equal(wider[4], before[4])
    torch.testing.assert_close(wider[4 + 1], before[4 + 1])  # neither edge nor degree changed
