"""Negatives, the losses of a positive against them, and the look-ups of their scores."""

from typing import Any

import numpy as np
import pytest
import torch

from diffrec_core.data.histories import Histories
from diffrec_core.nn.negatives import NegativeSampler, bpr_loss, softmax_loss
from tests.oracle.model_oracles import bpr

DIM = 3


def test_bpr_loss_is_the_loop_over_all_pairs() -> None:
    rng = np.random.default_rng(4)
    user, positive = (rng.normal(size=(6, DIM)) * 2 for _ in range(2))
    negatives = rng.normal(size=(2, 6, DIM)) * 2
    scores = np.stack([(user * item).sum(axis=1) for item in (positive, *negatives)], axis=1)
    expected = (bpr(user, positive, negatives[0]) + bpr(user, positive, negatives[1])) / 2
    assert float(bpr_loss(torch.from_numpy(scores))) == pytest.approx(expected, rel=1e-10)


def test_softmax_loss_by_hand_and_with_one_negative_it_is_bpr() -> None:
    scores = torch.tensor([[0.0, 0.0, 0.0], [2.0, 1.0, -1.0]], dtype=torch.float64)
    second = np.log(np.exp([2.0, 1.0, -1.0]).sum()) - 2.0
    assert float(softmax_loss(scores)) == pytest.approx((np.log(3) + second) / 2, rel=1e-12)
    assert float(softmax_loss(scores[:, :2])) == pytest.approx(float(bpr_loss(scores[:, :2])))


@pytest.mark.parametrize("loss", [bpr_loss, softmax_loss])
def test_losses_survive_large_margins(loss: Any) -> None:
    scores = torch.tensor([[10_000.0, -10_000.0], [-10_000.0, 10_000.0]])
    assert float(loss(scores)) == 10_000.0  # 0 and 20,000


def test_negatives_are_uniform_over_what_the_user_has_not() -> None:
    positives, count = Histories.from_lists([[0, 2], [], [5, 1, 3, 4]]), 20_000
    users = np.repeat([2, 0, 1], count)
    sampler = NegativeSampler(positives, 6)
    negatives = sampler.draw(users, 2, np.random.default_rng(7))
    assert negatives.shape == (3 * count, 2)
    for user, others in enumerate([{1, 3, 4, 5}, {0, 1, 2, 3, 4, 5}, {0, 2}]):
        drawn = np.bincount(negatives[users == user].ravel(), minlength=6)
        assert set(np.flatnonzero(drawn)) == others
        share, draws = 1 / len(others), 2 * count
        error = (draws * share * (1 - share)) ** 0.5
        assert np.abs(drawn[sorted(others)] - draws * share).max() < 4.5 * error


def test_the_negatives_of_one_interaction_are_independent() -> None:
    sampler = NegativeSampler(Histories.from_lists([[1]]), 3)
    pairs = sampler.draw(np.zeros(40_000, np.int64), 2, np.random.default_rng(9))
    counts = np.unique(pairs, axis=0, return_counts=True)[1]
    assert np.abs(counts - 10_000).max() < 4.5 * (40_000 * 0.25 * 0.75) ** 0.5


def test_a_user_who_has_everything_gets_any_item() -> None:
    sampler = NegativeSampler(Histories.from_lists([[2], [0, 1, 2], [1]]), 3)
    drawn = sampler.draw(np.repeat([0, 1, 2], 200), 1, np.random.default_rng(0)).reshape(3, 200)
    assert [set(row.tolist()) for row in drawn] == [{0, 1}, {0, 1, 2}, {0, 2}]


def test_an_item_that_is_often_in_a_history_counts_once() -> None:
    sampler = NegativeSampler(Histories.from_lists([[3, 0, 3, 3]]), 6)
    drawn = sampler.draw(np.zeros(99, np.int64), 1, np.random.default_rng(1))
    assert set(drawn.ravel().tolist()) == {1, 2, 4, 5}
