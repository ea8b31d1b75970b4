"""iALS: user factors against least squares over all items, and the library's own optimum."""

from pathlib import Path

import numpy as np
import pytest
import torch
from implicit.als import AlternatingLeastSquares
from threadpoolctl import threadpool_limits

from diffrec_core.data.histories import Histories
from diffrec_core.data.user_item_matrix import user_item_matrix
from diffrec_core.models.base import TrainingData
from diffrec_core.models.factorisation import folded_in
from diffrec_core.models.factorisation.ials import Ials, IalsConfig, fold_in
from diffrec_core.nn.sparse_rows import SparseRows
from diffrec_core.training.trainer import TrainingOptions
from tests.oracle.linear_oracles import ials_user, random_users, training_data
from tests.oracle.ranking_oracles import recency

N_ITEMS = 12
USERS = random_users(1, count=60, n_items=N_ITEMS)
QUERIES = [[3], [0, 1, 2, 5, 7, 4], [8, 0], [1], [6, 2, 3]]


def fitted(data: TrainingData | None = None, **settings: object) -> Ials:
    model = Ials(IalsConfig.model_validate({"factors": 4, "l2": 2.0, "alpha": 3.0, **settings}))
    model.fit(data or training_data(USERS, N_ITEMS), TrainingOptions(seed=5))
    return model


@pytest.mark.parametrize("kind", ["none", "linear", "exponential_position"])
@pytest.mark.parametrize("alpha", [0.5, 3.0])
def test_a_history_is_folded_in_by_its_normal_equations(alpha: float, kind: str) -> None:
    options = {"kind": kind, "weight_min": 0.0, "half_life": 2.0}
    model = fitted(alpha=alpha, recency=options)
    y = model.item_factors.double().numpy()
    scores = model.score(Histories.from_lists(QUERIES))
    for row, history in zip(scores, QUERIES, strict=True):
        weight = recency(kind, list(range(len(history))), low=0.0, high=1.0, half_life=2.0)
        user = ials_user(y, history, [alpha * w for w in weight], 2.0)
        np.testing.assert_allclose(row, y @ user, rtol=1e-4, atol=1e-6)


def test_the_library_folds_in_the_same_way() -> None:
    model = fitted()
    with threadpool_limits(1, "blas"):
        library = AlternatingLeastSquares(factors=4, regularization=2.0, alpha=3.0, use_gpu=False)
        library.item_factors = model.item_factors.numpy()
        rows = user_item_matrix(Histories.from_lists(QUERIES), N_ITEMS)
        users = library.recalculate_user(np.arange(len(QUERIES)), rows)
    expected = users @ model.item_factors.numpy().T
    scores = model.score(Histories.from_lists(QUERIES))
    np.testing.assert_allclose(scores, expected, rtol=1e-3, atol=1e-4)


def test_item_factors_solve_their_own_equations_given_the_users() -> None:
    """At convergence both sides do: α, λ and weights mean in training what they do in scoring."""
    data = training_data(USERS, N_ITEMS)
    weights = np.random.default_rng(0).uniform(0.5, 2.0, len(data.histories.items))
    histories = Histories(
        data.histories.offsets,
        data.histories.items,
        data.histories.timestamps,
        weights.astype(np.float32),
    )
    model = fitted(TrainingData(histories=histories, items=data.items), iterations=500)
    users = model._user_factors(model.input_rows(histories)).numpy()
    for item in range(N_ITEMS - 1):
        having = histories.rows[histories.items == item]
        confidence = 3.0 * weights[histories.items == item]
        expected = ials_user(users, having.tolist(), confidence.tolist(), 2.0)
        np.testing.assert_allclose(model.item_factors[item], expected, rtol=2e-2, atol=2e-3)


def test_how_histories_are_cut_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    model = fitted()
    whole = model.score(Histories.from_lists(USERS))
    monkeypatch.setattr(folded_in, "_SOLVE_ENTRIES", 60)
    lengths = torch.tensor([1, 3, 2, 3, 1])
    parts = [part.tolist() for part in folded_in._similar_lengths(lengths, 4)]
    assert parts == [[1, 3], [2, 0], [4]]  # 60 // (4 (3 + 4)) = 2 rows of 3
    torch.testing.assert_close(model.score(Histories.from_lists(USERS)), whole)


def test_an_entry_without_weight_is_neither_for_nor_against() -> None:
    model, no_weight = fitted(), torch.tensor([1.0, 0.0])
    rows = SparseRows(torch.tensor([0, 2]), torch.tensor([4, 7]), 3.0 * no_weight, N_ITEMS)
    y = model.item_factors.double()
    found = fold_in(rows, y, 2.0)[0]
    others = [item for item in range(N_ITEMS) if item != 7]
    expected = ials_user(y[others].numpy(), [4], [3.0], 2.0)
    np.testing.assert_allclose(found, expected, rtol=1e-9)


def test_factors_are_the_same_bytes_for_any_number_of_threads(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    data = training_data(random_users(2, count=500, n_items=60), 60)
    for threads in (1, 3):
        monkeypatch.setattr(torch, "get_num_threads", lambda threads=threads: threads)
        (tmp_path / str(threads)).mkdir()
        fitted(data, factors=16).save(tmp_path / str(threads))
    first, second = (tmp_path / n / "weights.safetensors" for n in ("1", "3"))
    assert first.read_bytes() == second.read_bytes()


def test_every_iteration_is_reported() -> None:
    told: list[tuple[int, str]] = []
    model = Ials(IalsConfig(factors=2, iterations=2))
    options = TrainingOptions(advance=lambda done, note: told.append((done, note)))
    model.fit(training_data(USERS, N_ITEMS), options)
    assert told == [(0, "iteration 1"), (0, "iteration 2"), (1, "done")]
