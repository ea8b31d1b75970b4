"""Checkpoints: everything needed to go on as if never interrupted, without pickle.

A checkpoint is one file: tensors (weights, optimizer, the sampler's loss history, best weights,
losses of the epoch under way), and in its header the `TrainingState`. Randomness and the order of
batches are functions of seed, epoch and step (`training.seeding`), so no generator is stored.

The file is renamed over the old one once it is written and synced: a kill at any moment leaves
the old checkpoint or the new one, whole.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor
from torch.optim import Optimizer

from diffrec_core.common.artifacts import atomic_file, canonical_json, storage_errors
from diffrec_core.common.errors import ArtifactError

_FILE = "checkpoint.safetensors"


@dataclass(slots=True)
class TrainingState:
    """Where a training stands, apart from its tensors.

    Attributes:
        epoch: epochs done; the steps done of the next one show in its losses.
        best_epoch: the epoch with the best validation metric, 0 before the first.
        best_value: that metric.
        initial_loss: that of the first step, if it had rows enough to tell.
        history: one record of losses and metrics per epoch.
        seconds: training time so far, over all interruptions.
    """

    epoch: int = 0
    best_epoch: int = 0
    best_value: float | None = None
    initial_loss: float | None = None
    history: list[dict[str, float]] = field(default_factory=list)
    seconds: float = 0.0


def save_checkpoint(
    directory: Path, key: str, state: TrainingState, tensors: Mapping[str, Tensor]
) -> None:
    """Write a checkpoint in place of the one before.

    Args:
        directory: created if it does not exist.
        key: identifies the training (configuration, data, code, seed).
        state: its progress.
        tensors: by name.

    Raises:
        StorageError: the disk is full or not writable; the old checkpoint is untouched.
    """
    plain = {name: _plain(tensor) for name, tensor in tensors.items()}
    header = {"key": key, "state": canonical_json(asdict(state))}
    header["sha256"] = _digest(header, plain)
    for killed in directory.glob(f".{_FILE}.*.tmp"):  # large, and a directory has one writer
        killed.unlink(missing_ok=True)
    with storage_errors(directory), atomic_file(directory / _FILE) as temporary:
        save_file(plain, temporary, metadata=header)


def load_checkpoint(directory: Path, key: str) -> tuple[TrainingState, dict[str, Tensor]] | None:
    """Read a checkpoint if there is one for the same `key`; else return None.

    Raises:
        ArtifactError: there is one, but it is damaged.
    """
    path = directory / _FILE
    if not path.is_file():
        return None
    try:
        with safe_open(path, framework="pt") as file:
            header: dict[str, str] = file.metadata() or {}
            if header.get("key") != key:
                return None
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise _corrupt(path) from error
    if header.pop("sha256", None) != _digest(header, tensors):
        raise _corrupt(path)
    state: dict[str, Any] = json.loads(header["state"])
    return TrainingState(**state), tensors


def _plain(tensor: Tensor) -> Tensor:
    """Return a tensor that safetensors can write; it is copied only if it must be."""
    plain = tensor.detach().cpu().contiguous()
    # safetensors refuses views of one piece of memory
    return plain if plain.untyped_storage().nbytes() == plain.nbytes else plain.clone()


def _digest(header: Mapping[str, str], tensors: Mapping[str, Tensor]) -> str:
    digest = hashlib.sha256(canonical_json(dict(header)).encode())
    for name, tensor in sorted(tensors.items()):
        digest.update(name.encode())
        if tensor.numel():
            digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _corrupt(path: Path) -> ArtifactError:
    return ArtifactError(f"{path} is corrupt: remove it to train from the start")


def optimizer_tensors(optimizer: Optimizer) -> dict[str, Tensor]:
    """Flatten an optimizer's state, without the hyperparameters, which the configuration holds."""
    state = optimizer.state_dict()["state"]
    return {
        f"{index}.{name}": torch.as_tensor(value)
        for index, entries in state.items()
        for name, value in entries.items()
    }


def load_optimizer_tensors(optimizer: Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Put back what `optimizer_tensors` gave."""
    state: dict[int, dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        index, name = key.split(".", 1)
        state.setdefault(int(index), {})[name] = tensor.clone()  # it lies in the mapped file
    optimizer.load_state_dict({**optimizer.state_dict(), "state": state})


def with_prefix(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Name tensors `prefix/name`."""
    return {f"{prefix}/{name}": tensor for name, tensor in tensors.items()}


def without_prefix(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Undo `with_prefix`, dropping what has another prefix."""
    start = f"{prefix}/"
    return {n.removeprefix(start): tensor for n, tensor in tensors.items() if n.startswith(start)}
