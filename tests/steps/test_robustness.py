"""Fits on noisy data: with whose settings, on which noise, and what is refused before the first."""

import argparse
import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from diffrec_core.common.errors import ConfigError
from diffrec_core.data.histories import Histories
from diffrec_core.evaluation.evaluator import EvaluationConfig
from diffrec_core.evaluation.ranking import RankingTask, Score
from pipeline_steps.runtime.command import Step
from pipeline_steps.studies import noise_study, robustness
from pipeline_steps.studies.noise_study import _Fits
from pipeline_steps.studies.robustness import RobustnessConfig
from tests.integration.small_steps import SECTIONS, prepare_parts

EASE = {"kind": "ease", "l2": 500.0}
TUNED = {"l2": 0.01, "recency.kind": "exponential_position", "recency.half_life": 0.5}


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return prepare_parts(tmp_path_factory.mktemp("parts"))


def make_step(parts: Path, folder: Path, *, tuned: Path | None = None, **sections: Any) -> Step:
    """The step, for EASE alone, without noise unless `robustness` says otherwise."""
    parser = argparse.ArgumentParser()
    robustness.add_arguments(parser)
    names = ("events", "interactions", "train", "validation", "test")
    paths = [f"--{name}={parts / name}" for name in names]
    outputs = [f"--out={folder / 'out'}", f"--kept={folder / 'kept.json'}"]
    args = parser.parse_args([*paths, *outputs, *([f"--tuned={tuned}"] if tuned else [])])
    args.quiet = True
    off = {"models": ["ease"], "random_shares": [], "natural": False, "seeds": 1}
    own = {"seed": 7, "train": {"ease": EASE}, "models": {"ease": {}}}
    noise = {**off, **sections.pop("robustness", {})}
    return Step(args, {**SECTIONS, **own, "robustness": noise, **sections})


def measured(step: Step) -> list[dict[str, str]]:
    """The rows that the step writes."""
    robustness.run(step)
    with (step.args.out / "rows.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_models_are_retrained_with_the_settings_that_train_uses(
    parts: Path, tmp_path: Path
) -> None:
    plain = measured(make_step(parts, tmp_path / "plain"))
    tuned = tmp_path / "tuned"
    tuned.mkdir()
    (tuned / "ease.json").write_text(json.dumps({"model": "ease", "settings": TUNED}))
    found = measured(make_step(parts, tmp_path / "tuned", tuned=tuned))
    recency = {"kind": "exponential_position", "half_life": 0.5}
    section = {"kind": "ease", "l2": 0.01, "recency": recency}
    expected = measured(make_step(parts, tmp_path / "same", train={"ease": section}))
    assert found == expected
    assert found != plain


def pairs_of(histories: Histories) -> set[tuple[int, int]]:
    return set(zip(histories.rows.tolist(), histories.items.tolist(), strict=True))


def test_what_was_rated_low_is_masked_for_all_alike(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bound = {"build_interactions": {"min_value": 5.0, "min_user_interactions": 3}}
    parts = prepare_parts(tmp_path, **bound)
    asked: list[RankingTask] = []
    measure = noise_study.evaluate_task

    def noting(score: Score, task: RankingTask, config: EvaluationConfig) -> Any:
        asked.append(task)
        return measure(score, task, config)

    monkeypatch.setattr(noise_study, "evaluate_task", noting)
    noises = {"natural": True, "random_shares": [0.5]}
    step = make_step(parts, tmp_path, robustness=noises, **bound)
    assert [row["noise"] for row in measured(step)] == ["none", "random", "natural"]
    clean, _, natural = asked
    low = pairs_of(natural.histories) - pairs_of(clean.histories)
    assert low
    for task in asked:
        assert task.excluded is not None
        assert low <= pairs_of(task.excluded)
        assert not pairs_of(task.excluded) & pairs_of(task.targets)


def test_no_random_pair_is_in_both_parts(parts: Path, tmp_path: Path) -> None:
    # noise enough for the parts to meet by chance
    step = make_step(parts, tmp_path, robustness={"random_shares": [1.5]})
    fits = _Fits(step, step.section("robustness", RobustnessConfig))
    clean, noisy = fits._noises(0)
    assert len(noisy.train.items) == pytest.approx(2.5 * len(clean.train.items), abs=1)
    assert len(noisy.validation.items) == pytest.approx(2.5 * len(clean.validation.items), abs=1)
    assert not pairs_of(noisy.train) & pairs_of(noisy.validation)
    assert not (pairs_of(noisy.train) | pairs_of(noisy.validation)) & pairs_of(fits.test)
    assert np.isin(clean.train.timestamps, noisy.train.timestamps).all()


def test_natural_noise_that_cannot_be_is_told_before_the_first_fit(
    parts: Path, tmp_path: Path
) -> None:
    noise = {"natural": True, "random_shares": [0.1]}
    step = make_step(parts, tmp_path, robustness=noise, build_interactions={"min_value": None})
    with pytest.raises(ConfigError, match=r"min_value leaves out, but that is null"):
        robustness.run(step)
    assert not step.args.kept.exists()
