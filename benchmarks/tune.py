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

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from statistics import mean
from typing import Any

from benchmarks.fits.fitting import data_of, item_embeddings
from benchmarks.fits.plan import PRECISIONS, SETTINGS, Fit, device, plan
from benchmarks.ml1m import find_data, load_split
from benchmarks.results import Results, show, spread
from benchmarks.settings import read_settings
from diffrec_core.common.artifacts import sha256_json
from diffrec_core.common.rng import derive_seed
from diffrec_core.common.search_space import Choice, Space, Trial, get_value, with_value
from diffrec_core.data.histories import Histories, concatenate
from diffrec_core.evaluation.metrics import recall_at
from diffrec_core.evaluation.ranking import RankingTask
from diffrec_core.models.base import TrainingData
from diffrec_core.models.kinds import create
from diffrec_core.training.trainer import TrainingOptions
from pipeline_steps.runtime.command import progress
from pipeline_steps.studies.study import Budget, OnValidation, Section, Study
from pipeline_steps.studies.use_tuning import parse_budget

FINALISTS = 5
"""Trials that are fitted with all seeds, beside the settings to begin with."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the choices; an empty list stands for the default."""
    add = parser.add_argument
    add("--models", nargs="*", default=[], help="entries under `train` (default: all)")
    add("--seeds", nargs="*", type=int, default=[], help="first: trials, all: the best (1 2 3)")
    add("--precision", nargs="*", choices=PRECISIONS, default=[], help="of models with a choice")
    add("--budget", default="20", help="of each model: trials, or a time such as 90s, 10m, 2h")


def main(args: argparse.Namespace) -> None:
    """Tune one model after the other, and show the results.

    Raises:
        ConfigError: a choice is unknown.
    """
    data = find_data(args.data)
    if data is None:
        return
    fits = plan(
        {"ours": read_settings(SETTINGS["ours"])},
        load_split(data),
        models=args.models,
        seeds=args.seeds or (1, 2, 3),
        protocols=("C",),
        embeddings=("ours",),
        precisions=args.precision[:1],
    )
    budget = Budget(*parse_budget(args.budget))
    for model in dict.fromkeys(fit.model for fit in fits):
        tuning = Tuning([fit for fit in fits if fit.model == model], data, args.out)
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
        self.start: Section = dict(fits[0].sections["model"])
        config = create(self.start, self.model).config
        self.space = fixed_recency_kind(config.search_space(), self.start)
        self.finalists = Results(out / "tuning" / "finalists.json", ("key",))
        earlier, later = halves(self.split.test)
        later_half = RankingTask("later", concatenate(self.split.train, earlier), later)
        whole = RankingTask("whole", self.split.train, self.split.test)
        self.tasks = (whole, later_half)
        self._training_data: dict[int, TrainingData] = {}

    def search(self, budget: Budget) -> list[Trial]:
        """Try settings with the first seed until the budget is spent; all trials, best first."""
        first, path = self.fits[0], self.out / "tuning" / f"{self.model}.db"
        name = f"{self.model} {first.key[:16]}"
        study = Study(path, name, self.space, self.start, first.seed)
        total = budget.trials if budget.seconds is None else None
        with progress(f"tune/{self.model}", total, quiet=False) as advance:
            trials = study.run(
                lambda section, validated: self._judge(section, first, validated),
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
        settings = best.settings.items()
        changes = {key: value for key, value in settings if value != get_value(self.start, key)}
        return values.get(1, []), changes, values[best.number]

    def _over_seeds(self, trial: Trial) -> list[float]:
        """The value of each seed; the first one's is the trial's own."""
        section = self.start
        for key, value in trial.settings.items():
            section = with_value(section, key, value)
        return [float(trial.value or 0.0), *(self._finalist(section, f) for f in self.fits[1:])]

    def _finalist(self, section: Section, fit: Fit) -> float:
        """The value of these settings with the fit's seed, from an earlier run if there is one."""
        key = sha256_json({"fit": fit.key, "section": section})
        row = self.finalists.find(key)
        if row is None:
            value = self._judge(section, fit, lambda epoch, value: None)
            row = {"key": key, "model": fit.model, "seed": fit.seed, "value": value}
            self.finalists.add(row)
        return float(row["value"])

    def _judge(self, section: Section, fit: Fit, validated: OnValidation) -> float:
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


def fixed_recency_kind(space: Space, section: Section) -> Space:
    """The space of models that stay with recency, or without; decay by age needs times."""
    if (section.get("recency") or {}).get("kind", "none") == "none":
        return tuple(dim for dim in space if not dim.key.startswith("recency"))
    kinds = Choice(("linear", "exponential_position"))
    return tuple(replace(dim, values=kinds) if dim.key == "recency.kind" else dim for dim in space)
