"""A tuning study with Optuna's real SQLite storage."""

import math
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event
from sqlalchemy.pool import Pool

from diffrec_core.common.errors import (
    ArtifactError,
    ConfigError,
    DataError,
    DiffRecError,
    NotEnoughMemoryError,
    StorageError,
)
from diffrec_core.common.trial import Trial as Suggesting
from pipeline_steps.params.overlay import nested
from pipeline_steps.params.presets import merged
from pipeline_steps.params.steps import TuneConfig
from pipeline_steps.studies import study as studies
from pipeline_steps.studies.study import OnValidation, Study, Trial, best_trial

START: dict[str, Any] = {"kind": "flat", "x": 50.0, "depth": 2, "widths": [4], "other": True}


def suggest(trial: Suggesting) -> dict[str, Any]:
    kind = trial.suggest_categorical("kind", ("flat", "bent"))
    bent = {"depth": trial.suggest_int("depth", 1, 4)} if kind == "bent" else {}
    return {
        "kind": kind,
        "x": trial.suggest_float("x", 0.01, 100.0, log=True),
        **bent,
        "widths": trial.suggest_categorical("widths", ((4,), (8, 16))),
    }


def study(folder: Path, name: str = "a", seed: int = 3, **start: Any) -> Study:
    return Study(folder / "studies.db", name, suggest, {**START, **start}, seed)


def budget(trials: int) -> TuneConfig:
    return TuneConfig(budget=trials)


def objective(settings: dict[str, Any], validated: OnValidation) -> float:
    section = merged(START, nested(settings))
    bonus = 0.2 * section["depth"] if section["kind"] == "bent" else 0.0
    return bonus - abs(math.log10(section["x"])) + 0.01 * len(section["widths"])


def ignore(trial: Trial) -> None:
    pass


def test_the_first_trial_is_the_present_settings_and_later_ones_are_better(tmp_path: Path) -> None:
    trials = study(tmp_path).run(objective, budget(25), ignore)
    assert [trial.number for trial in trials] == list(range(1, 26))
    assert trials[0].settings == {"kind": "flat", "x": 50.0, "widths": [4]}
    assert trials[0].value == pytest.approx(objective(START, lambda *_: None))
    best = best_trial(trials)
    assert best is not None
    assert best.value is not None
    assert best.value == max(trial.value or -9 for trial in trials)
    assert best.value > -0.3 > (trials[0].value or 0)


def test_every_connection_to_the_file_is_closed(tmp_path: Path) -> None:
    """From Python 3.13 on, an SQLite connection that is left open is a ResourceWarning."""
    changes: list[int] = []
    listeners = [
        ("connect", lambda *_: changes.append(1)),
        ("close", lambda *_: changes.append(-1)),
    ]
    for name, listener in listeners:
        event.listen(Pool, name, listener)
    try:
        searched = study(tmp_path)
        searched.run(objective, budget(7), ignore)
        assert searched.importances
    finally:
        for name, listener in listeners:
            event.remove(Pool, name, listener)
    assert changes.count(1) > 7
    assert sum(changes) == 0


def test_settings_that_do_not_count_are_not_among_the_trials(tmp_path: Path) -> None:
    trials = study(tmp_path).run(objective, budget(15), ignore)
    assert {("depth" in t.settings) == (t.settings["kind"] == "bent") for t in trials} == {True}
    assert {t.settings["kind"] for t in trials} == {"flat", "bent"}


def test_present_settings_may_lie_outside_the_usual_range(tmp_path: Path) -> None:
    trials = study(tmp_path, x=1e4, widths=[7]).run(objective, budget(8), ignore)
    assert trials[0].settings == {"kind": "flat", "x": 1e4, "widths": [7]}


def test_what_is_switched_off_stays_off(tmp_path: Path) -> None:
    trials = study(tmp_path, x=0.0).run(lambda s, _: float(s.get("depth", 0)), budget(6), ignore)
    assert {trial.settings["x"] for trial in trials} == {0.0}


def test_lists_are_settings_too(tmp_path: Path) -> None:
    trials = study(tmp_path).run(objective, budget(12), ignore)
    assert {tuple(trial.settings["widths"]) for trial in trials} == {(4,), (8, 16)}


class Killed(BaseException):
    """What nobody catches."""


