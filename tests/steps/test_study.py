"""A tuning study with Optuna's real SQLite storage."""

import math
from pathlib import Path
from typing import Any

import pytest

from diffrec_core.common.errors import (
    ArtifactError,
    ConfigError,
    DataError,
    DiffRecError,
    NotEnoughMemoryError,
    StorageError,
)
from diffrec_core.common.search_space import Choice, Dimension, Real, Trial, Whole
from pipeline_steps.studies import study as studies
from pipeline_steps.studies.study import Budget, OnValidation, Study, best_trial

SPACE = (
    Dimension("kind", Choice(("flat", "bent"))),
    Dimension("x", Real(0.01, 100.0, log=True)),
    Dimension("depth", Whole(1, 4), ("kind", ("bent",))),
    Dimension("widths", Choice(((4,), (8, 16)))),
)
START: dict[str, Any] = {"kind": "flat", "x": 50.0, "depth": 2, "widths": [4], "other": True}


def study(folder: Path, name: str = "a", seed: int = 3, **start: Any) -> Study:
    return Study(folder / "studies.db", name, SPACE, {**START, **start}, seed)


def objective(section: dict[str, Any], validated: OnValidation) -> float:
    assert section["other"] is True
    bonus = 0.2 * section["depth"] if section["kind"] == "bent" else 0.0
    return bonus - abs(math.log10(section["x"])) + 0.01 * len(section["widths"])


def ignore(trial: Trial) -> None:
    pass


def test_the_first_trial_is_the_present_settings_and_later_ones_are_better(tmp_path: Path) -> None:
    trials = study(tmp_path).run(objective, Budget(25, None), ignore)
    assert [trial.number for trial in trials] == list(range(1, 26))
    assert trials[0].settings == {"kind": "flat", "x": 50.0, "widths": [4]}
    assert trials[0].value == pytest.approx(objective(START, lambda *_: None))
    best = best_trial(trials)
    assert best.value == max(trial.value or -9 for trial in trials)
    assert best.value > -0.3 > (trials[0].value or 0)


def test_settings_that_do_not_count_are_not_among_the_trials(tmp_path: Path) -> None:
    trials = study(tmp_path).run(objective, Budget(15, None), ignore)
    assert {("depth" in t.settings) == (t.settings["kind"] == "bent") for t in trials} == {True}
    assert {t.settings["kind"] for t in trials} == {"flat", "bent"}


def test_present_settings_may_lie_outside_the_usual_range(tmp_path: Path) -> None:
    trials = study(tmp_path, x=1e4, widths=[7]).run(objective, Budget(8, None), ignore)
    assert trials[0].settings == {"kind": "flat", "x": 1e4, "widths": [7]}


