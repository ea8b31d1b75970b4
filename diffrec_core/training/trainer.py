"""The epoch loop: train, validate, keep the best, checkpoint, stop early, report progress.

A model describes its training as a `TrainingProgram`; the loop knows nothing else about it.
Each epoch is a function of (seed, epoch) and the state before it, so a resumed training gives
the bits that an uninterrupted one gives.
"""

import logging
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.optim import Optimizer

from diffrec_core.config import Config
from diffrec_core.errors import DataError
from diffrec_core.training.checkpoint import (
    TrainingState,
    load_checkpoint,
    load_optimizer_tensors,
    optimizer_tensors,
    save_checkpoint,
    with_prefix,
    without_prefix,
)
from diffrec_core.training.early_stopping import EarlyStopping
from diffrec_core.training.seeding import torch_seed

log = logging.getLogger(__name__)

Advance = Callable[[int, str], None]
"""Called with the epochs done and a short note."""


class TrainingConfig(Config):
    """How long to train. The metric is recall@20 on the validation part."""

    epochs: int = Field(default=1000, ge=1)
    """Upper limit; early stopping usually comes first."""

    validate_every_epochs: int = Field(default=5, ge=1)
    """Validation costs a full ranking of all items for all users."""

    patience_epochs: int = Field(default=20, ge=1)
    """Stop when the best validation is this many epochs old."""


def _ignore(done: int, note: str) -> None:
    """Report to nobody."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingOptions:
    """Where and how a training runs; never what it computes.

    Attributes:
        device: where tensors live.
        seed: parent of all its randomness.
        advance: told of every epoch.
        checkpoint: directory for checkpoints; none are written without it.
        checkpoint_every_seconds: least time between two.
        checkpoint_key: what the training is a function of; another key starts afresh.
        fixed_epochs: train exactly so long and validate nothing (refit).
    """

    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    seed: int = 0
    advance: Advance = _ignore
    checkpoint: Path | None = None
    checkpoint_every_seconds: float = 30.0
    checkpoint_key: str = ""
    fixed_epochs: int | None = None


class TrainingProgram(Protocol):
    """What the loop needs of a model in training."""

    @property
    def module(self) -> nn.Module:
        """Every parameter and buffer that training changes."""

    @property
    def optimizers(self) -> Mapping[str, Optimizer]:
        """The optimizers, by name."""

    def train_epoch(self, epoch: int) -> dict[str, float]:
        """Train one epoch (1-based) and return its mean losses by name."""

    def validate(self) -> float | None:
        """Return the validation metric, or None when there is nothing to validate on."""


@dataclass(frozen=True, slots=True)
class TrainingReport:
    """What a training did.

    Attributes:
        epochs: epochs run.
        best_epoch: the epoch whose weights were kept.
        best_value: its validation metric; None without validation.
        history: one record per epoch: epoch, losses, and `validation` where it was measured.
        seconds: training time, over all interruptions.
    """

    epochs: int = 0
    best_epoch: int = 0
    best_value: float | None = None
    history: tuple[dict[str, float], ...] = ()
    seconds: float = 0.0


def train(
    program: TrainingProgram, config: TrainingConfig, options: TrainingOptions
) -> TrainingReport:
    """Train until early stopping, the epoch limit, or `fixed_epochs`, and keep the best weights.

    Raises:
        DataError: the loss is not a finite number.
    """
    return _Loop(program, config, options).run()


class _Loop:
    """The state of one call of `train`."""

    def __init__(
        self, program: TrainingProgram, config: TrainingConfig, options: TrainingOptions
    ) -> None:
        self.program, self.config, self.options = program, config, options
        self.limit = options.fixed_epochs or config.epochs
        self.state = TrainingState()
        self.stopping = EarlyStopping(config.patience_epochs)
        self.best: dict[str, Tensor] = {}
        self.saved_at = time.monotonic()

    def run(self) -> TrainingReport:
        self._resume()
        started = time.perf_counter() - self.state.seconds
        while self.state.epoch < self.limit and not self._stops():
            self._epoch(self.state.epoch + 1)
            self.state.seconds = time.perf_counter() - started
            self._checkpoint()
        if self.best:
            self.program.module.load_state_dict(self.best)
        kept = self.state.best_epoch or self.state.epoch
        report = TrainingReport(
            self.state.epoch,
            kept,
            self.state.best_value,
            tuple(self.state.history),
            self.state.seconds,
        )
        self.options.advance(self.limit, f"done after {self.state.epoch} epochs, best {kept}")
        return report

    def _stops(self) -> bool:
        return self.state.best_epoch > 0 and self.stopping.should_stop(self.state.epoch)

    def _epoch(self, epoch: int) -> None:
        with torch_seed(self.options.seed, "epoch", epoch):
            losses = self.program.train_epoch(epoch)
        for name, value in losses.items():
            if not math.isfinite(value):
                raise DataError(
                    f"{name} is {value} in epoch {epoch}: lower the learning rate, or check the "
                    f"interactions for extreme weights"
                )
        record = {"epoch": float(epoch), **losses}
        if self.options.fixed_epochs is None and self._validates(epoch):
            self._validate(epoch, record)
        self.state.history.append(record)
        self.state.epoch = epoch
        self.options.advance(epoch, _note(record))

    def _validates(self, epoch: int) -> bool:
        return epoch % self.config.validate_every_epochs == 0 or epoch == self.limit

    def _validate(self, epoch: int, record: dict[str, float]) -> None:
        with torch_seed(self.options.seed, "validate", epoch):
            value = self.program.validate()
        if value is None:
            return
        record["validation"] = value
        if self.stopping.update(epoch, value):
            self.state.best_epoch, self.state.best_value = epoch, value
            state = self.program.module.state_dict()
            self.best = {name: tensor.detach().clone() for name, tensor in state.items()}

    def _checkpoint(self) -> None:
        now = time.monotonic()
        due = now - self.saved_at >= self.options.checkpoint_every_seconds
        if self.options.checkpoint is None or not due:
            return
        tensors = with_prefix("module", self.program.module.state_dict())
        tensors |= with_prefix("best", self.best)
        for name, optimizer in self.program.optimizers.items():
            tensors |= with_prefix(f"optimizer/{name}", optimizer_tensors(optimizer))
        key = self.options.checkpoint_key
        save_checkpoint(self.options.checkpoint, key, self.state, tensors)
        self.saved_at = now

    def _resume(self) -> None:
        if self.options.checkpoint is None:
            return
        loaded = load_checkpoint(self.options.checkpoint, self.options.checkpoint_key)
        if loaded is None:
            return
        self.state, tensors = loaded
        self.program.module.load_state_dict(without_prefix("module", tensors))
        self.best = without_prefix("best", tensors)
        for name, optimizer in self.program.optimizers.items():
            load_optimizer_tensors(optimizer, without_prefix(f"optimizer/{name}", tensors))
        if self.state.best_value is not None:
            self.stopping.update(self.state.best_epoch, self.state.best_value)
        log.info("resumed after epoch %d from %s", self.state.epoch, self.options.checkpoint)


def _note(record: Mapping[str, float]) -> str:
    return " ".join(f"{name} {value:.4f}" for name, value in record.items() if name != "epoch")
