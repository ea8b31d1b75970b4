"""Fit one model on the training part, once for each of its seeds; validation stops the training.

A model whose fit runs out of memory, or above `runtime.memory_limit_gib`, is left out, with the
reason in place of a model: the others go on.
"""

import logging
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from diffrec_core.common.artifacts import write_text
from diffrec_core.common.errors import NotEnoughMemoryError
from diffrec_core.models.base import ModelConfig, Recommender
from diffrec_core.models.kinds import build
from diffrec_core.training.trainer import TrainingReport
from pipeline_steps.runtime import candidates
from pipeline_steps.runtime.command import Inputs, Report, execute
from pipeline_steps.runtime.config import RuntimeConfig
from pipeline_steps.runtime.fitting import (
    Training,
    fit_report,
    forget_checkpoint,
    read_training_data,
    write_curves,
)
from pipeline_steps.runtime.models import ModelEntry, Seeds
from pipeline_steps.runtime.processes import join_processes, leave_if_not_writer, prepare_device
from pipeline_steps.runtime.sections import Section, Seed

log = logging.getLogger("pipeline")


class TrainInputs(Inputs):
    """The model, its data and its outputs."""

    model: str
    """An entry under `models` and `train` in params.yaml."""

    items: Path
    """Folder of the item vocabulary; of a latent model, with the items' clusters."""

    train: Path
    """Training part."""

    validation: Path
    """Validation part."""

    out: Path
    """Folder to write: a model directory per seed."""

    curves: Path
    """CSV to write: losses of the first seed."""


def run(
    inputs: TrainInputs,
    *,
    seed: Seed,
    seeds: Seeds,
    entry: Annotated[ModelEntry, Section("models.{model}")],
    config: Annotated[ModelConfig, Section("train.{model}")],
    runtime: RuntimeConfig,
) -> Report:
    """Fit the model with each seed and write directories and curves."""
    processes = join_processes(prepare_device(runtime))
    if processes.is_writer:
        candidates.clear(inputs.out)
    fits = _Fits(inputs, seed, entry.seeds or seeds, Path(entry.code), config, runtime)
    try:
        reports = list(fits.run())
    except NotEnoughMemoryError as error:
        leave_if_not_writer(processes)
        return _leave_out(inputs, str(error))
    leave_if_not_writer(processes)
    candidates.complete(inputs.out, len(reports))
    trainings = [training for training, _ in reports]
    write_curves(inputs.curves, trainings[0])
    for number in range(1, len(reports) + 1):
        forget_checkpoint(fits.name(number))
    return {**reports[0][1], **_over_seeds(inputs.model, seed, trainings)}


@dataclass(frozen=True, slots=True)
class _Fits:
    """The fits of one model, one per seed.

    Checkpoints stay until all is done: `dvc repro` after a kill begins with empty folders, and
    then takes the finished trainings from them.
    """

    inputs: TrainInputs
    seed: int
    seeds: int
    code: Path
    config: ModelConfig
    runtime: RuntimeConfig

    def run(self) -> Iterator[tuple[TrainingReport, dict[str, Any]]]:
        """Fit and save once per seed; yield the training's report and facts about the fit."""
        inputs, model = self.inputs, self._create()
        data, facts = read_training_data(
            model, items=inputs.items, train=inputs.train, validation=inputs.validation
        )
        for number in range(1, (self.seeds if model.uses_seed else 1) + 1):
            model = self._create()
            out = candidates.seed_directory(inputs.out, number)
            report = self._training(number, model).fit_and_save(model, data, out)
            yield report, {**facts, **fit_report(model, report)}

    def name(self, number: int) -> str:
        """The name of the number-th training."""
        return f"train/{self.inputs.model}" + (f"-seed-{number}" if number > 1 else "")

    def _create(self) -> Recommender:
        return build(self.config, prepare_device(self.runtime))

    def _training(self, number: int, model: Recommender) -> Training:
        inputs = {"train": self.inputs.train, "validation": self.inputs.validation}
        if model.needs_item_clusters:
            inputs["item_clusters"] = self.inputs.items
        return Training(
            name=self.name(number),
            seed=candidates.seed_of(self.seed, self.inputs.model, number),
            code=self.code,
            inputs=inputs,
            runtime=self.runtime,
            keep_checkpoint=True,
        )


def _over_seeds(model: str, seed: int, fits: Sequence[TrainingReport]) -> dict[str, Any]:
    """Means over the seeds where the report of the first would not stand for all."""
    return {
        "seeds": [
            {
                "seed": candidates.seed_of(seed, model, number),
                "epochs": fit.epochs,
                "best_epoch": fit.best_epoch,
                "validation_recall@20": fit.best_value,
                "fit_seconds": round(fit.seconds, 3),
            }
            for number, fit in enumerate(fits, 1)
        ],
        "epochs": round(statistics.fmean(fit.epochs for fit in fits)),
        "best_epoch": round(statistics.fmean(fit.best_epoch for fit in fits)),
        "fit_seconds": round(statistics.fmean(fit.seconds for fit in fits), 3),
    }


def _leave_out(inputs: TrainInputs, reason: str) -> dict[str, Any]:
    log.warning("%s is left out: %s", inputs.model, reason)
    candidates.leave_out(inputs.out, reason)
    write_text(inputs.curves, "epoch\n")
    return {candidates.LEFT_OUT: reason}


if __name__ == "__main__":
    execute(run)
