"""A study of one model: what a trial is, and what is kept of it. Loaded only when tuning is on."""

import csv
import io
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from diffrec_core.common.artifacts import write_json, write_text
from diffrec_core.common.config import lookup
from diffrec_core.common.errors import DataError, NotEnoughMemoryError
from diffrec_core.common.rng import derive_seed
from diffrec_core.common.search_space import Choice, Trial
from diffrec_core.evaluation.evaluator import EvaluationConfig, evaluate_task
from diffrec_core.evaluation.leaderboard import SelectConfig
from diffrec_core.models.base import TrainingData
from diffrec_core.models.kinds import create
from diffrec_core.report.tuning import importance_figure, parallel_coordinates_figure
from diffrec_core.training.trainer import TrainingOptions
from pipeline_steps.registry import tracking
from pipeline_steps.runtime.candidates import LEFT_OUT
from pipeline_steps.runtime.command import Step
from pipeline_steps.runtime.fitting import RuntimeConfig, key_of, prepare_device, read_training_data
from pipeline_steps.studies.study import Budget, OnValidation, Section, Study, best_trial

log = logging.getLogger("pipeline")

_LAST_VALIDATION = "last_validation_recall@20"
"""What early stopping watches and pruning compares, whatever `select.metric` is."""


def tune(step: Step, *, trials: int | None, seconds: float | None) -> None:
    """Run the study, log its trials, and write the best settings and the pictures."""
    name = step.args.model
    key, metric = f"train.{name}", step.section("select", SelectConfig).metric
    device = prepare_device(step)
    model = create(lookup(step.params, key), key, device)
    data, inputs = read_training_data(step, model)
    judge = _Judge(step, data, metric)
    study = Study(
        step.args.study,
        f"{name} {key_of(step.seed, model.config, list(inputs.values()))[:16]} {metric}",
        model.config.search_space(),
        model.config.model_dump(mode="json"),
        step.seed,
    )
    total = trials if seconds is None else None
    experiment = str(lookup(step.params, "register.experiment"))
    with (
        step.progress(f"tune/{name}", total) as advance,
        tracking.tuning_run(experiment, name, {"metric": f"validation {metric}"}) as log_trial,
    ):

        def on_trial(trial: Trial) -> None:
            values = {metric: trial.value, _LAST_VALIDATION: trial.last_validation}
            log_trial(trial.settings, values, {"state": trial.state})
            advance(trial.number, _note(study.trials, metric))

        try:
            tried = study.run(judge, Budget(trials, seconds), on_trial)
        except NotEnoughMemoryError as error:
            _write_nothing(step, error)
            return
    _write(step, study, tried, metric)


class _Judge:
    """The objective: the metric by which `select` chooses, on validation.

    A trial trains as `train` would, with the seed that `train` uses, so that the best trial's
    result is what `train` then gets.
    """

    def __init__(self, step: Step, data: TrainingData, metric: str) -> None:
        self.step, self.data, self.metric = step, data, metric
        cutoff = int(metric.partition("@")[2])
        self.memory_limit_gib = step.section("runtime", RuntimeConfig).memory_limit_gib
        batch_size = step.section("evaluate", EvaluationConfig).batch_size
        self.config = EvaluationConfig(cutoffs=(cutoff,), batch_size=batch_size)

    def __call__(self, section: Section, validated: OnValidation) -> float:
        name = self.step.args.model
        model = create(section, f"train.{name}", prepare_device(self.step))
        options = TrainingOptions(
            device=model.device,
            seed=derive_seed(self.step.seed, f"train/{name}"),
            validated=validated,
            memory_limit_gib=self.memory_limit_gib,
        )
        model.fit(self.data, options)
        task = self.data.validation
        if task is None:
            raise DataError("there is no validation part to judge settings by")
        return evaluate_task(model.score, task, self.config).metrics[self.metric]


def _note(trials: list[Trial], metric: str) -> str:
    if not any(trial.state == "complete" for trial in trials):
        return "none succeeded yet"
    best = best_trial(trials)
    return f"best {metric} {best.value:.4f} (trial {best.number})"


def _write(step: Step, study: Study, trials: list[Trial], metric: str) -> None:
    best = best_trial(trials)
    folder: Path = step.args.trials
    write_text(folder / "trials.csv", _csv(trials, metric))
    label = f"{step.args.model}: validation {metric}"
    write_text(folder / "parallel_coordinates.svg", parallel_coordinates_figure(trials, label))
    write_text(folder / "importance.svg", importance_figure(study.importances, label))
    write_json(
        step.args.out,
        {
            "model": step.args.model,
            "settings": dict(best.settings),
            "metric": f"validation {metric}",
            "value": best.value,
        },
    )
    step.report |= {"trials": len(trials), "best_trial": best.number, "value": best.value}


def _write_nothing(step: Step, error: NotEnoughMemoryError) -> None:
    """`train`, which leaves the model out for the same reason, must still find its files."""
    log.warning("%s is not tuned: %s", step.args.model, error)
    write_json(step.args.out, {"model": step.args.model, "settings": {}})
    write_text(step.args.trials / "trials.csv", "")
    step.report[LEFT_OUT] = str(error)


def _csv(trials: list[Trial], metric: str) -> str:
    keys = sorted({key for trial in trials for key in trial.settings})
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(["trial", "state", metric, _LAST_VALIDATION, "seconds", *keys])
    for t in trials:
        values = [_cell(t.value), _cell(t.last_validation)]
        cells = [_cell(t.settings.get(key)) for key in keys]
        writer.writerow([t.number, t.state, *values, round(t.seconds, 3), *cells])
    return buffer.getvalue()


def _cell(value: Any) -> Any:
    if value is None:
        return ""
    return Choice.label(value) if isinstance(value, list | tuple | Mapping) else value
