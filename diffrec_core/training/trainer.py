"""The epoch loop: train, validate, keep the best, checkpoint, stop early, report progress.

A model describes its training as a `TrainingProgram`; the loop knows nothing else about it.
Each step is a function of (seed, epoch, step) and the state before it, so a resumed training
gives the bits that an uninterrupted one gives.
"""

import logging
import math
import time
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from diffrec_core.common.errors import ArtifactError
from diffrec_core.training.checkpoint import (
    TrainingState,
    load_checkpoint,
    load_optimizer_tensors,
    optimizer_tensors,
    save_checkpoint,
    with_prefix,
    without_prefix,
)
from diffrec_core.training.divergence import (
    DivergenceError,
    all_finite,
    first_bad_step,
    initial_loss,
)
from diffrec_core.training.epoch import Epoch
from diffrec_core.training.program import (
    TrainingConfig,
    TrainingOptions,
    TrainingProgram,
    TrainingReport,
)
from diffrec_core.training.seeding import torch_seed

__all__ = ["TrainingConfig", "TrainingOptions", "TrainingProgram", "TrainingReport", "train"]

log = logging.getLogger(__name__)


def train(
    program: TrainingProgram, config: TrainingConfig, options: TrainingOptions
) -> TrainingReport:
    """Train until early stopping, the epoch limit, or `fixed_epochs`, and keep the best weights.

    Raises:
        DivergenceError: the loss is not a finite number, or exploded.
        ArtifactError: the checkpoint is damaged, or not the same for all processes.
    """
    return _Loop(program, config, options).run()


