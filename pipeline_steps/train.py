"""Fit one model on the training part, once for each of its seeds; validation stops the training.

A model whose fit runs out of memory, or above `runtime.memory_limit_gib`, is left out, with the
reason in place of a model: the others go on.
"""

import logging
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

from diffrec_core.common.artifacts import write_text
from diffrec_core.common.errors import NotEnoughMemoryError
from diffrec_core.models.base import ModelConfig, Recommender
from diffrec_core.models.kinds import build, parse_config
from diffrec_core.training.trainer import TrainingReport
from pipeline_steps.runtime import candidates
from pipeline_steps.runtime.command import Report, execute
from pipeline_steps.runtime.config import ModelEntry, RuntimeConfig, Seeds
from pipeline_steps.runtime.fitting import (
    Training,
    fit_report,
    forget_checkpoint,
    read_training_data,
    summary,
    write_curves,
)
from pipeline_steps.runtime.inputs import FitInputs
from pipeline_steps.runtime.processes import join_processes, leave_if_not_writer, prepare_device
from pipeline_steps.runtime.sections import Section, Seed

log = logging.getLogger("pipeline")


class TrainInputs(FitInputs):
    """The model, its data and its outputs."""

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
    config: Annotated[ModelConfig, Section("train.{model}", parse_config)],
    runtime: RuntimeConfig,
) -> Report:
    """Fit the model with each seed and write directories and curves.

    Checkpoints stay until all is done: `dvc repro` after a kill begins with empty folders, and
    then takes the finished trainings from them.
    """
    device = prepare_device(runtime)
    processes = join_processes(device)
    if processes.is_writer:
        candidates.clear(inputs.out)
    fits: list[TrainingReport] = []
    facts: dict[str, Any] = {}
    try:
        model = build(config, device)
        data, read = read_training_data(model, inputs)
        trainings = _trainings(
            inputs,
            model,
            seed=seed,
            seeds=entry.seeds or seeds,
            code=entry.code,
            runtime=runtime,
        )
        for number, training in enumerate(trainings, 1):
            model = build(config, device)
            fits.append(
                training.fit_and_save(model, data, candidates.seed_directory(inputs.out, number))
            )
            facts = facts or {**read, **fit_report(model, fits[0])}
    except NotEnoughMemoryError as error:
        leave_if_not_writer(processes)
        log.warning("%s is left out: %s", inputs.model, error)
        candidates.leave_out(inputs.out, str(error))
        write_text(inputs.curves, "epoch\n")
        return {candidates.LEFT_OUT: str(error)}
    leave_if_not_writer(processes)
    candidates.complete(inputs.out, len(fits))
    write_curves(inputs.curves, fits[0])
    for training in trainings:
        forget_checkpoint(training.name)
    seeds_used = [training.seed for training in trainings]
    return {**facts, **_over_seeds(seeds_used, fits)}


def _trainings(
    inputs: TrainInputs,
    model: Recommender,
    *,
    seed: int,
    seeds: int,
    code: str,
    runtime: RuntimeConfig,
) -> list[Training]:
    """One for each seed; a single one where the seed makes no difference."""
    sources = {"train": inputs.train, "validation": inputs.validation}
    if model.needs_item_clusters:
        sources["item_clusters"] = inputs.items
    return [
        Training(
            name=f"train/{inputs.model}" + (f"-seed-{number}" if number > 1 else ""),
            seed=candidates.seed_of(seed, inputs.model, number),
            code=Path(code),
            inputs=sources,
            runtime=runtime,
            keep_checkpoint=True,
        )
        for number in range(1, (seeds if model.uses_seed else 1) + 1)
    ]


def _over_seeds(seeds: Sequence[int], fits: Sequence[TrainingReport]) -> dict[str, Any]:
    """Means over the seeds where the report of the first would not stand for all."""
    return {
        "seeds": [{"seed": seed, **summary(fit)} for seed, fit in zip(seeds, fits, strict=True)],
        "epochs": round(statistics.fmean(fit.epochs for fit in fits)),
        "best_epoch": round(statistics.fmean(fit.best_epoch for fit in fits)),
        "fit_seconds": round(statistics.fmean(fit.seconds for fit in fits), 3),
    }


if __name__ == "__main__":
    execute(run)
