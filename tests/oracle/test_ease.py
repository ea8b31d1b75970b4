"""EASE against the constrained ridge regression that it solves in closed form."""

import numpy as np
import pytest

from diffrec_core.data.histories import Histories
from diffrec_core.data.vocabulary import Vocabulary
from diffrec_core.models.base import TrainingData
from diffrec_core.models.item_item.ease import Ease, EaseConfig
from tests.oracle.model_oracles import Matrix, ease_weights, ease_weights_by_lagrangian
from tests.oracle.ranking_oracles import recency

N_ITEMS = 9


def users(seed: int = 0, count: int = 30) -> list[list[int]]:
    """Random histories over all items but the last, which nobody has."""
    rng = np.random.default_rng(seed)
    return [rng.permutation(N_ITEMS - 1)[: rng.integers(1, 7)].tolist() for _ in range(count)]


def matrix(rows: list[list[int]]) -> Matrix:
    x = np.zeros((len(rows), N_ITEMS))
    for user, row in enumerate(rows):
        for item in row:
            x[user, item] = 1.0
    return x


def fitted(l2: float, **recency_settings: object) -> Ease:
    model = Ease(EaseConfig.model_validate({"l2": l2, "recency": recency_settings}))
    items = Vocabulary(tuple(f"i{index}" for index in range(N_ITEMS)))
    model.fit(TrainingData(histories=Histories.from_lists(users()), items=items))
    return model


@pytest.mark.parametrize("l2", [0.1, 3.0, 500.0])
def test_weights_solve_one_regression_per_item(l2: float) -> None:
    x, weights = matrix(users()), fitted(l2).B_II
    np.testing.assert_allclose(weights, ease_weights(x, l2), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(weights, ease_weights_by_lagrangian(x, l2), rtol=1e-4, atol=1e-6)


def test_no_item_recommends_itself_and_an_unseen_item_nothing() -> None:
    weights = fitted(2.0).B_II
    assert weights.diagonal().tolist() == [0.0] * N_ITEMS
    assert not weights[-1].any()
    assert not weights[:, -1].any()


def test_no_other_weights_have_a_smaller_loss() -> None:
    """The objective itself: ‖X - XB‖² + λ‖B‖² grows in every direction without a diagonal."""
    x, l2, rng = matrix(users()), 3.0, np.random.default_rng(1)
    best = fitted(l2).B_II.double().numpy()

    def objective(b: Matrix) -> float:
        return float(((x - x @ b) ** 2).sum() + l2 * (b**2).sum())

    for _ in range(20):
        direction = rng.normal(size=best.shape) * (1 - np.eye(N_ITEMS))
        assert objective(best + 1e-2 * direction) > objective(best)


@pytest.mark.parametrize("kind", ["none", "linear", "exponential_position"])
def test_scores_are_weighted_sums_of_the_history_and_weights_of_the_input_alone(kind: str) -> None:
    model, rows = fitted(3.0, kind=kind, weight_min=0.2, half_life=2.0), users(seed=5, count=6)
    b = ease_weights(matrix(users()), 3.0)  # the fit does not know recency
    scores = model.score(Histories.from_lists(rows))
    for user, row in enumerate(rows):
        weights = recency(kind, list(range(len(row))), low=0.2, high=1.0, half_life=2.0)
        expected = sum(w * b[item] for item, w in zip(row, weights, strict=True))
        np.testing.assert_allclose(scores[user], expected, rtol=1e-4, atol=1e-6)
