"""ItemKNN, RP3β and GF-CF against dense matrices put together with loops."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse

from diffrec_core.data.histories import Histories
from diffrec_core.models.base import Recommender
from diffrec_core.models.item_item import neighbours
from diffrec_core.models.item_item.gf_cf import low_frequencies
from diffrec_core.models.kinds import create
from tests.oracle.linear_oracles import (
    Matrix,
    gf_cf_filter,
    knn_weights,
    matrix,
    nearest,
    random_users,
    rp3beta_weights,
    training_data,
)
from tests.oracle.ranking_oracles import recency
from tests.oracle.strategies import effort, tied_scores

N_ITEMS = 13
USERS = random_users(0, count=40, n_items=N_ITEMS)
QUERIES = random_users(7, count=8, n_items=N_ITEMS)


def fitted(kind: str, **settings: object) -> Recommender:
    model = create({"kind": kind, **settings}, kind)
    model.fit(training_data(USERS, N_ITEMS))
    return model


def expected_scores(weights: Matrix, kind: str = "none") -> Matrix:
    """Weighted sums of the rows of W that belong to each history."""
    scores = np.zeros((len(QUERIES), N_ITEMS))
    for user, row in enumerate(QUERIES):
        each = recency(kind, list(range(len(row))), low=0.2, high=1.0, half_life=2.0)
        for item, weight in zip(row, each, strict=True):
            scores[user] += weight * weights[item]
    return scores


def assert_scores(model: Recommender, expected: Matrix) -> None:
    scores = model.score(Histories.from_lists(QUERIES))
    np.testing.assert_allclose(scores, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("k", [1, 3, 100])
@pytest.mark.parametrize("shrink", [0.0, 2.5])
@pytest.mark.parametrize("similarity", ["cosine", "jaccard"])
def test_item_knn(similarity: str, shrink: float, k: int) -> None:
    model = fitted("item_knn", similarity=similarity, shrink=shrink, neighbours=k)
    weights = knn_weights(matrix(USERS, N_ITEMS), similarity, shrink, k)
    assert_scores(model, expected_scores(weights))


@pytest.mark.parametrize("k", [2, None])
@pytest.mark.parametrize(("alpha", "beta"), [(1.0, 0.0), (0.8, 0.6), (1.7, 1.2)])
def test_rp3beta(alpha: float, beta: float, k: int | None) -> None:
    model = fitted("rp3beta", alpha=alpha, beta=beta, neighbours=k)
    weights = rp3beta_weights(matrix(USERS, N_ITEMS), alpha, beta, k or N_ITEMS)
    assert_scores(model, expected_scores(weights))


@pytest.mark.parametrize("alpha", [0.0, 0.3, 5.0])
@pytest.mark.parametrize("factors", [1, 4, 500])
def test_gf_cf(alpha: float, factors: int) -> None:
    # ARPACK finds one vector less than there are items; the missing 13th would be that of an item
    # without users, which is 0 in both filters
    model = fitted("gf_cf", alpha=alpha, factors=factors)
    assert_scores(model, expected_scores(gf_cf_filter(matrix(USERS, N_ITEMS), alpha, factors)))


@pytest.mark.parametrize("kind", ["linear", "exponential_position"])
def test_recency_weights_the_history_and_not_the_fit(kind: str) -> None:
    options = {"kind": kind, "weight_min": 0.2, "half_life": 2.0}
    x = matrix(USERS, N_ITEMS)
    knn = fitted("item_knn", neighbours=3, recency=options)
    assert_scores(knn, expected_scores(knn_weights(x, "cosine", 0.0, 3), kind))
    gf_cf = fitted("gf_cf", factors=4, recency=options)
    assert_scores(gf_cf, expected_scores(gf_cf_filter(x, 0.3, 4), kind))


def test_blocks_of_items_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = fitted("item_knn", neighbours=3).score(Histories.from_lists(QUERIES))
    monkeypatch.setattr(neighbours, "_BLOCK_ENTRIES", 2 * N_ITEMS)
    assert [block.stop for block in neighbours.item_blocks(N_ITEMS)] == [2, 4, 6, 8, 10, 12, 13]
    assert torch.equal(fitted("item_knn", neighbours=3).score(Histories.from_lists(QUERIES)), whole)


@effort(200)
@given(tied_scores(), st.integers(1, 14))
def test_the_strongest_are_the_first_of_a_sorted_list(
    scores: "np.ndarray[tuple[int, int], np.dtype[np.float32]]", k: int
) -> None:
    kept = neighbours.strongest(scores.astype(np.float64), k).toarray()
    for row, line in zip(kept, scores.tolist(), strict=True):
        chosen = nearest(line, k)
        assert np.flatnonzero(row).tolist() == sorted(chosen)
        assert row[chosen].tolist() == [line[item] for item in chosen]


def test_vectors_without_signal_pass_no_filter() -> None:
    """Two blocks that share nothing: two singular values of 1, all others are 0."""
    block = np.ones((6, 4)) / np.sqrt(24)
    normal = sparse.csr_matrix(np.block([[block, 0 * block], [0 * block, block]]))
    vectors = low_frequencies(normal, 7)
    assert vectors.shape == (2, 8)
    expected = np.kron(np.eye(2), np.full((4, 4), 0.25))
    np.testing.assert_allclose(vectors.T @ vectors, expected, atol=1e-9)
