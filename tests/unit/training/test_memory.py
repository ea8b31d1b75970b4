"""The memory guard: what it allows, what it says, and which models ask it."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from diffrec_core.common.errors import (
    DiffRecError,
    MemoryExhaustedError,
    MemoryLimitError,
    NotEnoughMemoryError,
    NotFittedError,
)
from diffrec_core.data.histories import Histories
from diffrec_core.data.user_item_matrix import user_item_matrix
from diffrec_core.models.item_item import neighbours
from diffrec_core.models.item_item.ease import Ease
from diffrec_core.models.kinds import KINDS, create
from diffrec_core.models.lightgcn.network import LightGCNConfig, fit_lightgcn
from diffrec_core.training import memory
from diffrec_core.training.distributed import Processes
from diffrec_core.training.memory import exhaustion_told, machine_memory, require_memory
from diffrec_core.training.trainer import TrainingOptions
from tests.oracle.linear_oracles import matrix, random_users
from tests.planted import HELD_OUT, N_ITEMS, N_USERS, planted_data

GIB = 2**30
ENTRIES = N_USERS * (N_ITEMS // 2 - HELD_OUT)
TOO_LITTLE = TrainingOptions(memory_limit_gib=1e-9)


def needed(section: dict[str, object]) -> int:
    """Bytes that a model says it needs for the planted data."""
    with pytest.raises(MemoryLimitError) as caught:
        create(section, "train.it").fit(planted_data(), TOO_LITTLE)
    return caught.value.needed


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


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "popularity"])
def test_a_model_that_is_too_large_is_refused_before_it_is_fitted(kind: str) -> None:
    model = create({"kind": kind}, kind)
    with pytest.raises(MemoryLimitError, match=f"^{kind} needs .* GiB of memory for .* items"):
        model.fit(planted_data(), TOO_LITTLE)
    with pytest.raises(NotFittedError):
        model.score(planted_data().histories)


def test_ease_asks_for_two_matrices_of_float64() -> None:
    assert needed({"kind": "ease"}) == 16 * N_ITEMS**2


def test_autoencoders_ask_for_their_training_and_a_batch_of_scores() -> None:
    section = {"kind": "mult_vae", "hidden_dims": [5], "latent_dim": 3, "batch_size": 7}
    encoder = N_ITEMS * 5 + 5 + 5 * 6 + 6
    decoder = 3 * 5 + 5 + 5 * N_ITEMS + N_ITEMS
    expected = 20 * (encoder + decoder) + 16 * 9 * N_ITEMS
    assert needed({**section, "score_batch_size": 9}) == expected


DIFFREC = {"kind": "diffrec", "hidden_dims": [5], "timestep_embedding_dim": 4}
DIFFREC_VALUES = (4 * 4 + 4) + (N_ITEMS + 4) * 5 + 5 + 5 * N_ITEMS + N_ITEMS
TABLE = 4 * 5 * N_ITEMS  # of the sampler in hidden space: the first layer, item by item
LATENT = {**DIFFREC, "latent": True, "encoder_dims": [6], "hidden_dims": [3]}
LATENT_VALUES = (
    (4 * 4 + 4) + (6 + 4) * 3 + 3 + 3 * 6 + 6  # denoiser of 6 dimensions
    + 2 * (N_ITEMS // 2 * 6 + 6)  # two encoders: mean and log-variance of 3 dimensions each
    + 6 * N_ITEMS + N_ITEMS  # decoder
)  # fmt: skip


@pytest.mark.parametrize(
    ("section", "values", "beside"),
    [
        ({**DIFFREC, "batch_size": 70, "score_batch_size": 1}, DIFFREC_VALUES, 24 * 70 * N_ITEMS),
        ({**DIFFREC, "batch_size": 1}, DIFFREC_VALUES, 12 * N_USERS * N_ITEMS + TABLE),
        (
            {**DIFFREC, "batch_size": 1, "normalize_input": True},
            DIFFREC_VALUES,
            32 * N_USERS * N_ITEMS,
        ),
        ({**LATENT, "batch_size": 70, "score_batch_size": 1}, LATENT_VALUES, 16 * 70 * N_ITEMS),
        ({**LATENT, "batch_size": 1}, LATENT_VALUES, 12 * N_USERS * N_ITEMS + 4 * 3 * 6),
    ],
)
def test_diffrec_asks_for_its_training_and_for_a_batch_or_a_validation(
    section: dict[str, object], values: int, beside: int
) -> None:
    assert needed(section) == 20 * values + beside


def test_factorisations_ask_for_factors_or_for_the_interactions_being_sorted() -> None:
    factors = N_USERS + N_ITEMS + N_USERS  # those of users twice while they are drawn
    assert needed({"kind": "ials", "factors": 500}) == 4 * 500 * factors + 24 * ENTRIES
    assert needed({"kind": "bpr_mf", "factors": 500}) == 4 * 501 * factors + 24 * ENTRIES
    assert needed({"kind": "ials", "factors": 1}) == 54 * ENTRIES


def test_lightgcn_asks_for_its_tables_its_graph_and_a_batch() -> None:
    section = {"kind": "lightgcn", "embedding_dim": 100, "layers": 3, "negatives": 2}
    table = 4 * 100 * (N_USERS + N_ITEMS)
    batch = 4 * 100 * 60 * (2 * 2 + 4)
    expected = 9 * table + 56 * ENTRIES + batch
    assert needed({**section, "batch_size": 60}) == expected
    assert needed({**section, "batch_size": 60, "user_side": "history"}) == expected + 2 * table
    scores = 8 * N_USERS * N_ITEMS
    assert needed({**section, "batch_size": 1}) == 9 * table + 56 * ENTRIES + scores


def test_pretraining_is_named_in_its_refusal() -> None:
    data = planted_data()
    with pytest.raises(MemoryLimitError, match=r"^pretrain needs .* width 64 of 80 users and 24"):
        fit_lightgcn(data.histories, N_ITEMS, LightGCNConfig(), TOO_LITTLE, None, name="pretrain")


def allocate_in_torch() -> None:
    torch.empty(10**15)


def allocate_in_numpy() -> None:
    np.empty(10**15)


def allocate_on_an_accelerator() -> None:
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9 GiB\nmore about it")


@pytest.mark.parametrize(
    "allocate", [allocate_in_torch, allocate_in_numpy, allocate_on_an_accelerator]
)
def test_a_fit_that_finds_no_more_memory_says_what_to_do(
    allocate: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Ease, "_fit", lambda *_: allocate())
    model = create({"kind": "ease"}, "ease")
    with pytest.raises(MemoryExhaustedError) as caught:
        model.fit(planted_data())
    assert str(caught.value).startswith("ease ran out of memory in its fit (")
    assert "allocate" in str(caught.value)
    assert "leave the model out" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert isinstance(caught.value, NotEnoughMemoryError)
    assert caught.value.exit_code == 6
    with pytest.raises(NotFittedError):
        model.score(planted_data().histories)


def test_other_failures_stay_what_they_are() -> None:
    with pytest.raises(RuntimeError, match="shapes differ"), exhaustion_told("a", TOO_LITTLE):
        raise RuntimeError("shapes differ")


def test_of_several_processes_none_is_left_waiting() -> None:
    together = TrainingOptions(processes=Processes(rank=0, count=2))
    with pytest.raises(MemoryError), exhaustion_told("a", together):
        raise MemoryError


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
