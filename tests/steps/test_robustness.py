"""Fits on noisy data: with whose settings, on which noise, and what is refused before the first."""

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ruamel.yaml import YAML

from diffrec_core.common.errors import ConfigError
from diffrec_core.data.histories import Histories
from diffrec_core.evaluation.evaluator import EvaluationConfig
from diffrec_core.evaluation.ranking import RankingTask, Score
from pipeline_steps.params.root import Params
from pipeline_steps.studies import robustness
from tests.integration.small_steps import SECTIONS, prepare_parts
from tests.raw_logs import REPOSITORY

EASE = {"kind": "ease", "l2": 500.0}


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return prepare_parts(tmp_path_factory.mktemp("parts"))


def make_params(**sections: Any) -> Params:
    """For EASE alone, without noise unless `robustness` says otherwise."""
    whole = YAML(typ="safe").load(REPOSITORY / "params.yaml")
    off = {"models": ["ease"], "random_shares": [], "natural": False, "seeds": 1}
    noise = {**off, **sections.pop("robustness", {})}
    small = {key: SECTIONS[key] for key in ("build_interactions", "runtime")}
    own = {"train": {**whole["train"], "ease": EASE}, "robustness": noise}
    return Params.parse_all({**whole, **small, **own, **sections})


def make_inputs(parts: Path, folder: Path) -> robustness.RobustnessInputs:
    names = ("events", "interactions", "train", "validation", "test")
    paths = {name: parts / name for name in names}
    return robustness.RobustnessInputs(**paths, out=folder / "out", finished=folder / "rows.json")


def measured(parts: Path, folder: Path, params: Params) -> list[dict[str, str]]:
    """The rows that the command writes."""
    inputs = make_inputs(parts, folder)
    robustness.run(inputs, params)
    with (inputs.out / "rows.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_models_are_retrained_with_the_settings_of_train(parts: Path, tmp_path: Path) -> None:
    plain = measured(parts, tmp_path / "plain", make_params())
    train = make_params().train
    recency = {"kind": "exponential_position", "half_life": 0.5}
    other = {"kind": "ease", "l2": 0.01, "recency": recency}
    sections = {name: config.model_dump(mode="json") for name, config in train.items()}
    changed = measured(parts, tmp_path / "changed", make_params(train={**sections, "ease": other}))
    assert plain != changed


def pairs_of(histories: Histories) -> set[tuple[int, int]]:
    return set(zip(histories.rows.tolist(), histories.items.tolist(), strict=True))


def test_what_was_rated_low_is_masked_for_all_alike(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bound = {"build_interactions": {"min_value": 5.0, "min_user_interactions": 3}}
    parts = prepare_parts(tmp_path, **bound)
    asked: list[RankingTask] = []
    measure = robustness.evaluate_task

    def noting(score: Score, task: RankingTask, config: EvaluationConfig) -> Any:
        asked.append(task)
        return measure(score, task, config)

    monkeypatch.setattr(robustness, "evaluate_task", noting)
    noises = {"natural": True, "random_shares": [0.5]}
    rows = measured(parts, tmp_path, make_params(robustness=noises, **bound))
    assert [row["noise"] for row in rows] == ["none", "random", "natural"]
    clean, _, natural = asked
    low = pairs_of(natural.histories) - pairs_of(clean.histories)
    assert low
    for task in asked:
        assert task.excluded is not None
        assert low <= pairs_of(task.excluded)
        assert not pairs_of(task.excluded) & pairs_of(task.targets)


def test_no_random_pair_is_in_both_parts(parts: Path, tmp_path: Path) -> None:
    # noise enough for the parts to meet by chance
    params = make_params(robustness={"random_shares": [1.5]})
    study = robustness.NoiseStudy(params, make_inputs(parts, tmp_path))
    clean, noisy = study.noises(0)
    assert len(noisy.train.items) == pytest.approx(2.5 * len(clean.train.items), abs=1)
    assert len(noisy.validation.items) == pytest.approx(2.5 * len(clean.validation.items), abs=1)
    assert not pairs_of(noisy.train) & pairs_of(noisy.validation)
    assert not (pairs_of(noisy.train) | pairs_of(noisy.validation)) & pairs_of(study.test)
    assert np.isin(clean.train.timestamps, noisy.train.timestamps).all()


def test_natural_noise_that_cannot_be_is_told_before_the_first_fit(
    parts: Path, tmp_path: Path
) -> None:
    noise = {"natural": True, "random_shares": [0.1]}
    params = make_params(robustness=noise, build_interactions={"min_value": None})
    with pytest.raises(ConfigError, match=r"min_value leaves out, but that is null"):
        robustness.run(make_inputs(parts, tmp_path), params)
    assert not (tmp_path / "rows.json").exists()
