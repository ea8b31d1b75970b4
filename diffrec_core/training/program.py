"""The interface between a model and the epoch loop."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import torch
from pydantic import Field
from torch import nn
from torch.optim import Optimizer

from diffrec_core.common.config import Config
from diffrec_core.training.distributed import Processes
from diffrec_core.training.epoch import Epoch

Advance = Callable[[int, str], None]
"""Called with the epochs done and a short note."""

Validated = Callable[[int, float], None]
"""Called with the epoch and the validation metric; what it raises ends the training."""


class TrainingConfig(Config):
    """How long to train. The metric is recall@20 on the validation part."""

    epochs: int = Field(default=1000, ge=1)
    """Upper limit; early stopping usually comes first."""

    validate_every_epochs: int = Field(default=5, ge=1)
    """Validation costs a full ranking of all items for all users."""

    patience_epochs: int = Field(default=20, ge=1)
    """Stop when the best validation is this many epochs old."""

    divergence_factor: float = Field(default=1000.0, gt=1.0)
    """Stop with an error when the loss is this many times that of the first step. A learning
    rate 10 times too high makes it jump 200-fold and come back; 100 times too high, 70,000-fold.
    Not watched where a batch has fewer than 20 rows, whose loss varies by chance as much."""


def _ignore(done: int, note: object) -> None:
    """Report to nobody."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingOptions:
    """Where and how a training runs; none of it changes the algorithm.

    Attributes:
        device: where tensors live.
        seed: parent of all its randomness.
        advance: called after every epoch.
        validated: called after every validation.
        compile: use torch.compile where a model supports it.
        checkpoint: directory for checkpoints; None: none are written.
        checkpoint_every_seconds: least time between two.
        checkpoint_key: identifies the training; a checkpoint with another key is ignored.
        fixed_epochs: train exactly so many and validate nothing (refit).
        processes: those that train together; they must see the same checkpoint directory.
        memory_limit_gib: most that a fit may add to the memory of its process; None: 80 % of the
            machine's.
    """

    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    seed: int = 0
    advance: Advance = _ignore
    validated: Validated = _ignore
    compile: bool = False
    checkpoint: Path | None = None
    checkpoint_every_seconds: float = 30.0
    checkpoint_key: str = ""
    fixed_epochs: int | None = None
    processes: Processes = field(default_factory=Processes)
    memory_limit_gib: float | None = None


class TrainingProgram(Protocol):
    """A model in training, as the loop sees it."""

    @property
    def module(self) -> nn.Module:
        """Every parameter and buffer that training changes."""

    @property
    def optimizers(self) -> Mapping[str, Optimizer]:
        """The optimizers, by name."""

    def train_epoch(self, epoch: Epoch) -> None:
        """Train one epoch, step by step (see `training.epoch`)."""

    def validate(self) -> float | None:
        """Return the validation metric, or None when there is nothing to validate on."""


@dataclass(frozen=True, slots=True)
class TrainingReport:
    """Summary of a training.

    Attributes:
        epochs: epochs run.
        best_epoch: the epoch whose weights are returned.
        best_value: its validation metric; None without validation.
        history: one record per epoch: epoch, losses, and `validation` where it was measured.
        seconds: training time, over all interruptions.
    """

    epochs: int = 0
    best_epoch: int = 0
    best_value: float | None = None
    history: tuple[dict[str, float], ...] = ()
    seconds: float = 0.0
