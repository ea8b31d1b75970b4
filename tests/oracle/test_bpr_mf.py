"""BPR-MF: user factors against least squares over all pairs, and what the library was asked for."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from diffrec_core.common.errors import DataError
from diffrec_core.data.histories import Histories
from diffrec_core.models.factorisation.bpr_mf import BprMf, BprMfConfig, fold_in
from diffrec_core.nn.sparse_rows import SparseRows
from diffrec_core.training.trainer import TrainingOptions
from tests.oracle.linear_oracles import Matrix, random_users, training_data
from tests.oracle.ranking_oracles import recency

N_ITEMS = 12
USERS = random_users(1, count=60, n_items=N_ITEMS)
QUERIES = [[3], [0, 1, 2, 5, 7, 4], [8, 0], [1], [6, 2, 3]]
L2 = 0.02


def fitted(**settings: object) -> BprMf:
    model = BprMf(BprMfConfig.model_validate({"factors": 4, "l2": L2, **settings}))
    model.fit(training_data(USERS, N_ITEMS), TrainingOptions(seed=5))
    return model


def user_factor(
    factors: Matrix, popularity: Matrix, history: list[int], weights: list[float]
) -> Matrix:
    """A row for each pair of an item of the history and one that is drawn: 2 apart, by weight."""
    q, bias, share = factors[:, :-1], factors[:, -1], popularity / popularity.sum()
    design, wanted = [], []
    for i, weight in zip(history, weights, strict=True):
        for j in range(len(factors)):
            root = math.sqrt(weight * share[j])
            design.append(root * (q[i] - q[j]))
            wanted.append(root * (2.0 - (bias[i] - bias[j])))
    penalty = math.sqrt(4 * L2 * sum(weights)) * np.eye(q.shape[1])
    system = np.concatenate([np.array(design), penalty])
    target = np.concatenate([np.array(wanted), np.zeros(q.shape[1])])
    solution: Matrix = np.linalg.lstsq(system, target, rcond=None)[0]
    return solution


@pytest.mark.parametrize("kind", ["none", "linear", "exponential_position"])
def test_a_history_is_folded_in_by_least_squares_over_pairs(kind: str) -> None:
    model = fitted(recency={"kind": kind, "weight_min": 0.0, "half_life": 2.0})
    factors = model.item_factors.double().numpy()
    popularity = model.catalogue.popularity.astype(np.float64)
    scores = model.score(Histories.from_lists(QUERIES))
    for row, history in zip(scores, QUERIES, strict=True):
        weights = recency(kind, list(range(len(history))), low=0.0, high=1.0, half_life=2.0)
        user = user_factor(factors, popularity, history, weights)
        expected = factors[:, :-1] @ user + factors[:, -1]
        np.testing.assert_allclose(row, expected, rtol=1e-4, atol=1e-5)


def test_factors_that_diverge_are_an_error_that_says_what_to_try() -> None:
    with pytest.raises(
        DataError, match=r"lower learning_rate \(now 1e\+20\) or raise l2 \(now 0.02"
    ):
        fitted(learning_rate=1e20)


def test_the_expansion_is_that_of_the_criterion() -> None:
    """ln σ(z) and ½ - ln 2 - ⅛ (2 - z)² agree in value, slope and curvature at 0."""
    z = torch.zeros((), dtype=torch.float64, requires_grad=True)
    found = []
    for value in (torch.nn.functional.logsigmoid(z), 0.5 - math.log(2) - (2 - z) ** 2 / 8):
        (slope,) = torch.autograd.grad(value, z, create_graph=True)
        (curvature,) = torch.autograd.grad(slope, z)
        found.append([float(term.detach()) for term in (value, slope, curvature)])
    assert found[0] == pytest.approx(found[1])


def test_a_history_without_weight_gets_the_biases() -> None:
    model = fitted()
    rows = SparseRows(torch.tensor([0, 2]), torch.tensor([4, 7]), torch.zeros(2), N_ITEMS)
    popularity = torch.from_numpy(model.catalogue.popularity)
    assert fold_in(rows, model.item_factors, popularity, L2).abs().max() < 1e-9


def test_pairs_are_learned_in_the_right_order() -> None:
    """Users' items score above those that they have not, far more often than by chance."""
    model = fitted(iterations=300, learning_rate=0.1)
    scores = model.score(Histories.from_lists(USERS)).numpy()
    right = [
        scores[user, i] > scores[user, j]
        for user, row in enumerate(USERS)
        for i in row
        for j in set(range(N_ITEMS)) - set(row)
    ]
    assert np.mean(right) > 0.8


def test_the_same_seed_gives_the_same_bytes(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    files = []
    for threads in (1, 3):
        monkeypatch.setattr(torch, "get_num_threads", lambda threads=threads: threads)
        folder = tmp_path / str(threads)
        folder.mkdir()
        fitted().save(folder)
        files.append((folder / "weights.safetensors").read_bytes())
    assert files[0] == files[1]
