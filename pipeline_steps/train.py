"""Fit one model on the training part, once for each of its seeds; validation says when to stop.

A model that would need more memory than it may have, or finds no more in the middle of its fit, is
left out, with the reason in place of a model: the others go on.

Reads params.yaml: seed, seeds, models.<model>, train.<model>; settings that `tune` found go before.
"""

import argparse
import logging
import statistics
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from diffrec_core.common.artifacts import write_text
from diffrec_core.common.errors import NotEnoughMemoryError
from diffrec_core.models.kinds import create
from diffrec_core.training.trainer import TrainingReport
from pipeline_steps.runtime import candidates
from pipeline_steps.runtime.command import Step, execute
from pipeline_steps.runtime.fitting import (
    fit_and_save,
    fit_report,
    forget_checkpoint,
    join_processes,
    leave_if_not_writer,
    model_section,
    prepare_device,
    read_training_data,
    write_curves,
)

log = logging.getLogger("pipeline")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the model and where the data lie."""
    parser.add_argument("--model", required=True, help="an entry under `train` in params.yaml")
    parser.add_argument("--interactions", type=Path, required=True, help="for the vocabulary")
    parser.add_argument("--train", type=Path, required=True, help="training part")
    parser.add_argument("--validation", type=Path, required=True, help="validation part")
    parser.add_argument("--item-clusters", type=Path, required=True, help="read by latent models")
    parser.add_argument("--tuned", type=Path, help="settings that `tune` found, if it looked")
    parser.add_argument(
        "--out", type=Path, required=True, help="folder to write: a model directory per seed"
    )
    parser.add_argument(
        "--curves", type=Path, required=True, help="CSV to write: losses of the first seed"
    )


def run(step: Step) -> None:
    """Fit the model with each seed and write directories, curves and report."""
    args = step.args
    processes = join_processes(prepare_device(step))
    if processes.is_writer:
        candidates.clear(args.out)
    try:
        reports = list(_fit_each(step))
    except NotEnoughMemoryError as error:
        leave_if_not_writer(processes)
        _leave_out(step, str(error))
        return
    leave_if_not_writer(processes)
    fits = [fit for fit, _ in reports]
    candidates.complete(args.out, len(fits))
    write_curves(args.curves, fits[0])
    step.report |= {**reports[0][1], **_over_seeds(step, fits)}
    for number in range(1, len(fits) + 1):
        forget_checkpoint(_name(args.model, number))


def _fit_each(step: Step) -> Iterator[tuple[TrainingReport, dict[str, Any]]]:
    """Fit and save once per seed; yield what it took.

    Checkpoints stay until all is done: `dvc repro` after a kill begins with empty folders, and
    then takes the finished trainings from them.
    """
    name = step.args.model
    key = f"train.{name}"
    section = model_section(step, name, step.args.tuned)
    model = create(section, key, prepare_device(step))
    data, inputs = read_training_data(step, model)
    seeds = candidates.number_of_seeds(step, name) if model.uses_seed else 1
    for number in range(1, seeds + 1):
        model = create(section, key, prepare_device(step))
        fit = fit_and_save(
            step,
            _name(name, number),
            model,
            data,
            out=candidates.seed_directory(step.args.out, number),
            inputs=inputs,
            seed=candidates.seed_of(step, name, number),
            keep_checkpoint=True,
        )
        yield fit, fit_report(model, fit)


def _name(model: str, number: int) -> str:
    return f"train/{model}" if number == 1 else f"train/{model}-seed-{number}"


def _over_seeds(step: Step, fits: Sequence[TrainingReport]) -> dict[str, Any]:
    """Means over the seeds where the report of the first would not stand for all."""
    return {
        "seeds": [
            {
                "seed": candidates.seed_of(step, step.args.model, number),
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


def _leave_out(step: Step, reason: str) -> None:
    log.warning("%s is left out: %s", step.args.model, reason)
    candidates.leave_out(step.args.out, reason)
    write_text(step.args.curves, "epoch\n")
    step.report[candidates.LEFT_OUT] = reason


if __name__ == "__main__":
    execute(run, add_arguments, __doc__)
