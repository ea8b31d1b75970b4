"""LightGCN against dense matrices and node-by-node sums."""

from itertools import product
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from diffrec_core.data.histories import Histories
from diffrec_core.evaluation.ranking import rank_task
from diffrec_core.models.lightgcn import network as lightgcn
from diffrec_core.models.lightgcn.network import (
    LightGCNConfig,
    LightGCNNetwork,
    fit_lightgcn,
    score_histories,
)
from diffrec_core.training.epoch import Epoch
from diffrec_core.training.seeding import torch_seed
from diffrec_core.training.trainer import TrainingOptions
from tests.devices import DEVICES
from tests.oracle.model_oracles import (
    Matrix,
    adjacency,
    dense_propagation,
    layers_of,
    scores_without_own_layer,
)
from tests.oracle.small_graphs import DIM, GRAPHS, N_ITEMS, embeddings, graph
from tests.planted import HELD_OUT, planted_data, planted_task
from tests.planted import N_ITEMS as PLANTED_ITEMS


def network(depth: int, start: Matrix, **options: Any) -> LightGCNNetwork:
    config = LightGCNConfig(embedding_dim=DIM, layers=depth, **options)
    result = LightGCNNetwork(4, N_ITEMS, config)
    with torch.no_grad():
        result.embedding.copy_(torch.from_numpy(start))
    return result


