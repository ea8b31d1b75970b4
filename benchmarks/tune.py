"""Look for settings on the paper's MovieLens-1M split, for the preset ml-1m-tuned.

  DIFFREC_BENCH_DATA=folder make bench-tune
  MODELS="diffrec l_diffrec" BUDGET=30m SEEDS="1 2 3" PRECISION=bfloat16 make bench-tune

Protocol C, and of it only what comes before its test. Models are fitted on train and judged by the
next 10 %, twice: whole, asked of the histories that they were fitted on, and its later half, asked
of histories that went on since, as those of the test have. The mean of both recalls counts.

Trials are fitted with the first seed; the best few are then fitted with the others too, since the
best of many owes part of it to its seed, and the best mean over seeds wins. Every model begins with
its present settings and has the same budget.

What is finished is kept in reports/bench/tuning, so the same command goes on where it was stopped.
"""

import argparse
import logging
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from statistics import mean
from typing import Any

from rich.console import Console

from benchmarks._fit import Task, training_data
from benchmarks._fits import Fit
from benchmarks._ml1m import data_folder, load_split, missing_data, protocol
from benchmarks._paper_table import spread
from benchmarks.paper import Bench
from diffrec_core.common.artifacts import read_json, sha256_json, write_json
from diffrec_core.common.rng import derive_seed
from diffrec_core.common.search_space import Choice, Dimension, Space, Trial, get_value, with_value
from diffrec_core.data.histories import Histories, concatenate
from diffrec_core.evaluation.evaluator import EvaluationConfig, evaluate_task
from diffrec_core.evaluation.ranking import RankingTask
from diffrec_core.models.base import Recommender, TrainingData
from diffrec_core.models.kinds import create
from diffrec_core.training.trainer import TrainingOptions
from pipeline_steps.params import presets
from pipeline_steps.runtime.command import command_line, progress
from pipeline_steps.studies.study import Budget, OnValidation, Section, Study
from pipeline_steps.studies.use_tuning import parse_budget

log = logging.getLogger("pipeline")

