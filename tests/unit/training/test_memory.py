"""The memory limit of a fit: it holds, the error names the model, and the process goes on."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from diffrec_core.common.errors import NotEnoughMemoryError, NotFittedError
from diffrec_core.models.item_item.ease import Ease
from diffrec_core.models.kinds import create
from diffrec_core.models.lightgcn.network import LightGCNConfig, fit_lightgcn
from diffrec_core.training import memory
from diffrec_core.training.distributed import Processes
from diffrec_core.training.memory import machine_memory, memory_limit
from diffrec_core.training.trainer import TrainingOptions
from tests.conftest import PROJECT
from tests.planted import N_ITEMS, planted_data

MIB = 2**20
on_linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux enforces the limit")


@on_linux
@pytest.mark.parametrize(
    "section",
    [
        {"kind": "ease"},  # a matrix of 288 MB, twice
        {"kind": "diffrec", "hidden_dims": [2000], "batch_size": 20},  # weights of 96 MB, 4 times
        {"kind": "ials", "factors": 6000},  # factors of 154 MB, twice
    ],
    ids=["ease", "diffrec", "ials"],
)
def test_a_fit_above_the_limit_is_an_error_and_the_process_goes_on(section: dict[str, Any]) -> None:
    result = subprocess.run(
        [sys.executable, "-m", "tests.unit.training.fit_above_limit", json.dumps(section)],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    start = f"{section['kind']} ran out of memory in its fit, which may take 0.2 GiB ("
    assert result.stdout.startswith(start)


@on_linux
def test_without_a_limit_a_fit_gets_most_of_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "machine_memory", lambda: 400 * MIB)
    with memory_limit("ease", TrainingOptions()):
        np.empty(300 * MIB, dtype=np.uint8)
    with pytest.raises(NotEnoughMemoryError), memory_limit("ease", TrainingOptions()):
        np.empty(340 * MIB, dtype=np.uint8)


@on_linux
def test_an_inner_limit_does_not_lift_the_outer_one() -> None:
    inner = TrainingOptions(memory_limit_gib=4.0)
    with (
        pytest.raises(NotEnoughMemoryError, match=r"^outer"),
        memory_limit("outer", TrainingOptions(memory_limit_gib=0.1)),
    ):
        with memory_limit("inner", inner):
            pass
        np.empty(300 * MIB, dtype=np.uint8)


@on_linux
def test_pretraining_is_named_in_its_error() -> None:
    data, config = planted_data(), LightGCNConfig(embedding_dim=10**6)
    limit = TrainingOptions(memory_limit_gib=0.1)
    with pytest.raises(NotEnoughMemoryError, match=r"^pretrain ran out of memory"):
        fit_lightgcn(data.histories, N_ITEMS, config, limit, None, name="pretrain")


@pytest.mark.parametrize(("text", "expected"), [("1048576\n", 1048576), ("max\n", None)])
def test_a_container_may_have_less_than_its_host(
    text: str, expected: int | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "_CGROUP_LIMITS", ())
    physical = machine_memory()
    assert physical > 64 * MIB
    (tmp_path / "memory.max").write_text(text)
    missing = str(tmp_path / "missing")
    monkeypatch.setattr(memory, "_CGROUP_LIMITS", (str(tmp_path / "memory.max"), missing))
    assert machine_memory() == (expected or physical)


def allocate_in_torch() -> None:
    torch.empty(10**15)


def allocate_in_numpy() -> None:
    np.empty(10**15)


def allocate_on_an_accelerator() -> None:
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9 GiB\nmore about it")


@pytest.mark.parametrize(
    "allocate", [allocate_in_torch, allocate_in_numpy, allocate_on_an_accelerator]
)
def test_a_failed_allocation_says_what_to_do_and_leaves_no_model(
    allocate: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Ease, "_fit", lambda *_: allocate())
    model = create({"kind": "ease"}, "ease")
    with pytest.raises(NotEnoughMemoryError) as caught:
        model.fit(planted_data())
    assert "allocate" in str(caught.value)
    assert "leave the model out" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 6
    with pytest.raises(NotFittedError):
        model.score(planted_data().histories)


def test_other_failures_stay_what_they_are() -> None:
    with pytest.raises(RuntimeError, match="shapes differ"), memory_limit("a", TrainingOptions()):
        raise RuntimeError("shapes differ")


def test_of_several_processes_none_is_left_waiting() -> None:
    together = TrainingOptions(processes=Processes(rank=0, count=2))
    with pytest.raises(MemoryError), memory_limit("a", together):
        raise MemoryError