def detached(parts: lightgcn.ItemEmbeddings) -> lightgcn.ItemEmbeddings:
    return lightgcn.ItemEmbeddings(*(part.detach() for part in parts))


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("depth", [1, 3])
@pytest.mark.parametrize("name", GRAPHS)
def test_the_read_out_is_the_mean_of_the_layers(name: str, depth: int, device: str) -> None:
    (rows, sparse), start = graph(name), embeddings()
    expected = sum(layers_of(rows, N_ITEMS, start, depth)) / (depth + 1)
    users, items = network(depth, start).to(device).read_out(sparse.to(torch.device(device)))
    np.testing.assert_allclose(users.detach().cpu(), expected[:4], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(items.read_out.detach().cpu(), expected[4:], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("depth", [1, 2, 3])
@pytest.mark.parametrize("name", GRAPHS)
def test_scoring_a_history_is_the_users_propagated_layers(
    name: str, depth: int, device: str
) -> None:
    """Layers 1 … L of a known user come from the items alone; layer 0 is left out."""
    (rows, sparse), start = graph(name), embeddings()
    histories = Histories.from_lists(rows)
    read_out = network(depth, start).to(device).read_out(sparse.to(torch.device(device)))
    parts = detached(read_out[1])
    scores = score_histories(parts, histories, histories.weights).cpu()
    layers = layers_of(rows, N_ITEMS, start, depth)
    expected = scores_without_own_layer(layers, 4, user_layers=slice(1, None))
    np.testing.assert_allclose(scores, expected, rtol=1e-4, atol=1e-5)
    isolated = [all(item not in row for row in rows) for item in range(N_ITEMS)]
    assert not parts.history.cpu()[isolated].any()


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_a_history_is_trained_as_it_is_scored(depth: int) -> None:
    (rows, sparse), start = graph("connected"), embeddings()
    users, items = network(depth, start, user_side="history").read_out(sparse)
    histories = Histories.from_lists(rows)
    expected = score_histories(detached(items), histories, histories.weights)
    torch.testing.assert_close(users.detach() @ items.read_out.detach().T, expected)


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


def expected_loss(start: Tensor, batch: list[list[int]], config: LightGCNConfig) -> Tensor:
    """Interaction by interaction from dense layers; a history without its positive."""
    rows = GRAPHS["connected"]
    degree = [sum(item in row for row in rows) for item in range(N_ITEMS)]
    layers = dense_propagation(torch.from_numpy(adjacency(rows, N_ITEMS)), start, config.layers)
    mean = sum(layers[1:], layers[0]) / len(layers)
    losses = []
    for user, *items in batch:
        side = mean[user]
        if config.user_side == "history":
            others = [item for item in rows[user] if item != items[0]]
            side = sum(
                (
                    layer[4 + item] / (len(rows[user]) * degree[item]) ** 0.5 / len(layers)
                    for layer in layers[:-1]
                    for item in others
                ),
                torch.zeros(DIM, dtype=torch.float64),
            )
        positive, *negatives = [side @ mean[4 + item] for item in items]
        if config.loss == "bpr":
            parts = [-torch.log(torch.sigmoid(positive - negative)) for negative in negatives]
            loss = sum(parts) / len(parts)
        else:
            loss = -torch.log(positive.exp() / sum(s.exp() for s in (positive, *negatives)))
        squares = [start[node].square().sum() for node in (user, *(4 + item for item in items))]
        penalty = squares[0] + squares[1] + sum(squares[2:]) / len(negatives)
        losses.append(loss + config.l2 * penalty / 2)
    return torch.stack(losses).mean()


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize(
    ("user_side", "loss", "negatives", "layers"),
    [
        *product(["embedding", "history"], ["bpr", "softmax"], [1, 3], [2]),
        ("history", "bpr", 2, 1),
        ("history", "softmax", 2, 3),
    ],
)
def test_a_training_step_descends_the_gradient_of_its_loss(
    user_side: Any, loss: Any, negatives: int, layers: int, device: str
) -> None:
    """Dense autograd in float64; Adam's first step is ±learning rate."""
    rate = 0.01
    config = LightGCNConfig(
        embedding_dim=DIM,
        layers=layers,
        l2=0.3,
        learning_rate=rate,
        initial_scale=1.0,
        user_side=user_side,
        loss=loss,
        negatives=negatives,
    )
    histories = Histories.from_lists(GRAPHS["connected"])
    options = TrainingOptions(seed=1, device=torch.device(device))
    program = lightgcn._Program(histories, N_ITEMS, config, options, None)
    start = program.network.embedding.detach().cpu().double().clone().requires_grad_()
    batch = [[0, 0, 3, 4, 3], [2, 2, 1, 1, 1], [2, 4, 1, 1, 1], [3, 4, 0, 1, 2]]
    batch = [row[: 2 + negatives] for row in batch]
    epoch, table = Epoch(1, device=options.device), torch.tensor(batch, device=device)
    program._batch = lambda *_: (table[:, 0], table[:, 1:])  # type: ignore[method-assign]
    program.train_epoch(epoch)
    expected = expected_loss(start, batch, config)
    expected.backward()
    assert epoch.losses()[0] == pytest.approx(expected.item(), rel=1e-5)
    gradient = program.network.embedding.grad
    assert gradient is not None
    assert start.grad is not None
    np.testing.assert_allclose(gradient.cpu(), start.grad, rtol=1e-4, atol=1e-6)
    step = (program.network.embedding.detach().cpu().double() - start.detach()).numpy()
    visible = np.abs(start.grad.numpy()) > 1e-4
    expected_step = -rate * np.sign(start.grad.numpy())
    np.testing.assert_allclose(step[visible], expected_step[visible], rtol=1e-2)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"user_side": "history", "negatives": 4},
        {"user_side": "history", "negatives": 4, "loss": "softmax"},
    ],
)
def test_every_setting_finds_the_planted_blocks_and_repeats_itself(
    options: Any, device: str
) -> None:
    """Users have items of their own half only; the items withheld from them are of that half."""
    data, task = planted_data(), planted_task()
    config = LightGCNConfig(
        embedding_dim=8,
        batch_size=64,
        learning_rate=0.01,
        epochs=20,
        validate_every_epochs=10,
        **options,
    )
    where = TrainingOptions(seed=5, device=torch.device(device))
    fits = [fit_lightgcn(data.histories, PLANTED_ITEMS, config, where, task) for _ in range(2)]
    (first, report), (second, _) = fits
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    assert report.best_value == 1.0  # fewer than 20 items are left: it says nothing of the order
    top = rank_task(lambda h: score_histories(first, h, h.weights), task, k=HELD_OUT)
    right = [set(best) == set(task.targets.take(np.array([u])).items) for u, best in enumerate(top)]
    assert np.mean(right) > 0.95


def test_initial_embeddings_have_the_configured_scale() -> None:
    with torch_seed(2, "scale"):
        fresh = LightGCNNetwork(100, 100, LightGCNConfig(embedding_dim=50, initial_scale=0.3))
    assert float(fresh.embedding.detach().std()) == pytest.approx(0.3, rel=0.03)
