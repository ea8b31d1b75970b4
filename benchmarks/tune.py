"""Look for settings on the paper's MovieLens-1M split, for the preset ml-1m-tuned.

  DIFFREC_BENCH_DATA=folder make bench-tune
  MODELS="diffrec l_diffrec" BUDGET=30m SEEDS="1 2 3" PRECISION=bfloat16 make bench-tune

Protocol C, and of it only what comes before its test. Models are fitted on train and judged by the
next 10 %, twice: whole, from the histories that they were fitted on, and its later half, from
histories that went on since, as those of the test have. The mean of both recalls is maximised.

Trials are fitted with the first seed; the best few are then fitted with the others too, since the
best of many owes part of its value to its seed, and the best mean over seeds wins. Every model
begins with its present settings and has the same budget.

Finished work stays in reports/bench/tuning, so the same command continues where it was stopped.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import mean
from typing import Annotated, Any, Literal

from pydantic import Field

from benchmarks.fits.fitting import data_of, fit_model, item_embeddings
from benchmarks.fits.plan import SETTINGS, Fit, plan
from benchmarks.ml1m import find_data, load_split
from benchmarks.results import Results, show, spread
from benchmarks.settings import BenchInputs, read_settings
from diffrec_core.common.artifacts import sha256_json
from diffrec_core.common.trial import Trial as Suggesting
from diffrec_core.data.histories import Histories, concatenate
from diffrec_core.evaluation.evaluator import recall_at
from diffrec_core.evaluation.ranking import RankingTask
from diffrec_core.models.base import TrainingData
from diffrec_core.models.kinds import parse_config
from pipeline_steps.params.overlay import leaves, nested
from pipeline_steps.params.presets import merged
from pipeline_steps.params.steps import TuneConfig
from pipeline_steps.runtime.progress import progress
from pipeline_steps.studies.study import OnValidation, Settings, Study, Trial

FINALISTS = 5
"""Trials that are fitted with all seeds, beside the settings to begin with."""


class TuneInputs(BenchInputs):
    """The models and their budget."""

    models: tuple[str, ...] = ()
    """Entries under `train`; by default all."""

    seeds: tuple[int, ...] = ()
    """The first for trials, all for the best; by default 1 2 3."""

    precision: tuple[Literal["float32", "bfloat16"], ...] = ()
    """Of models with a choice: float32, bfloat16."""

    budget: Annotated[int | str, Field(union_mode="left_to_right")] = 20
    """Of each model: trials, or a time such as 90s, 10m, 2h."""


def run(inputs: TuneInputs) -> None:
    """Tune one model after the other, and show the results.

    Raises:
        ConfigError: there are no data, or a choice is unknown.
    """
    data = find_data(inputs.data)
    fits = plan(
        {"ours": read_settings(SETTINGS["ours"])},
        load_split(data),
        models=inputs.models,
        seeds=inputs.seeds or (1, 2, 3),
        protocols=("C",),
        embeddings=("ours",),
        precisions=inputs.precision[:1],
    )
    budget = TuneConfig.parse({"budget": inputs.budget}, "tune")
    for model in dict.fromkeys(fit.model for fit in fits):
        tuning = Tuning([fit for fit in fits if fit.model == model], data, inputs.out)
        trials = tuning.search(budget)
        before, settings, values = tuning.best(trials)
        earlier = spread(before) if before else "none"
        show(f"{model}: {spread(values)}, before {earlier}, {len(trials)} trials")
        show(*(f"  {key}: {value}" for key, value in settings.items()))


class Tuning:
    """Trials of one model's settings.

    Args:
        fits: with the settings to begin with, one for each seed.
        data: folder of the split.
        out: folder of finished work.
    """

    def __init__(self, fits: Sequence[Fit], data: Path, out: Path) -> None:
        self.fits, self.data, self.out, self.split = fits, data, out, load_split(data)
        self.config = parse_config(fits[0].sections["model"], fits[0].model)
        self.start = self.config.model_dump(mode="json")
        self.finalists = Results(out / "tuning" / "finalists.json", ("key",))
        self.tasks = _tasks(self.split.train, self.split.test)
        self._training_data: dict[int, TrainingData] = {}

    def search(self, budget: TuneConfig) -> list[Trial]:
        """Try settings with the first seed until the budget is spent; all trials, best first."""
        first = self.fits[0]
        path, name = self.out / "tuning" / f"{first.model}.db", f"{first.model} {first.key[:16]}"
        study = Study(path, name, self._suggest, self.start, first.seed)
        total = budget.trials if budget.seconds is None else None
        with progress(f"tune/{first.model}", total) as advance:
            trials = study.run(
                lambda settings, validated: self._judge(self._section(settings), first, validated),
                budget,
                lambda trial: advance(trial.number, f"{trial.state} {trial.value or 0.0:.4f}"),
            )
        return sorted(trials, key=lambda trial: trial.value or 0.0, reverse=True)

    def best(self, trials: Sequence[Trial]) -> tuple[list[float], dict[str, Any], list[float]]:
        """Judge the best trials and the settings to begin with, which are trial 1, by all seeds.

        Returns:
            The values of trial 1, one for each seed, empty if it failed; of the best mean, the
            settings that differ from those to begin with, and the values.
        """
        complete = [trial for trial in trials if trial.state == "complete"]
        finalists = sorted(complete, key=lambda trial: trial.number != 1)[: FINALISTS + 1]
        values = {trial.number: self._over_seeds(trial) for trial in finalists}
        best = max(finalists, key=lambda trial: mean(values[trial.number]))
        now = dict(leaves(self.start))
        changes = {key: value for key, value in best.settings.items() if value != now.get(key)}
        return values.get(1, []), changes, values[best.number]

    def _suggest(self, trial: Suggesting) -> Settings:
        return self.config.suggest(_FixedRecency(trial, self.config.recency.kind != "none"))

    def _section(self, settings: Mapping[str, Any]) -> dict[str, Any]:
        return merged(self.start, nested(settings))

    def _over_seeds(self, trial: Trial) -> list[float]:
        """The value of each seed; the first one's is the trial's own."""
        section = self._section(trial.settings)
        return [trial.value or 0.0, *(self._finalist(section, fit) for fit in self.fits[1:])]

    def _finalist(self, section: dict[str, Any], fit: Fit) -> float:
        """The value of these settings with the fit's seed, from an earlier run if there is one."""
        row = self.finalists.once(
            sha256_json({"fit": fit.key, "section": section}),
            {"model": fit.model, "seed": fit.seed},
            lambda: {"value": self._judge(section, fit, lambda epoch, value: None)},
        )
        return float(row["value"])

    def _judge(self, section: dict[str, Any], fit: Fit, validated: OnValidation) -> float:
        """The mean recall of a fit with these settings."""
        if fit.seed not in self._training_data:
            embeddings = item_embeddings(fit, self.data, self.out / "cache")
            self._training_data[fit.seed] = data_of(fit, self.split, embeddings)
        model, _ = fit_model(fit, section, self._training_data[fit.seed], validated=validated)
        return mean(recall_at(model.score, task) for task in self.tasks)


def _tasks(train: Histories, judged: Histories) -> tuple[RankingTask, RankingTask]:
    """The part that settings are judged by, whole, and its later half after the earlier one."""
    starts, n_earlier = judged.offsets[:-1], judged.lengths // 2
    earlier = judged.runs(starts, n_earlier)
    later = judged.runs(starts + n_earlier, judged.lengths - n_earlier)
    whole = RankingTask("whole", train, judged)
    return whole, RankingTask("later", concatenate(train, earlier), later)


class _FixedRecency:
    """Suggestions for models that stay with recency, or without; decay by age needs times."""

    def __init__(self, trial: Suggesting, has_recency: bool) -> None:
        self._trial = trial
        self._kinds = ("linear", "exponential_position") if has_recency else ("none",)
        self.suggest_float, self.suggest_int = trial.suggest_float, trial.suggest_int

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        """As Optuna's, with fewer kinds of recency."""
        return self._trial.suggest_categorical(
            name, self._kinds if name == "recency.kind" else choices
        )