def test_what_is_switched_off_stays_off(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", logger="pipeline")
    off = study(tmp_path, x=0.0)
    trials = off.run(lambda s, _: -float(s["x"]) + s["depth"], Budget(6, None), ignore)
    assert all("x" not in trial.settings and (trial.value or 0) >= 1 for trial in trials)
    assert "x = 0.0 is not tuned: it is switched off" in caplog.text


class Killed(BaseException):
    """What nobody catches."""


@pytest.mark.parametrize("ended", [0, 1, 7])
def test_a_killed_study_goes_on_as_if_it_had_not_been(tmp_path: Path, ended: int) -> None:
    whole = study(tmp_path, "whole").run(objective, Budget(12, None), ignore)
    calls = 0

    def dies(section: dict[str, Any], validated: OnValidation) -> float:
        nonlocal calls
        calls += 1
        if calls > ended:
            raise Killed
        return objective(section, validated)

    with pytest.raises(Killed):
        study(tmp_path, "killed").run(dies, Budget(12, None), ignore)
    resumed = study(tmp_path, "killed")
    assert len(resumed.trials) == ended
    again = resumed.run(objective, Budget(12, None), ignore)
    assert [(t.settings, t.value) for t in again] == [(t.settings, t.value) for t in whole]


def test_a_spent_budget_is_not_spent_again(tmp_path: Path) -> None:
    study(tmp_path).run(objective, Budget(4, None), ignore)
    seen: list[Trial] = []
    assert len(study(tmp_path).run(objective, Budget(4, None), seen.append)) == 4
    assert seen == []
    assert len(study(tmp_path, "b").run(objective, Budget(None, 1e-9), ignore)) == 1


def test_trials_that_stay_behind_are_pruned(tmp_path: Path) -> None:
    def slow(section: dict[str, Any], validated: OnValidation) -> float:
        level = objective(section, validated)
        for epoch in range(5, 55, 5):
            validated(epoch, level)
        return level

    trials = study(tmp_path).run(slow, Budget(25, None), ignore)
    pruned = [t for t in trials if t.state == "pruned"]
    assert pruned
    middle = sorted(t.value or 0 for t in trials)[len(trials) // 2]
    assert all(t.last_validation is not None and t.last_validation <= middle + 1.0 for t in pruned)
    assert best_trial(trials).state == "complete"


def test_a_validation_is_never_taken_for_the_objective(tmp_path: Path) -> None:
    def other_metric(section: dict[str, Any], validated: OnValidation) -> float:
        level = objective(section, validated)
        for epoch in (5, 15, 25):
            validated(epoch, 100 + level + epoch)
        return level

    trials = study(tmp_path).run(other_metric, Budget(15, None), ignore)
    assert {trial.state for trial in trials} == {"complete", "pruned"}
    for trial in trials:
        assert (trial.value is None) == (trial.state == "pruned")
        assert trial.value is None or trial.value < 10
        assert trial.last_validation is not None
        assert trial.last_validation > 90


class Clock:
    """A time that passes when told to, in place of the study's own."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 0.0
        monkeypatch.setattr(studies, "time", self)

    def monotonic(self) -> float:
        return self.now


def test_when_the_time_is_up_the_trial_under_way_ends_at_its_next_validation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, epochs = Clock(monkeypatch), []

    def slow(section: dict[str, Any], validated: OnValidation) -> float:
        epochs.append(0)
        for epoch in range(1, 6):
            clock.now += 4000.0
            epochs[-1] = epoch
            validated(epoch, 1.0)
        return 1.0

    trials = study(tmp_path).run(slow, Budget(2, 10_000.0), ignore)
    assert [trial.state for trial in trials] == ["complete", "pruned"]
    assert epochs == [5, 3], "the first result is waited for"


def test_the_time_of_an_interrupted_trial_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock(monkeypatch)

    def dies(section: dict[str, Any], validated: OnValidation) -> float:
        clock.now += 10_000.0
        validated(1, 1.0)
        raise Killed

    budget = Budget(3, 10_000.0)
    with pytest.raises(Killed):
        study(tmp_path).run(dies, budget, ignore)
    assert len(study(tmp_path).run(objective, budget, ignore)) == 1
    assert len(study(tmp_path, "new").run(objective, budget, ignore)) == 3


def test_failures_are_kept_and_only_a_total_one_is_raised(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def picky(section: dict[str, Any], validated: OnValidation) -> float:
        if section["kind"] == "bent":
            raise DataError("it may not be bent")
        return objective(section, validated)

    trials = study(tmp_path).run(picky, Budget(12, None), ignore)
    assert {t.state for t in trials} == {"complete", "failed"}
    assert all((t.value is None) == (t.settings["kind"] == "bent") for t in trials)
    assert "trial" in caplog.text
    assert "it may not be bent" in caplog.text

    def never(section: dict[str, Any], validated: OnValidation) -> float:
        raise DataError("there is nothing")

    with pytest.raises(
        DataError, match=r"no trial of 3 succeeded.* there is nothing\. .*remove .*db"
    ):
        study(tmp_path, "b").run(never, Budget(3, None), ignore)


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (DataError("why"), DataError),
        (ConfigError("why"), ConfigError),
        (ArtifactError("why"), ArtifactError),
        (StorageError("why"), StorageError),
        (NotEnoughMemoryError("why"), NotEnoughMemoryError),
        (DiffRecError("why"), DiffRecError),
    ],
)
def test_a_failure_is_told_again_by_a_rerun(
    error: DiffRecError, told: type[DiffRecError], tmp_path: Path
) -> None:
    def never(section: dict[str, Any], validated: OnValidation) -> float:
        raise error

    seen: list[Trial] = []
    messages = []
    for _ in range(2):
        with pytest.raises(told, match="why") as caught:
            study(tmp_path).run(never, Budget(3, None), seen.append)
        assert caught.value.exit_code == error.exit_code
        messages.append(str(caught.value))
    assert messages[0] == messages[1]
    assert len(seen) == 3


def test_a_study_in_which_nothing_succeeds_gives_up_before_its_time(tmp_path: Path) -> None:
    def never(section: dict[str, Any], validated: OnValidation) -> float:
        raise DataError("there is nothing")

    with pytest.raises(DataError, match="no trial of 10 succeeded"):
        study(tmp_path).run(never, Budget(None, 3600.0), ignore)


def test_importance_names_what_matters(tmp_path: Path) -> None:
    searched = study(tmp_path)
    searched.run(objective, Budget(4, None), ignore)
    assert searched.importances == {}
    searched.run(lambda s, _: -abs(math.log10(s["x"])), Budget(60, None), ignore)
    assert next(iter(searched.importances)) == "x"


def test_importance_does_not_warn_of_what_one_trial_had(tmp_path: Path) -> None:
    kinds, of_d = Choice(tuple("abcdefgh")), ("kind", ("d",))
    space = (Dimension("kind", kinds), Dimension("size", Real(0.0, 1.0), of_d))
    searched = Study(tmp_path / "s.db", "kinds", space, {"kind": "b", "size": 0.5}, 0)
    searched.run(lambda section, _: float(ord(section["kind"])), Budget(9, None), ignore)
    assert [trial.settings["kind"] for trial in searched.trials].count("d") == 1
    assert "kind" in searched.importances  # a warning would be an error here


def test_without_dimensions_there_is_one_trial(tmp_path: Path) -> None:
    only = Study(tmp_path / "s.db", "popularity", (), {"a": 1}, 0)
    (trial,) = only.run(lambda section, _: float(section["a"]), Budget(20, None), ignore)
    assert (trial.settings, trial.value, trial.state) == ({}, 1.0, "complete")
