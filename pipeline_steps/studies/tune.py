"""Look for better settings of one model than those in params.yaml, on the validation part alone.

Every model has the same budget (section `tune`), its present settings are the first trial, and
recency is tuned for all. A killed study resumes where it stopped. Writes the trials as CSV and
pictures, and a preset with the best settings:

  make tune MODELS="t_ease t_diffrec" BUDGET=50           trials, or 90s, 10m, 2h
  python -m pipeline_steps use-preset tuned             puts the results over params.yaml
"""

import io
import json
import logging
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from diffrec_core.common.artifacts import write_json, write_text
from diffrec_core.common.errors import DataError, NotEnoughMemoryError
from diffrec_core.evaluation.evaluator import EvaluationConfig, evaluate_task
from diffrec_core.evaluation.leaderboard import SelectConfig
from diffrec_core.models.base import ModelConfig, TrainingData
from diffrec_core.models.kinds import build, parse_config
from diffrec_core.training.trainer import TrainingOptions
from pipeline_steps.params.overlay import nested
from pipeline_steps.params.presets import merged
from pipeline_steps.params.steps import RegisterConfig, TuneConfig
from pipeline_steps.registry import tracking
from pipeline_steps.runtime.candidates import LEFT_OUT, seed_of
from pipeline_steps.runtime.command import Report
from pipeline_steps.runtime.config import ModelEntry, RuntimeConfig
from pipeline_steps.runtime.fitting import Training, read_training_data
from pipeline_steps.runtime.inputs import FitInputs
from pipeline_steps.runtime.outputs import write_csv
from pipeline_steps.runtime.processes import prepare_device
from pipeline_steps.runtime.progress import progress
from pipeline_steps.runtime.sections import Section, Seed
from pipeline_steps.studies.study import OnValidation, Settings, Study, Trial, best_trial

log = logging.getLogger("pipeline")

_LAST_VALIDATION = "last_validation_recall@20"
"""The metric of early stopping, which pruning compares, whatever `select.metric` is."""


class TuneInputs(FitInputs):
    """The model, its data and the output."""

    out: Path
    """Folder to write: trials, pictures and the preset."""

    study: Path = Path(".tuning/studies.db")
    """SQLite file of the trials."""


def run(
    inputs: TuneInputs,
    *,
    seed: Seed,
    tune: TuneConfig,
    entry: Annotated[ModelEntry, Section("models.{model}")],
    config: Annotated[ModelConfig, Section("train.{model}", parse_config)],
    select: SelectConfig,
    evaluate: EvaluationConfig,
    register: RegisterConfig,
    runtime: RuntimeConfig,
) -> Report:
    """Run the study, log its trials, and write the results."""
    name, metric = inputs.model, select.metric
    data, _ = read_training_data(build(config), inputs)
    sources = {part: getattr(inputs, part) for part in ("items", "train", "validation")}
    training = Training(
        name=f"tune/{name}", seed=seed, code=Path(entry.code), inputs=sources, runtime=runtime
    )
    study_name = f"{name} {training.key(config)[:16]} {metric}"
    start = config.model_dump(mode="json")
    study = Study(inputs.study, study_name, config.suggest, start, seed)
    judge = _Judge(name, start, data, metric, evaluate.batch_size, seed, runtime)
    tags = {"metric": f"validation {metric}"}
    with (
        progress(f"tune/{name}", tune.trials) as advance,
        tracking.tuning_run(register.experiment, name, tags) as log_trial,
    ):

        def on_trial(trial: Trial) -> None:
            values = {metric: trial.value, _LAST_VALIDATION: trial.last_validation}
            log_trial(trial.settings, values, {"state": trial.state})
            best = best_trial(study.trials)
            label = f"best {metric} {best.value:.4f} (trial {best.number})" if best else ""
            advance(trial.number, label or "none succeeded yet")

        try:
            trials = study.run(judge, tune, on_trial)
        except NotEnoughMemoryError as error:
            log.warning("%s is not tuned: %s", name, error)
            _write_preset(inputs.out, name, {}, f"none: {error}")
            return {LEFT_OUT: str(error)}
    return _write(inputs, study, trials, metric)


@dataclass(frozen=True, slots=True)
class _Judge:
    """The objective: the metric by which `select` chooses, on validation.

    A trial trains as `train` would, with the seed that `train` uses, so that `train` gets the best
    trial's result.
    """

    name: str
    start: dict[str, Any]
    data: TrainingData
    metric: str
    batch_size: int
    seed: int
    runtime: RuntimeConfig

    def __call__(self, settings: Settings, validated: OnValidation) -> float:
        section = merged(self.start, nested(settings))
        config = parse_config(section, f"train.{self.name}")
        model = build(config, prepare_device(self.runtime))
        options = TrainingOptions(
            device=model.device,
            seed=seed_of(self.seed, self.name, 1),
            validated=validated,
            memory_limit_gib=self.runtime.memory_limit_gib,
        )
        model.fit(self.data, options)
        if self.data.validation is None:
            raise DataError("there is no validation part to judge settings by")
        cutoff = int(self.metric.partition("@")[2])
        evaluation = EvaluationConfig(cutoffs=(cutoff,), batch_size=self.batch_size)
        return evaluate_task(model.score, self.data.validation, evaluation).metrics[self.metric]


def _write(inputs: TuneInputs, study: Study, trials: list[Trial], metric: str) -> dict[str, Any]:
    best = best_trial(trials)
    if best is None:
        raise DataError("the study has no complete trial")
    _write_trials(inputs.out / "trials.csv", trials, metric)
    write_json(inputs.out / "importances.json", study.importances)
    _write_pictures(study, inputs.out)
    label = f"validation {metric} {best.value:.4f}, the best of {len(trials)} trials"
    _write_preset(inputs.out, inputs.model, best.settings, label)
    return {"trials": len(trials), "best_trial": best.number, "value": best.value}


def _write_preset(folder: Path, model: str, settings: Any, label: str) -> None:
    overlay = {"train": {model: nested(settings)}}
    head = f"# {model}: tuned settings ({label})\n"
    write_text(folder / "preset.yaml", head + json.dumps(overlay, indent=2) + "\n")  # also YAML


def _write_pictures(study: Study, folder: Path) -> None:
    """Draw the trials and the importances with Optuna; nothing where there are too few trials."""
    from optuna.visualization import matplotlib as pictures  # noqa: PLC0415  # it takes a second

    if not study.importances:
        return
    with warnings.catch_warnings(action="ignore"):  # these functions are experimental
        drawn = {
            "parallel_coordinates": pictures.plot_parallel_coordinate(study.optuna),
            "importance": pictures.plot_param_importances(study.optuna),
        }
        for name, axes in drawn.items():
            buffer = io.BytesIO()
            canvas = axes.figure.get_figure(root=True)
            canvas.savefig(buffer, format="svg", bbox_inches="tight")
            write_text(folder / f"{name}.svg", buffer.getvalue().decode())


def _write_trials(path: Path, trials: list[Trial], metric: str) -> None:
    keys = sorted({key for trial in trials for key in trial.settings})
    columns = ["trial", "state", metric, _LAST_VALIDATION, "seconds", *keys]
    rows = (
        {
            "trial": trial.number,
            "state": trial.state,
            metric: trial.value,
            _LAST_VALIDATION: trial.last_validation,
            "seconds": round(trial.seconds, 3),
            **{key: _cell(value) for key, value in trial.settings.items()},
        }
        for trial in trials
    )
    write_csv(path, columns, rows)


def _cell(value: Any) -> Any:
    return json.dumps(value) if isinstance(value, list | dict) else value
