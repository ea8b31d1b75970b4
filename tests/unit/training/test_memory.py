"""The memory guard: what it allows, what it says, and which models ask it."""

from pathlib import Path

import numpy as np
import pytest

from diffrec_core.data.histories import Histories
from diffrec_core.data.user_item_matrix import user_item_matrix
from diffrec_core.errors import DiffRecError, MemoryLimitError, NotFittedError
from diffrec_core.models.item_item import neighbours
from diffrec_core.models.registry import create
from diffrec_core.training import memory
from diffrec_core.training.memory import machine_memory, require_memory
from diffrec_core.training.trainer import TrainingOptions
from tests.oracle.linear_oracles import matrix, random_users
from tests.planted import N_ITEMS, planted_data

GIB = 2**30


def test_the_limit_is_the_given_one() -> None:
    options = TrainingOptions(memory_limit_gib=2.0)
    require_memory("ease", 2 * GIB, "its matrix", options)
    with pytest.raises(MemoryLimitError) as caught:
        require_memory("ease", 3 * GIB, "the matrix over its 14,189 items", options)
    message = str(caught.value)
    assert "ease needs 3 GiB of memory for the matrix over its 14,189 items" in message
    assert "runtime.memory_limit_gib = 2 allows 2 GiB" in message
    assert "leave the model out" in message
    assert (caught.value.needed, caught.value.limit) == (3 * GIB, 2 * GIB)
    assert isinstance(caught.value, DiffRecError)
    assert caught.value.exit_code == 6


def test_without_one_it_is_most_of_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "machine_memory", lambda: 10 * GIB)
    require_memory("ease", 8 * GIB, "its matrix", TrainingOptions())
    with pytest.raises(MemoryLimitError, match="80% of this machine's 10 GiB allows 8 GiB"):
        require_memory("ease", 8 * GIB + 1, "its matrix", TrainingOptions())


@pytest.mark.parametrize(("text", "expected"), [("1048576\n", 1048576), ("max\n", None)])
def test_a_container_may_have_less_than_its_host(
    text: str, expected: int | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "_CGROUP_LIMITS", ())
    physical = machine_memory()
    assert physical > 64 * 2**20
    (tmp_path / "memory.max").write_text(text)
    missing = str(tmp_path / "missing")
    monkeypatch.setattr(memory, "_CGROUP_LIMITS", (str(tmp_path / "memory.max"), missing))
    assert machine_memory() == (expected or physical)


@pytest.mark.parametrize("kind", ["ease", "item_knn", "rp3beta", "gf_cf", "slim", "mult_vae"])
def test_a_model_that_is_too_large_is_refused_before_it_is_fitted(kind: str) -> None:
    model = create({"kind": kind}, kind)
    with pytest.raises(MemoryLimitError, match=f"^{kind} needs .* GiB of memory for .* items"):
        model.fit(planted_data(), TrainingOptions(memory_limit_gib=1e-9))
    with pytest.raises(NotFittedError):
        model.score(planted_data().histories)


def test_ease_asks_for_two_matrices_of_float64() -> None:
    with pytest.raises(MemoryLimitError) as caught:
        create({"kind": "ease"}, "ease").fit(planted_data(), TrainingOptions(memory_limit_gib=1e-9))
    assert caught.value.needed == 16 * N_ITEMS**2


def test_autoencoders_ask_for_their_training_and_a_batch_of_scores() -> None:
    section = {"kind": "mult_vae", "hidden_dims": [5], "latent_dim": 3, "batch_size": 7}
    with pytest.raises(MemoryLimitError) as caught:
        create({**section, "score_batch_size": 9}, "mult_vae").fit(
            planted_data(), TrainingOptions(memory_limit_gib=1e-9)
        )
    encoder = N_ITEMS * 5 + 5 + 5 * 6 + 6
    decoder = 3 * 5 + 5 + 5 * N_ITEMS + N_ITEMS
    assert caught.value.needed == 20 * (encoder + decoder) + 16 * 9 * N_ITEMS


def test_pairs_with_a_common_user_are_counted_or_estimated(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    users = random_users(0, count=300, n_items=200)
    x_UI = user_item_matrix(Histories.from_lists(users), 200)
    dense = matrix(users, 200)
    exact = np.count_nonzero(dense.T @ dense)
    assert neighbours.pair_count(x_UI) == exact
    monkeypatch.setattr(neighbours, "_SAMPLED_ITEMS", 40)
    assert neighbours.pair_count(x_UI) == pytest.approx(exact, rel=0.15)
