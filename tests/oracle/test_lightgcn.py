"""LightGCN against dense matrices and node-by-node sums."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from diffrec_core.data.histories import Histories
from diffrec_core.embedding import lightgcn
from diffrec_core.embedding.adjacency import normalised_adjacency, propagate
from diffrec_core.embedding.bpr import bpr_loss, sample_negatives
from diffrec_core.embedding.lightgcn import LightGCNConfig, LightGCNNetwork, score_histories
from diffrec_core.training.seeding import torch_seed
from diffrec_core.training.trainer import TrainingOptions
from tests.oracle.model_oracles import (
    Matrix,
    adjacency,
    bpr,
    dense_propagation,
    layers_of,
    scores_without_own_layer,
)

GRAPHS = {
    "connected": [[0, 1, 2], [1, 3], [0, 2, 3, 4], [4]],
    "isolated": [[0, 2], [], [2, 4], []],  # two users and two items without edges
    "one edge": [[3], [], [], []],
    "complete": [[4, 3, 2, 1, 0]] * 4,
}
N_ITEMS, DIM = 5, 3
N_NODES = 4 + N_ITEMS


def embeddings(seed: int = 1) -> Matrix:
    return np.random.default_rng(seed).normal(size=(N_NODES, DIM))


def graph(name: str) -> tuple[list[list[int]], Tensor]:
    rows = GRAPHS[name]
    return rows, normalised_adjacency(Histories.from_lists(rows), N_ITEMS)


def network(depth: int, start: Matrix) -> LightGCNNetwork:
    result = LightGCNNetwork(4, N_ITEMS, LightGCNConfig(embedding_dim=DIM, layers=depth))
    with torch.no_grad():
        result.embedding.copy_(torch.from_numpy(start))
    return result


@pytest.mark.parametrize("name", GRAPHS)
def test_the_adjacency_is_normalised_on_both_sides(name: str) -> None:
    rows, sparse = graph(name)
    dense = sparse.to_dense()
    assert sparse.layout == torch.sparse_csr
    assert dense.dtype == torch.float32
    assert torch.equal(dense, dense.T)
    np.testing.assert_allclose(dense, adjacency(rows, N_ITEMS), rtol=1e-6)


def test_nodes_without_edges_have_zero_rows() -> None:
    dense = graph("isolated")[1].to_dense()
    for node in (1, 3, 4 + 1, 4 + 3):
        assert not dense[node].any()
        assert not dense[:, node].any()


def test_the_spectrum_of_a_normalised_graph_lies_within_one() -> None:
    values = np.linalg.eigvalsh(graph("connected")[1].to_dense().double().numpy())
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
    dense = dense_propagation(torch.from_numpy(adjacency(rows, N_ITEMS)), by_hand, 3)
    (weights * torch.stack(dense).tanh()).sum().backward()
    np.testing.assert_allclose(by_code.grad, by_hand.grad, rtol=1e-4, atol=1e-5)


def test_the_gradient_passes_finite_differences() -> None:
    sparse = graph("connected")[1].to(torch.float64)
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


@pytest.mark.parametrize("depth", [1, 3])
@pytest.mark.parametrize("name", GRAPHS)
def test_the_read_out_is_the_mean_of_the_layers(name: str, depth: int) -> None:
    (rows, sparse), start = graph(name), embeddings()
    expected = sum(layers_of(rows, N_ITEMS, start, depth)) / (depth + 1)
    result = network(depth, start).read_out(sparse).detach()
    np.testing.assert_allclose(result, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("depth", [1, 2, 3])
@pytest.mark.parametrize("name", GRAPHS)
def test_scoring_a_history_is_the_users_propagated_layers(name: str, depth: int) -> None:
    """Layers 1 … L of a known user come from the items alone; layer 0 is left out."""
    (rows, sparse), start = graph(name), embeddings()
    histories = Histories.from_lists(rows)
    degree = [sum(item in row for row in rows) for item in range(N_ITEMS)]
    parts = network(depth, start).item_embeddings(sparse, torch.tensor(degree, dtype=torch.float32))
    scores = score_histories(parts, histories, histories.weights)
    layers = layers_of(rows, N_ITEMS, start, depth)
    expected = scores_without_own_layer(layers, 4, user_layers=slice(1, None))
    np.testing.assert_allclose(scores, expected, rtol=1e-4, atol=1e-5)
    assert not parts.history[[d == 0 for d in degree]].any()
    items = sum(layer[4:] for layer in layers) / (depth + 1)
    np.testing.assert_allclose(parts.read_out, items, rtol=1e-4, atol=1e-5)


def test_scores_are_linear_in_the_weights_of_the_entries() -> None:
    rng = np.random.default_rng(3)
    parts = lightgcn.ItemEmbeddings(
        *(torch.from_numpy(rng.normal(size=(N_ITEMS, DIM))).to(torch.float32) for _ in range(2))
    )
    rows = [[0, 3], [2], [], [4, 1, 0]]
    weights = rng.random(6).astype(np.float32)
    result = score_histories(parts, Histories.from_lists(rows), weights)
    read_out, history = (part.double().numpy() for part in parts)
    position = 0
    for user, row in enumerate(rows):
        side = np.zeros(DIM)
        for item in row:
            side += weights[position] * history[item] / len(row) ** 0.5
            position += 1
        expected = [side @ item for item in read_out]
        np.testing.assert_allclose(result[user], expected, rtol=1e-4, atol=1e-6)


def test_bpr_loss_is_the_loop() -> None:
    rng = np.random.default_rng(4)
    triple = [rng.normal(size=(6, DIM)) * 2 for _ in range(3)]
    result = bpr_loss(*(torch.from_numpy(part) for part in triple))
    assert float(result) == pytest.approx(bpr(*triple), rel=1e-10)


def test_bpr_loss_survives_large_margins() -> None:
    user, far = torch.tensor([[100.0], [100.0]]), torch.tensor([[100.0], [-100.0]])
    assert float(bpr_loss(user, far, -far)) == 10_000.0  # 0 and 20,000


def test_negatives_are_uniform_over_what_the_user_has_not() -> None:
    positives, count = Histories.from_lists([[0, 2], [], [1, 3, 4, 5]]), 60_000
    users = np.repeat([0, 1, 2], count // 3)
    negatives = sample_negatives(users, positives, 6, np.random.default_rng(7))
    for user, others in enumerate([{1, 3, 4, 5}, {0, 1, 2, 3, 4, 5}, {0, 2}]):
        drawn = np.bincount(negatives[users == user], minlength=6)
        assert set(np.flatnonzero(drawn)) == others
        share = 1 / len(others)
        error = (count / 3 * share * (1 - share)) ** 0.5
        assert np.abs(drawn[sorted(others)] - count / 3 * share).max() < 4.5 * error


def test_a_user_who_has_everything_gets_some_item_and_ends() -> None:
    positives = Histories.from_lists([[0, 1, 2]])
    drawn = sample_negatives(np.zeros(10, np.int64), positives, 3, np.random.default_rng(0))
    assert set(drawn.tolist()) <= {0, 1, 2}


def test_a_training_step_descends_the_gradient_of_bpr_and_l2() -> None:
    """Dense autograd in float64; the penalty is ½ λ Σ‖e⁰‖² per triple, Adam's first step ±lr."""
    rows, depth, l2, rate = GRAPHS["connected"], 2, 0.3, 0.01
    config = LightGCNConfig(embedding_dim=DIM, layers=depth, l2=l2, learning_rate=rate)
    histories = Histories.from_lists(rows)
    program = lightgcn._Program(histories, N_ITEMS, config, TrainingOptions(seed=1), None)
    start = program.network.embedding.detach().double().clone().requires_grad_()
    nodes = torch.tensor([[0, 2, 2, 3], [4, 6, 8, 8], [7, 5, 5, 4]])
    loss = program._step(nodes)
    layers = dense_propagation(torch.from_numpy(adjacency(rows, N_ITEMS)), start, depth)
    table = sum(layers[1:], layers[0]) / (depth + 1)
    margins = (table[nodes[0]] * (table[nodes[1]] - table[nodes[2]])).sum(dim=1)
    penalty = sum(start[node].square().sum() for node in nodes.ravel()) / (2 * nodes.shape[1])
    expected = -torch.log(torch.sigmoid(margins)).mean() + l2 * penalty
    expected.backward()
    assert loss == pytest.approx(expected.item(), rel=1e-5)
    gradient = program.network.embedding.grad
    assert gradient is not None
    assert start.grad is not None
    np.testing.assert_allclose(gradient, start.grad, rtol=1e-4, atol=1e-6)
    step = (program.network.embedding.detach().double() - start.detach()).numpy()
    visible = np.abs(start.grad.numpy()) > 1e-4
    expected_step = -rate * np.sign(start.grad.numpy())
    np.testing.assert_allclose(step[visible], expected_step[visible], rtol=1e-2)


def test_an_epoch_visits_every_interaction_once_with_a_foreign_negative() -> None:
    rows: list[list[int]] = [[0, 1], [2], [3, 4, 0], [1]]
    program: Any = lightgcn._Program(
        Histories.from_lists(rows), N_ITEMS, LightGCNConfig(), TrainingOptions(), None
    )
    users, positives, negatives = program._triples(np.random.default_rng(1)).tolist()
    edges = {(user, 4 + item) for user, row in enumerate(rows) for item in row}
    assert len(users) == len(edges)
    assert set(zip(users, positives, strict=True)) == edges
    assert not edges & set(zip(users, negatives, strict=True))


def test_initial_embeddings_have_the_configured_scale() -> None:
    with torch_seed(2, "scale"):
        fresh = LightGCNNetwork(100, 100, LightGCNConfig(embedding_dim=50, initial_scale=0.3))
    assert float(fresh.embedding.detach().std()) == pytest.approx(0.3, rel=0.03)
