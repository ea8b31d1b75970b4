"""Tuning on the paper's split, with a split of a few users in the same form."""

from collections.abc import Callable
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np
import pytest

from benchmarks.fits.plan import plan
from benchmarks.ml1m import load_split
from benchmarks.tune import TuneInputs, Tuning
from diffrec_core.models.item_item.ease import EaseConfig
from pipeline_steps.params.steps import TuneConfig

Make = Callable[..., Tuning]


@pytest.fixture
def make(settings: dict[str, dict[str, Any]], data: Path, tmp_path: Path) -> Make:
    """Builds the tuning of a model anew, as another call of the command would."""
    ours = {"ours": settings["ours"]}

    def make_tuning(model: str, *seeds: int) -> Tuning:
        chosen: dict[str, Any] = {"protocols": ["C"], "embeddings": ["ours"]}
        fits = plan(ours, load_split(data), models=[model], seeds=seeds, **chosen)
        return Tuning(fits, data, tmp_path / "out")

    return make_tuning


def test_the_test_part_is_nowhere_in_what_settings_are_judged_by(make: Make, data: Path) -> None:
    names = ("train", "test", "valid")
    with np.load(data / "split.npz") as arrays:
        parts = {name: arrays[name] for name in names}
    whole, later = make("ease", 1).tasks
    for user in whole.users:
        train, judged, test = (parts[name][parts[name][:, 0] == user, 1].tolist() for name in names)
        row = np.array([user])
        assert whole.histories.take(row).items.tolist() == train
        assert whole.targets.take(row).items.tolist() == judged
        half = [*later.histories.take(row).items, *later.targets.take(row).items]
        assert half == [*train, *judged]
        assert not set(test) & set(half)


def test_it_begins_with_our_settings_and_the_best_mean_over_seeds_wins(make: Make) -> None:
    tuning = make("ease", 1, 2)
    assert tuning.start["l2"] == 5.0
    trials = tuning.search(TuneConfig(budget=4))
    values = [trial.value for trial in trials if trial.value is not None]
    assert len(trials) == 4
    assert values == sorted(values, reverse=True)

    before, settings, best = tuning.best(trials)
    assert set(settings) <= {"l2"}
    assert len(best) == 2
    assert mean(best) >= max(mean(before), max(values) - 1e-12)  # EASE has no seed


def test_a_trial_is_not_fitted_again_with_its_own_seed(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    tuning = make("ease", 1, 2)
    trials = tuning.search(TuneConfig(budget=3))
    seeds: list[int] = []
    monkeypatch.setattr(tuning, "_judge", lambda section, fit, _: seeds.append(fit.seed) or 0.5)
    before, _, _ = tuning.best(trials)
    assert seeds == [2, 2, 2]  # the settings to begin with, and two other trials
    assert before == [next(t.value for t in trials if t.number == 1), 0.5]


def test_finished_trials_and_fits_are_not_done_again(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, again = make("ease", 1, 2), make("ease", 1, 2)
    result = first.best(first.search(TuneConfig(budget=3)))
    monkeypatch.setattr(again, "_judge", None)  # to call it would be an error
    assert again.best(again.search(TuneConfig(budget=3))) == result


def test_latent_models_have_their_item_clusters(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    def here(function: Callable[..., Any], *arguments: Any) -> Any:
        return function(*arguments)

    monkeypatch.setattr("benchmarks.fits.fitting.in_own_process", here)
    tuning = make("l_diffrec", 1)
    _, _, values = tuning.best(tuning.search(TuneConfig(budget=1)))
    assert len(values) == 1


class Asked:
    """A trial that notes the choices that it is given, and takes the last."""

    def __init__(self) -> None:
        self.choices: dict[str, Any] = {}

    def suggest_float(self, name: str, low: float, high: float, *, log: bool = False) -> float:
        return high

    def suggest_int(self, name: str, low: int, high: int, *, log: bool = False) -> int:
        return high

    def suggest_categorical(self, name: str, choices: Any) -> Any:
        self.choices[name] = tuple(choices)
        return choices[-1]


@pytest.mark.parametrize(
    ("recency", "kinds"),
    [({}, ("none",)), ({"kind": "linear"}, ("linear", "exponential_position"))],
)
def test_models_stay_with_recency_or_without(
    make: Make, recency: dict[str, Any], kinds: tuple[str, ...]
) -> None:
    tuning, asked = make("ease", 1), Asked()
    tuning.config = EaseConfig.model_validate({"recency": recency})
    assert set(tuning._suggest(asked)) >= {"l2", "recency.kind"}
    assert asked.choices["recency.kind"] == kinds


@pytest.mark.parametrize(("given", "read"), [("3", 3), ("22m", "22m")])
def test_a_budget_of_the_command_line_is_trials_or_a_time(given: str, read: int | str) -> None:
    budget: Any = given
    assert TuneInputs(budget=budget).budget == read
