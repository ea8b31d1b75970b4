"""Checkpoints come back to the bit, and a kill at any moment leaves the old one or the new one."""

import errno
import os
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.optim import AdamW

from diffrec_core.common.errors import ArtifactError, StorageError
from diffrec_core.training import checkpoint
from diffrec_core.training.checkpoint import (
    TrainingState,
    load_checkpoint,
    load_optimizer_tensors,
    optimizer_tensors,
    save_checkpoint,
)

FILE = "checkpoint.safetensors"
# Python 3.12 and later warn of forks in processes with threads; these children only write a file
forks = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")


def save(folder: Path, epoch: int) -> None:
    """Write a checkpoint whose tensors tell its epoch."""
    state = TrainingState(epoch=epoch, history=[{"epoch": float(epoch)}])
    # too small for torch to start threads, which a forked process could not
    save_checkpoint(folder, "k", state, {"w": torch.full((100, 100), float(epoch))})


def saved_epoch(folder: Path) -> int:
    """Read the checkpoint, whole and of one epoch."""
    state, tensors = load_checkpoint(folder, "k") or pytest.fail("no checkpoint")
    assert (tensors["w"] == state.epoch).all()
    assert state.history == [{"epoch": float(state.epoch)}]
    return state.epoch


def test_all_kinds_of_tensors_come_back(tmp_path: Path) -> None:
    base = torch.randn(4, 6)
    tensors = {
        "scalar": torch.tensor(3.0),
        "empty": torch.zeros(0, dtype=torch.float64),
        "half": torch.randn(5).to(torch.bfloat16),
        "transposed": base.T,
        "a view": base[1:],
        "another view of it": base[:2],
        "count": torch.arange(3),
    }
    state = TrainingState(3, 2, 0.25, 9.5, [{"epoch": 1.0, "loss": 0.1}], 1.5)
    save_checkpoint(tmp_path, "k", state, tensors)
    loaded_state, loaded = load_checkpoint(tmp_path, "k") or pytest.fail("no checkpoint")
    assert loaded_state == state
    assert set(loaded) == set(tensors)
    for name, tensor in tensors.items():
        assert loaded[name].dtype == tensor.dtype
        assert torch.equal(loaded[name], tensor)


def test_no_checkpoint_or_one_of_another_training_is_none(tmp_path: Path) -> None:
    assert load_checkpoint(tmp_path, "k") is None
    save(tmp_path, 1)
    assert load_checkpoint(tmp_path, "other") is None


@pytest.mark.parametrize("place", [10, 200, -1])
def test_a_changed_byte_is_noticed_wherever_it_is(tmp_path: Path, place: int) -> None:
    save(tmp_path, 1)
    content = bytearray((tmp_path / FILE).read_bytes())
    content[place] ^= 1
    (tmp_path / FILE).write_bytes(content)
    with pytest.raises(ArtifactError, match=f"{FILE} is corrupt: remove it"):
        load_checkpoint(tmp_path, "k")


def test_a_file_cut_short_is_noticed(tmp_path: Path) -> None:
    save(tmp_path, 1)
    (tmp_path / FILE).write_bytes((tmp_path / FILE).read_bytes()[:-10])
    with pytest.raises(ArtifactError, match="is corrupt"):
        load_checkpoint(tmp_path, "k")


def test_a_full_disk_keeps_the_old_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(tmp_path, 1)

    def full(_: object, path: Path, **__: object) -> None:
        path.write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(checkpoint, "save_file", full)
    with pytest.raises(StorageError, match="no space is left"):
        save(tmp_path, 2)
    assert saved_epoch(tmp_path) == 1
    assert [path.name for path in tmp_path.iterdir()] == [FILE]


def _die(*_: object, **__: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _write_half_and_die(tensors: object, path: Path, **metadata: object) -> None:
    checkpoint_save_file(tensors, path, **metadata)
    path.write_bytes(path.read_bytes()[:20_000])
    _die()


def _replace_and_die(old: Path, new: Path) -> None:
    os.replace(old, new)  # noqa: PTH105
    _die()


checkpoint_save_file: Callable[..., None] = checkpoint.save_file


@forks
@pytest.mark.parametrize(
    ("target", "killer", "expected"),
    [
        ("diffrec_core.training.checkpoint.save_file", _die, 1),
        ("diffrec_core.training.checkpoint.save_file", _write_half_and_die, 1),
        ("diffrec_core.common.artifacts.sync_file", _die, 1),
        ("pathlib.Path.replace", _die, 1),
        ("pathlib.Path.replace", _replace_and_die, 2),
        ("pathlib.Path.unlink", _die, 2),
    ],
)
def test_a_kill_at_any_point_of_writing_leaves_a_whole_checkpoint(
    tmp_path: Path, target: str, killer: Callable[..., None], expected: int
) -> None:
    save(tmp_path, 1)

    def child() -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(target, killer)
            save(tmp_path, 2)

    assert os.WTERMSIG(_forked(child)) == signal.SIGKILL
    assert saved_epoch(tmp_path) == expected
    save(tmp_path, 3)
    assert saved_epoch(tmp_path) == 3
    assert [path.name for path in tmp_path.iterdir()] == [FILE]


@forks
def test_kills_at_random_moments_leave_a_whole_checkpoint(tmp_path: Path) -> None:
    draw = random.Random(5)
    save(tmp_path, 0)

    def child() -> None:
        epoch = saved_epoch(tmp_path)
        while True:
            save(tmp_path, epoch := epoch + 1)

    for _ in range(20):
        delay = draw.uniform(0.0, 0.05)
        before = saved_epoch(tmp_path)
        _forked(child, kill_after=delay)
        assert saved_epoch(tmp_path) >= before
    assert saved_epoch(tmp_path) > 0


def _forked(work: Callable[[], None], kill_after: float | None = None) -> int:
    """Do something in a child process, which may be killed; return its wait status."""
    pid = os.fork()
    if pid == 0:
        try:
            work()
        finally:
            os._exit(0)
    if kill_after is not None:
        time.sleep(kill_after)
        os.kill(pid, signal.SIGKILL)
    return os.waitpid(pid, 0)[1]


def test_an_optimizer_comes_back(tmp_path: Path) -> None:
    def step(layer: nn.Linear, optimizer: AdamW, x: torch.Tensor) -> None:
        optimizer.zero_grad()
        layer(x).square().sum().backward()
        optimizer.step()

    torch.manual_seed(0)
    layers = [nn.Linear(3, 2), nn.Linear(3, 2)]
    layers[1].load_state_dict(layers[0].state_dict())
    first, second = (AdamW(layer.parameters(), lr=0.1, fused=True) for layer in layers)
    x = torch.randn(5, 3)
    step(layers[0], first, x)
    save_checkpoint(tmp_path, "k", TrainingState(), optimizer_tensors(first))
    _, tensors = load_checkpoint(tmp_path, "k") or pytest.fail("no checkpoint")
    layers[1].load_state_dict(layers[0].state_dict())
    load_optimizer_tensors(second, tensors)
    for layer, optimizer in zip(layers, (first, second), strict=True):
        step(layer, optimizer, x)
    assert torch.equal(layers[0].weight, layers[1].weight)