class _Loop:
    """The state of one call of `train`."""

    def __init__(
        self, program: TrainingProgram, config: TrainingConfig, options: TrainingOptions
    ) -> None:
        self.program, self.config, self.options = program, config, options
        self.processes = options.processes
        self.limit = options.fixed_epochs or config.epochs
        self.state = TrainingState()
        self.best: dict[str, Tensor] = {}
        self.epoch = self._next_epoch()
        self.saved_at, self.saved = time.monotonic(), ""
        self.started = time.perf_counter()

    def run(self) -> TrainingReport:
        self._resume()
        self.processes.broadcast(self.program.module.state_dict().values())
        self.started = time.perf_counter() - self.state.seconds
        while self.state.epoch < self.limit and not self._stops():
            self._run_epoch()
            self._save_if_due()
        if self.best:
            self.program.module.load_state_dict(self.best)
        state, kept = self.state, self.state.best_epoch or self.state.epoch
        self.options.advance(self.limit, f"done after {state.epoch} epochs, best {kept}")
        return TrainingReport(
            state.epoch, kept, state.best_value, tuple(state.history), state.seconds
        )

    def _next_epoch(self) -> Epoch:
        return Epoch(
            self.state.epoch + 1,
            seed=self.options.seed,
            device=self.options.device,
            parameters=self.program.module.parameters(),
            processes=self.processes,
            after_step=self._save_if_due,
        )

    def _stops(self) -> bool:
        since_best = self.state.epoch - self.state.best_epoch
        return self.state.best_epoch > 0 and since_best >= self.config.patience_epochs

    def _run_epoch(self) -> None:
        number = self.epoch.number
        with torch_seed(self.options.seed, "epoch", number):
            self.program.train_epoch(self.epoch)
        self._check(self.program.module.state_dict())
        losses, rows = self.epoch.losses()
        record = {"epoch": float(number), "loss": float(np.average(losses, weights=rows))}
        if self.options.fixed_epochs is None and self._validates(number):
            self._validate(number, record)
        self.state.history.append(record)
        self.state.epoch = number
        self.state.seconds = time.perf_counter() - self.started
        self.epoch = self._next_epoch()
        self.options.advance(number, _note(record))

    def _validates(self, epoch: int) -> bool:
        return epoch % self.config.validate_every_epochs == 0 or epoch == self.limit

    def _validate(self, epoch: int, record: dict[str, float]) -> None:
        value = self._metric(epoch)
        if math.isnan(value):
            return
        record["validation"] = value
        self.options.validated(epoch, value)
        if self.state.best_value is None or value > self.state.best_value:
            self.state.best_epoch, self.state.best_value = epoch, value
            self.best = {}  # before the new one: there is never memory for both
            state = self.program.module.state_dict()
            self.best = {name: tensor.detach().clone() for name, tensor in state.items()}

    def _metric(self, epoch: int) -> float:
        """Validate in the first process, for all; NaN when there is nothing to validate on."""
        value = torch.full((), math.nan, dtype=torch.float64, device=self.options.device)
        if self.processes.is_writer:
            with torch_seed(self.options.seed, "validate", epoch):
                measured = self.program.validate()
            value.fill_(math.nan if measured is None else measured)
        self.processes.broadcast([value])
        return float(value)

    def _check(self, tensors: Mapping[str, Tensor]) -> None:
        """Refuse to go on with, or to save, what has diverged."""
        losses, rows = self.epoch.losses()
        if self.epoch.number == 1:
            self.state.initial_loss = initial_loss(losses, rows)
        limit = self.config.divergence_factor * (self.state.initial_loss or math.inf)
        step = first_bad_step(losses, rows, limit)
        if step is not None:
            what = f"the loss is {losses[step]:g}, in the epoch's first step {losses[0]:g}"
            raise self._diverged(step + 1, what)
        if not all_finite(tensors.values()):
            raise self._diverged(len(losses), "weights are not finite numbers")

    def _diverged(self, step: int, what: str) -> DivergenceError:
        rates = ", ".join(
            f"{name} {optimizer.param_groups[0]['lr']:g}"
            for name, optimizer in self.program.optimizers.items()
        )
        return DivergenceError(
            f"training diverged in epoch {self.epoch.number}, step {step}: {what}. Lower the "
            f"learning rate (of {rates}), to a third at first; if that does not help, check the "
            f"interactions for extreme weights, or train in float32. "
            + (
                f"The last good checkpoint is kept: {self.saved}"
                if self.saved
                else "There is no checkpoint yet"
            )
        )

    def _save_if_due(self) -> None:
        directory, now = self.options.checkpoint, time.monotonic()
        due = now - self.saved_at >= self.options.checkpoint_every_seconds
        if directory is None or not due or not self.processes.is_writer:
            return
        tensors = self._tensors()
        self._check(tensors)
        self.state.seconds = time.perf_counter() - self.started
        save_checkpoint(directory, self.options.checkpoint_key, self.state, tensors)
        self.saved_at = now
        self.saved = f"{directory}, of epoch {self.epoch.number}, step {self.epoch.steps_done}"

    def _tensors(self) -> dict[str, Tensor]:
        tensors = with_prefix("module", self.program.module.state_dict())
        tensors |= with_prefix("best", self.best)
        for name, optimizer in self.program.optimizers.items():
            tensors |= with_prefix(f"optimizer/{name}", optimizer_tensors(optimizer))
        losses, rows = self.epoch.losses()
        return tensors | {
            "epoch/losses": torch.from_numpy(losses),
            "epoch/rows": torch.from_numpy(rows),
        }

    def _resume(self) -> None:
        directory = self.options.checkpoint
        loaded = directory and load_checkpoint(directory, self.options.checkpoint_key)
        if loaded:
            self._restore(*loaded)
            self.saved = f"{directory}, of epoch {self.epoch.number}, step {self.epoch.steps_done}"
            log.info("resumed after epoch %d from %s", self.state.epoch, directory)
        here = torch.tensor([self.state.epoch, self.epoch.steps_done], device=self.options.device)
        first = here.clone()
        self.processes.broadcast([first])
        if not torch.equal(here, first):
            raise ArtifactError(
                f"process {self.processes.rank} finds another checkpoint in {directory} than the "
                f"first one: the folder must be the same for all hosts; share it, or remove it"
            )

    def _restore(self, state: TrainingState, tensors: Mapping[str, Tensor]) -> None:
        self.state = state
        self.program.module.load_state_dict(without_prefix("module", tensors))
        self.best = without_prefix("best", tensors)
        for name, optimizer in self.program.optimizers.items():
            load_optimizer_tensors(optimizer, without_prefix(f"optimizer/{name}", tensors))
        self.epoch = self._next_epoch()
        self.epoch.restore(tensors["epoch/losses"], tensors["epoch/rows"])


def _note(record: Mapping[str, float]) -> str:
    return " ".join(f"{name} {value:.4f}" for name, value in record.items() if name != "epoch")