@pytest.mark.parametrize("ended", [0, 1, 7])
def test_a_killed_study_goes_on_as_if_it_had_not_been(tmp_path: Path, ended: int) -> None:
    whole = study(tmp_path, "whole").run(objective, budget(12), ignore)
    calls = 0

    def dies(section: dict[str, Any], validated: OnValidation) -> float:
        nonlocal calls
        calls += 1
        if calls > ended:
            raise Killed
        return objective(section, validated)

    with pytest.raises(Killed):
        study(tmp_path, "killed").run(dies, budget(12), ignore)
    resumed = study(tmp_path, "killed")
    assert len(resumed.trials) == ended
    again = resumed.run(objective, budget(12), ignore)
    assert [(t.settings, t.value) for t in again] == [(t.settings, t.value) for t in whole]


def test_a_spent_budget_is_not_spent_again(tmp_path: Path) -> None:
    study(tmp_path).run(objective, budget(4), ignore)
    seen: list[Trial] = []
    assert len(study(tmp_path).run(objective, budget(4), seen.append)) == 4
    assert seen == []


def test_trials_that_stay_behind_are_pruned(tmp_path: Path) -> None:
    def slow(section: dict[str, Any], validated: OnValidation) -> float:
        level = objective(section, validated)
        for epoch in range(5, 55, 5):
            validated(epoch, level)
        return level

    trials = study(tmp_path).run(slow, budget(25), ignore)
    pruned = [t for t in trials if t.state == "pruned"]
    assert pruned
    middle = sorted(t.value or 0 for t in trials)[len(trials) // 2]
    assert all(t.last_validation is not None and t.last_validation <= middle + 1.0 for t in pruned)
    best = best_trial(trials)
    assert best is not None
    assert best.state == "complete"


def test_a_validation_is_never_taken_for_the_objective(tmp_path: Path) -> None:
    def other_metric(section: dict[str, Any], validated: OnValidation) -> float:
        level = objective(section, validated)
        for epoch in (5, 15, 25):
            validated(epoch, 100 + level + epoch)
        return level

    trials = study(tmp_path).run(other_metric, budget(15), ignore)
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

    trials = study(tmp_path).run(slow, TuneConfig(budget="30000s"), ignore)
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

    time = TuneConfig(budget="10000s")
    with pytest.raises(Killed):
        study(tmp_path).run(dies, time, ignore)
    assert len(study(tmp_path).run(objective, time, ignore)) == 1


def test_failures_are_kept_and_only_a_total_one_is_raised(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def picky(section: dict[str, Any], validated: OnValidation) -> float:
        if section["kind"] == "bent":
            raise DataError("it may not be bent")
        return objective(section, validated)

    trials = study(tmp_path).run(picky, budget(12), ignore)
    assert {t.state for t in trials} == {"complete", "failed"}
    assert all((t.value is None) == (t.settings["kind"] == "bent") for t in trials)
    assert "trial" in caplog.text
    assert "it may not be bent" in caplog.text

    def never(section: dict[str, Any], validated: OnValidation) -> float:
        raise DataError("there is nothing")

    with pytest.raises(
        DataError, match=r"no trial of 3 succeeded.* there is nothing\. .*remove .*db"
    ):
        study(tmp_path, "b").run(never, budget(3), ignore)


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
            study(tmp_path).run(never, budget(3), seen.append)
        assert caught.value.exit_code == error.exit_code
        messages.append(str(caught.value))
    assert messages[0] == messages[1]
    assert len(seen) == 3


def test_a_study_in_which_nothing_succeeds_gives_up_before_its_time(tmp_path: Path) -> None:
    def never(section: dict[str, Any], validated: OnValidation) -> float:
        raise DataError("there is nothing")

    with pytest.raises(DataError, match="no trial of 10 succeeded"):
        study(tmp_path).run(never, TuneConfig(budget="1h"), ignore)


def test_importance_names_what_matters(tmp_path: Path) -> None:
    searched = study(tmp_path)
    searched.run(objective, budget(4), ignore)
    assert searched.importances == {}
    searched.run(lambda s, _: -abs(math.log10(s["x"])), budget(60), ignore)
    assert next(iter(searched.importances)) == "x"


def test_of_importance_no_warning_is_shown(tmp_path: Path) -> None:
    def kinds(trial: Suggesting) -> dict[str, Any]:
        kind = trial.suggest_categorical("kind", tuple("abcdefgh"))
        return {"kind": kind} | (
            {"size": trial.suggest_float("size", 0.0, 1.0)} if kind == "d" else {}
        )

    searched = Study(tmp_path / "s.db", "kinds", kinds, {"kind": "b", "size": 0.5}, 0)
    searched.run(lambda section, _: float(ord(section["kind"])), budget(9), ignore)
    assert "kind" in searched.importances  # a warning would be an error here
