"""SLIM against non-negative least squares, and against the conditions that make an optimum."""

import logging

import numpy as np
import pytest
import torch

from diffrec_core.models.item_item import elastic_net
from diffrec_core.models.item_item.slim import Slim, SlimConfig
from diffrec_core.training.trainer import TrainingOptions
from tests.oracle.linear_oracles import (
    Matrix,
    matrix,
    random_users,
    slim_violations,
    slim_weights,
    training_data,
)

N_ITEMS = 30
USERS = random_users(3, count=150, n_items=N_ITEMS)
X = matrix(USERS, N_ITEMS)


def weights(options: TrainingOptions | None = None, **settings: float) -> Matrix:
    model = Slim(SlimConfig.model_validate({"tolerance": 1e-8, **settings}))
    model.fit(training_data(USERS, N_ITEMS), options)
    return model.matrix.rows.dense().double().numpy()


@pytest.mark.parametrize(("l1", "l2"), [(0.5, 0.1), (1.0, 5.0), (3.0, 1.0), (0.0, 20.0)])
def test_weights_are_those_of_non_negative_least_squares(l1: float, l2: float) -> None:
    found = weights(l1=l1, l2=l2)
    np.testing.assert_allclose(found, slim_weights(X, l1, l2), atol=1e-5)
    assert slim_violations(X, found, l1, l2).max() < 1e-3  # of gradients up to 100
    assert 0 < np.count_nonzero(found) < N_ITEMS * (N_ITEMS - 1)
    assert (found >= 0).all()
    assert not found.diagonal().any()


def test_the_tolerance_is_what_is_kept() -> None:
    loose = weights(l1=0.5, l2=0.1, tolerance=0.05)
    limit = 0.05 * (X.T @ X - np.diag(X.sum(axis=0))).max(axis=0)
    violations = slim_violations(X, loose, 0.5, 0.1).max(axis=0)
    assert (violations <= limit + 1e-4).all()
    assert violations.max() > 1e-3  # it stopped earlier than with a small one


@pytest.mark.parametrize(
    "sizes",
    [
        {"_FIRST_CANDIDATES": 2, "_MORE_CANDIDATES": 1},
        {"_BLOCK_ITEMS": 4},
        {"_GRAM_ENTRIES": 200, "_UNION_ITEMS": 8, "_FIRST_CANDIDATES": 3},
    ],
    ids=["few candidates", "small blocks", "small parts"],
)
def test_how_the_work_is_cut_changes_nothing(
    sizes: dict[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in sizes.items():
        monkeypatch.setattr(elastic_net, name, value)
    np.testing.assert_allclose(weights(l1=0.5, l2=0.5), slim_weights(X, 0.5, 0.5), atol=1e-5)


def test_progress_is_reported_by_items(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(elastic_net, "_BLOCK_ITEMS", 16)
    told: list[tuple[int, str]] = []
    options = TrainingOptions(advance=lambda done, note: told.append((done, note)))
    weights(options, l1=1.0, l2=1.0)
    assert told == [(0, "16 of 30 items"), (1, "30 of 30 items")]


def test_stopping_short_of_the_optimum_is_no_secret(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(elastic_net, "_MAX_SWEEPS", 1)
    monkeypatch.setattr(elastic_net, "_MAX_ROUNDS", 1)
    monkeypatch.setattr(elastic_net, "_FIRST_CANDIDATES", 1)
    with caplog.at_level(logging.WARNING):
        weights(l1=0.5, l2=0.1)
    assert "items 0 to 29 are not optimal within the tolerance after 1 rounds" in caplog.text


def test_rows_that_are_filled_up_get_no_weight_there() -> None:
    """Two problems, of two candidates and of one: the second's is that of a single item."""
    problem = elastic_net.ElasticNet(l1=1.0, l2=1.0, tolerance=1e-10)
    gram = torch.tensor([[[4.0, 1.0], [1.0, 3.0]], [[5.0, 9.0], [9.0, 0.0]]], dtype=torch.float64)
    together = torch.tensor([[3.0, 2.0], [4.0, -torch.inf]], dtype=torch.float64)
    start = torch.zeros(2, 2, dtype=torch.float64)
    limit = torch.full((2, 1), 1e-10, dtype=torch.float64)
    found = elastic_net.coordinate_descent(gram, together, start, limit, problem)
    # (G + l2) w = g - l1: 5 w0 + w1 = 2, w0 + 4 w1 = 1; and 6 w0 = 3
    np.testing.assert_allclose(found, [[7 / 19, 3 / 19], [0.5, 0.0]], rtol=1e-9)