FINALISTS = 5
"""Trials that all seeds are tried with; the settings to begin with are another one."""
_METRIC = "recall@20"
_CONFIG = EvaluationConfig(cutoffs=(20,))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the choices: options, or environment variables of the same names."""
    for name, default, meaning in (
        ("MODELS", "", "entries under `train` in the presets (default: all)"),
        ("SEEDS", "1 2 3", "the first one for trials, all for the best of them (default: 1 2 3)"),
        ("PRECISION", "", "of the DiffRec family: float32 or bfloat16 (default: the preset's)"),
    ):
        chosen = (os.environ.get(name) or default).split()
        parser.add_argument(f"--{name.lower()}", nargs="*", default=chosen, help=meaning)
    budget = os.environ.get("BUDGET") or "20"
    what = "of trials, for each model: how many, or how long, such as 90s, 10m, 2h (default: 20)"
    parser.add_argument("--budget", default=budget, help=what)
    parser.add_argument("--presets", type=Path, default=presets.PRESETS, metavar="FOLDER")
    parser.add_argument("--out", type=Path, default=Path("reports/bench"), metavar="FOLDER")


def main(args: argparse.Namespace) -> None:
    """Tune one model after the other, and show what was found.

    Raises:
        ConfigError: a choice is unknown.
    """
    folder = data_folder()
    if folder is None:
        log.warning("%s", missing_data())
        return
    bench = Bench(folder, args.presets, args.out)
    budget = Budget(*parse_budget(args.budget))
    fits = bench.plan(
        args.models, args.seeds, ("C",), embeddings=("ours",), precisions=args.precision
    )
    for model in dict.fromkeys(fit.model for fit in fits):
        # of the presets, the later one has the settings to begin with
        by_seed = {fit.seed: fit for fit in fits if fit.model == model}
        candidates = Candidates(bench, list(by_seed.values()))
        _show(model, candidates.best(candidates.search(budget)))


@dataclass(frozen=True, slots=True)
class Result:
    """What came of one model's tuning.

    Attributes:
        settings: dotted keys and values that differ from those to begin with; empty if none did
            better.
        values: what counts, of each seed.
        before: the same of the settings to begin with; empty if they failed.
        trials: how many were tried.
    """

    settings: dict[str, Any]
    values: list[float]
    before: list[float]
    trials: int


class Candidates:
    """Settings of one model, tried and kept.

    Args:
        bench: where data and item embeddings come from.
        fits: with the settings to begin with, one for each seed.
    """

    def __init__(self, bench: Bench, fits: Sequence[Fit]) -> None:
        self.bench, self.fits = bench, fits
        self.model = fits[0].model
        config = create(fits[0].sections["model"], f"train.{self.model}").config
        self.space = fixed_recency_kind(config.search_space(), fits[0].sections["model"])
        self.start: Section = config.model_dump(mode="json")
        self.out = bench.out / "tuning" / f"{self.model}.json"
        self._data: dict[int, TrainingData] = {}

    @cached_property
    def tasks(self) -> tuple[RankingTask, RankingTask]:
        """The two that settings are judged by; neither holds anything of the test."""
        split = load_split(self.bench.data)
        earlier, later = halves(split.test)
        history = concatenate(split.train, earlier)
        return protocol(split, "C").selection, RankingTask("later half", history, later)

    def search(self, budget: Budget) -> list[Trial]:
        """Try settings with the first seed until the budget is spent; all trials, best first."""
        first = self.fits[0]
        study = Study(
            self.out.with_suffix(".db"),
            f"{self.model} {first.key[:16]}",
            self.space,
            self.start,
            first.seed,
        )
        total = budget.trials if budget.seconds is None else None
        with progress(f"tune/{self.model}", total, quiet=False) as advance:

            def on_trial(trial: Trial) -> None:
                best = max((t.value for t in study.trials if t.value is not None), default=0.0)
                advance(trial.number, f"best {best:.4f}")

            def judge(section: Section, validated: OnValidation) -> float:
                return self._judge(section, first, validated)

            trials = study.run(judge, budget, on_trial)
        return sorted(trials, key=lambda trial: trial.value or 0.0, reverse=True)

    def best(self, trials: Sequence[Trial]) -> Result:
        """The best mean over seeds among the best trials and the settings to begin with."""
        complete = [trial for trial in trials if trial.state == "complete"]
        begun = [trial for trial in complete if trial.number == 1]  # with what it begins with
        finalists = [trial for trial in complete if trial.number != 1][:FINALISTS]
        tried = [(self._changes(t), self._over_seeds(t)) for t in (*begun, *finalists)]
        settings, values = max(tried, key=lambda pair: mean(pair[1]))
        before = tried[0][1] if begun else []
        result = Result(settings, values, before, len(trials))
        write_json(self.out, {"model": self.model, **asdict(result)})
        return result

    def _changes(self, trial: Trial) -> dict[str, Any]:
        return {k: v for k, v in trial.settings.items() if v != get_value(self.start, k)}

    def _over_seeds(self, trial: Trial) -> list[float]:
        """The value of each seed; the first one's is the trial's own."""
        section = self.start
        for key, value in trial.settings.items():
            section = with_value(section, key, value)
        return [float(trial.value or 0.0), *(self._kept(section, fit) for fit in self.fits[1:])]

    def _kept(self, section: Section, fit: Fit) -> float:
        """The value of these settings with the fit's seed, from an earlier run if there is one."""
        key = sha256_json({"fit": fit.key, "section": section})
        path = self.bench.out / "tuning" / "finalists" / f"{key[:32]}.json"
        if not path.exists():
            value = self._judge(section, fit, lambda epoch, value: None)
            log.info("%s, seed %d: %.4f", self.model, fit.seed, value)
            write_json(path, {"model": self.model, "seed": fit.seed, "value": value})
        return float(read_json(path)["value"])

    def _judge(self, section: Section, fit: Fit, validated: OnValidation) -> float:
        model = create(section, f"train.{self.model}")
        seed = derive_seed(fit.seed, f"train/{self.model}")
        options = TrainingOptions(device=model.device, seed=seed, validated=validated)
        model.fit(self._training_data(fit), options)
        return mean(_recall(model, task) for task in self.tasks)

    def _training_data(self, fit: Fit) -> TrainingData:
        if fit.seed not in self._data:
            split = load_split(self.bench.data)
            task = Task(asdict(fit), str(self.bench.data))
            if fit.embeddings:
                task = task._replace(embeddings=str(self.bench.pretrained(fit, task)))
            self._data[fit.seed], _ = training_data(task, split, protocol(split, "C"))
        return self._data[fit.seed]


def _recall(model: Recommender, task: RankingTask) -> float:
    return evaluate_task(model.score, task, _CONFIG).metrics[_METRIC]


def halves(histories: Histories) -> tuple[Histories, Histories]:
    """Cut each row in two; of an odd number the later half has one more.

    >>> [half.items.tolist() for half in halves(Histories.from_lists([[1, 2, 3], [4, 5]]))]
    [[1, 4], [2, 3, 5]]
    """
    starts, n_earlier = histories.offsets[:-1], histories.lengths // 2
    later = histories.runs(starts + n_earlier, histories.lengths - n_earlier)
    return histories.runs(starts, n_earlier), later


def fixed_recency_kind(space: Space, section: Section) -> Space:
    """The space of models that stay what they are: with recency, or without.

    Decay by age is left out: the split has no times.
    """
    kinds: tuple[str, ...] = ("linear", "exponential_position")
    has_recency = (section.get("recency") or {}).get("kind", "none") != "none"
    chosen = []
    for dimension in space:
        if not dimension.key.startswith("recency"):
            chosen.append(dimension)
        elif has_recency and dimension.key == "recency.kind":
            chosen.append(Dimension(dimension.key, Choice(kinds), dimension.given))
        elif has_recency and (dimension.given is None or set(kinds) & set(dimension.given[1])):
            chosen.append(dimension)
    return tuple(chosen)


def _show(model: str, result: Result) -> None:
    console = Console(soft_wrap=True, highlight=False)
    before = spread(result.before) if result.before else "none"
    console.print(
        f"{model}: {spread(result.values)} for {before} of before, {result.trials} trials",
        markup=False,
    )
    for key, value in result.settings.items():
        console.print(f"  {key}: {value}", markup=False)


if __name__ == "__main__":
    command_line(main, add_arguments, __doc__)
