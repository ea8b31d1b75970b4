"""What an epoch of LightGCN visits, and what it compares it with."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from diffrec_core.data.histories import Histories
from diffrec_core.models.lightgcn import network
from diffrec_core.models.lightgcn.adjacency import Adjacency
from diffrec_core.models.lightgcn.network import LightGCNConfig
from diffrec_core.training.epoch import Epoch
from diffrec_core.training.trainer import TrainingOptions
from tests.oracle.small_graphs import N_ITEMS

Batches = list[tuple[Tensor, Tensor]]


@pytest.fixture
def record(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[Batches]]:
    """Gives the batches of two epochs on given histories, whose scores are all 0."""

    def run(rows: list[list[int]], n_items: int, **options: Any) -> list[Batches]:
        histories, config = Histories.from_lists(rows), LightGCNConfig(**options)
        program = network._Program(histories, n_items, config, TrainingOptions(), None)
        epochs: list[Batches] = []

        def scores(_: Any, adjacency: Adjacency, users: Tensor, items: Tensor) -> Tensor:
            epochs[-1].append((users, items))
            return 0.0 * program.network.embedding.sum() * items

        monkeypatch.setattr(network.LightGCNNetwork, "scores", scores)
        for number in (1, 2):
            epochs.append([])
            program.train_epoch(Epoch(number))
        return epochs

    return run


def test_an_epoch_visits_every_interaction_once_with_foreign_negatives(
    record: Callable[..., list[Batches]],
) -> None:
    rows = [[0, 1], [2], [3, 4, 0], [1]]
    edges = {(user, item) for user, row in enumerate(rows) for item in row}
    orders = []
    for batches in record(rows, N_ITEMS, negatives=3, batch_size=3):
        assert [items.shape for _, items in batches] == [(3, 4), (3, 4), (1, 4)]
        users, items = (torch.cat(parts).tolist() for parts in zip(*batches, strict=True))
        visits = [(user, row[0]) for user, row in zip(users, items, strict=True)]
        assert set(visits) == edges
        assert not edges & {
            (user, item) for user, row in zip(users, items, strict=True) for item in row[1:]
        }
        orders.append(visits)
    assert orders[0] != orders[1]


def test_every_step_of_every_epoch_draws_other_negatives(
    record: Callable[..., list[Batches]],
) -> None:
    """There is one user, so that the order of the interactions makes no difference."""
    epochs = record([[0, 1, 2, 3]], 500, negatives=4, batch_size=2)
    drawn = {tuple(items[:, 1:].ravel().tolist()) for batches in epochs for _, items in batches}
    assert len(drawn) == 4
