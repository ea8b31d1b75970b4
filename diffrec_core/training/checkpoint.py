"""Checkpoints: everything needed to go on as if never interrupted, without pickle.

One directory holds `tensors.safetensors` and `state.json`; it is replaced as a whole, so that a
kill at any moment leaves the last complete one.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.optim import Optimizer

from diffrec_core.artifacts import atomic_directory, read_json, sha256_file, write_json
from diffrec_core.errors import ArtifactError

_TENSORS, _STATE = "tensors.safetensors", "state.json"


@dataclass(slots=True)
class TrainingState:
    """Where a training stands, apart from its tensors.

    Attributes:
        epoch: epochs done.
        best_epoch: the epoch with the best validation metric, 0 before the first.
        best_value: that metric.
        history: one record of losses and metrics per epoch.
        seconds: training time so far, over all interruptions.
    """

    epoch: int = 0
    best_epoch: int = 0
    best_value: float | None = None
    history: list[dict[str, float]] = field(default_factory=list)
    seconds: float = 0.0


def save_checkpoint(
    directory: Path, key: str, state: TrainingState, tensors: Mapping[str, Tensor]
) -> None:
    """Write a checkpoint.

    Args:
        directory: where; replaced as a whole.
        key: what the training is a function of (configuration, data, code, seed).
        state: the progress.
        tensors: all tensors by name.
    """
    with atomic_directory(directory) as temporary:
        # safetensors refuses tensors that share memory or have gaps; fresh copies never do
        detached = {
            name: tensor.detach().cpu().clone().contiguous() for name, tensor in tensors.items()
        }
        save_file(detached, temporary / _TENSORS)
        checksum = sha256_file(temporary / _TENSORS)
        write_json(temporary / _STATE, {"key": key, "tensors": checksum, "state": asdict(state)})


def load_checkpoint(directory: Path, key: str) -> tuple[TrainingState, dict[str, Tensor]] | None:
    """Read a checkpoint if there is one for the same `key`; else return None.

    Raises:
        ArtifactError: there is one, but it is damaged.
    """
    if not (directory / _STATE).is_file():
        return None
    content: dict[str, Any] = read_json(directory / _STATE)
    if content["key"] != key:
        return None
    if sha256_file(directory / _TENSORS) != content["tensors"]:
        raise ArtifactError(f"{directory} is corrupt: remove it to train from the start")
    try:
        tensors = load_file(directory / _TENSORS)
    except SafetensorError as error:
        raise ArtifactError(
            f"{directory} is corrupt ({error}): remove it to train from the start"
        ) from error
    return TrainingState(**content["state"]), tensors


def optimizer_tensors(optimizer: Optimizer) -> dict[str, Tensor]:
    """Flatten an optimizer's state; hyperparameters are the configuration's and not kept."""
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
        state.setdefault(int(index), {})[name] = tensor
    optimizer.load_state_dict({**optimizer.state_dict(), "state": state})


def with_prefix(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Name tensors `prefix/name`."""
    return {f"{prefix}/{name}": tensor for name, tensor in tensors.items()}


def without_prefix(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Undo `with_prefix`, dropping what has another prefix."""
    start = f"{prefix}/"
    return {n.removeprefix(start): tensor for n, tensor in tensors.items() if n.startswith(start)}
