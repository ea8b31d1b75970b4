"""Tuning on the paper's split, with a split of a few users in the same form."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from statistics import mean

import numpy as np
import pytest

from benchmarks.paper import Bench
from benchmarks.tune import Candidates, fixed_recency_kind
from diffrec_core.common.artifacts import read_json
from diffrec_core.models.kinds import create
from pipeline_steps.studies.study import Budget
from tests.benchmarks.conftest import Starter

PROJECT = Path(__file__).resolve().parents[2]
MakeBench = Callable[[], tuple[Bench, Starter]]


def candidates(make_bench: MakeBench, model: str, *seeds: str) -> Candidates:
    bench, _ = make_bench()
    fits = bench.plan([model], seeds, ("C",), embeddings=("ours",))
    return Candidates(bench, list({fit.seed: fit for fit in fits}.values()))


def test_missing_data_is_a_message_and_no_failure(tmp_path: Path) -> None:
    result = subprocess.run(
        [sys.executable, "-m", "benchmarks.tune", "--out", str(tmp_path / "out")],
        cwd=PROJECT,
        env={**os.environ, "DIFFREC_BENCH_DATA": str(tmp_path / "gone")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0
    assert "gone holds no split.npz" in result.stderr


def test_the_test_part_is_nowhere_in_what_settings_are_judged_by(
    make_bench: MakeBench, data: Path
) -> None:
    names = ("train", "test", "valid")
    with np.load(data / "split.npz") as arrays:
        parts = {name: arrays[name] for name in names}
    whole, later = candidates(make_bench, "ease", "1").tasks
    for user in whole.users:
        train, judged, test = (parts[name][parts[name][:, 0] == user, 1].tolist() for name in names)
        row = np.array([user])
        assert whole.histories.take(row).items.tolist() == train
        assert whole.targets.take(row).items.tolist() == judged
        half = [*later.histories.take(row).items, *later.targets.take(row).items]
        assert half == [*train, *judged]
        assert not set(test) & set(half)


def test_it_begins_with_our_settings_and_the_best_mean_over_seeds_wins(
    make_bench: MakeBench,
) -> None:
    tuning = candidates(make_bench, "ease", "1", "2")
    assert tuning.start["l2"] == 5.0  # of ml-1m-tuned
    trials = tuning.search(Budget(4, None))
    assert len(trials) == 4
    values = [trial.value for trial in trials if trial.value is not None]
    assert values == sorted(values, reverse=True)

    result = tuning.best(trials)
    kept = read_json(tuning.out)
    assert kept["values"] == result.values
    assert len(result.values) == 2
    assert mean(result.values) >= max(mean(result.before), max(values) - 1e-12)  # EASE has no seed
    assert result.trials == 4


def test_a_trial_is_not_fitted_again_with_its_own_seed(
    make_bench: MakeBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    tuning = candidates(make_bench, "ease", "1", "2")
    trials = tuning.search(Budget(3, None))
    seeds: list[int] = []
    monkeypatch.setattr(tuning, "_judge", lambda section, fit, _: seeds.append(fit.seed) or 0.5)
    result = tuning.best(trials)
    assert seeds == [2, 2, 2]  # the settings to begin with, and two other trials
    assert set(result.settings) <= {"l2"}
    assert result.before == [next(t.value for t in trials if t.number == 1), 0.5]


def test_finished_trials_and_fits_are_not_done_again(
    make_bench: MakeBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = candidates(make_bench, "ease", "1")
    result = first.best(first.search(Budget(3, None)))
    again = candidates(make_bench, "ease", "1")
    monkeypatch.setattr(again, "_judge", None)  # to call it would be an error
    assert again.best(again.search(Budget(3, None))) == result


def test_latent_models_have_their_categories(make_bench: MakeBench) -> None:
    tuning = candidates(make_bench, "l_diffrec", "1")
    assert tuning.best(tuning.search(Budget(1, None))).values


def test_models_keep_or_lack_recency() -> None:
    section = {"kind": "ease", "l2": 1.0}
    space = create(section, "ease").config.search_space()
    assert [d.key for d in fixed_recency_kind(space, section)] == ["l2"]
    with_recency = {**section, "recency": {"kind": "linear"}}
    kept = {d.key: d for d in fixed_recency_kind(space, with_recency)}
    assert set(kept) == {"recency.kind", "recency.weight_min", "recency.half_life", "l2"}
    assert kept["recency.kind"].values.labels == ('"linear"', '"exponential_position"')  # type: ignore[union-attr]
    assert kept["recency.half_life"].given == ("recency.kind", ("exponential_position",))
