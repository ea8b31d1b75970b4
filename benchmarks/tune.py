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
from typing import Any, Literal

from benchmarks.fits.fitting import data_of, item_embeddings
from benchmarks.fits.plan import SETTINGS, Fit, device, plan
from benchmarks.inputs import BenchInputs
from benchmarks.ml1m import find_data, load_split
from benchmarks.results import Results, show, spread
from benchmarks.settings import read_settings
from diffrec_core.common.artifacts import sha256_json
from diffrec_core.common.rng import derive_seed
from diffrec_core.common.trial import Trial as Suggesting
from diffrec_core.data.histories import Histories, concatenate
from diffrec_core.evaluation.measuring import recall_at
from diffrec_core.evaluation.ranking import RankingTask
from diffrec_core.models.base import TrainingData
from diffrec_core.models.kinds import create
from diffrec_core.training.trainer import TrainingOptions
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

    budget: int | str = 20
    """Of each model: trials, or a time such as 90s, 10m, 2h."""


def run(inputs: TuneInputs) -> None:
    """Tune one model after the other, and show the results.

    Raises:
        ConfigError: a choice is unknown.
    """
    data = find_data(inputs.data)
    if data is None:
        return
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
        self.fits, self.data, self.out = fits, data, out
        self.split, self.model = load_split(data), fits[0].model
        self.config = create(fits[0].sections["model"], self.model).config
        self.start = self.config.model_dump(mode="json")
        self.finalists = Results(out / "tuning" / "finalists.json", ("key",))
        earlier, later = halves(self.split.test)
        later_half = RankingTask("later", concatenate(self.split.train, earlier), later)
        whole = RankingTask("whole", self.split.train, self.split.test)
        self.tasks = (whole, later_half)
        self._training_data: dict[int, TrainingData] = {}

    def search(self, budget: TuneConfig) -> list[Trial]:
        """Try settings with the first seed until the budget is spent; all trials, best first."""
        first, path = self.fits[0], self.out / "tuning" / f"{self.model}.db"
        name = f"{self.model} {first.key[:16]}"
        study = Study(path, name, self._suggest, self.start, first.seed)
        total = budget.trials if budget.seconds is None else None
        with progress(f"tune/{self.model}", total) as advance:
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
        return [float(trial.value or 0.0), *(self._finalist(section, f) for f in self.fits[1:])]

    def _finalist(self, section: dict[str, Any], fit: Fit) -> float:
        """The value of these settings with the fit's seed, from an earlier run if there is one."""
        key = sha256_json({"fit": fit.key, "section": section})
        row = self.finalists.find(key)
        if row is None:
            value = self._judge(section, fit, lambda epoch, value: None)
            row = {"key": key, "model": fit.model, "seed": fit.seed, "value": value}
            self.finalists.add(row)
        return float(row["value"])

    def _judge(self, section: dict[str, Any], fit: Fit, validated: OnValidation) -> float:
        """The mean recall of a fit with these settings."""
        model = create(section, f"train.{fit.model}", device())
        seed = derive_seed(fit.seed, f"train/{fit.model}")
        options = TrainingOptions(device=model.device, seed=seed, validated=validated)
        if fit.seed not in self._training_data:
            embeddings = item_embeddings(fit, self.data, self.out / "cache")
            self._training_data[fit.seed] = data_of(fit, self.split, embeddings)
        model.fit(self._training_data[fit.seed], options)
        return mean(recall_at(model.score, task) for task in self.tasks)


def halves(histories: Histories) -> tuple[Histories, Histories]:
    """Cut each row in two; of an odd number the later half has one more.

    >>> [half.items.tolist() for half in halves(Histories.from_lists([[1, 2, 3], [4, 5]]))]
    [[1, 4], [2, 3, 5]]
    """
    starts, n_earlier = histories.offsets[:-1], histories.lengths // 2
    later = histories.runs(starts + n_earlier, histories.lengths - n_earlier)
    return histories.runs(starts, n_earlier), later


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
