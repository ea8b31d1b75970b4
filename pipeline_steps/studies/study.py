"""A tuning study: the settings to try next, and the result of each trial.

A study is stored in an SQLite file and resumes after a kill: each trial's sampler is seeded by the
number of trials that ended before it, so that a resumed study proposes what an uninterrupted one
would. A trial is pruned when its validations stay below the median of others', or when the time is
up.
"""

import json
import logging
import math
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import optuna
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.pool import NullPool

from diffrec_core.common.errors import (
    ArtifactError,
    ConfigError,
    DataError,
    DiffRecError,
    NotEnoughMemoryError,
    StorageError,
)
from diffrec_core.common.rng import derive_seed
from diffrec_core.common.trial import Trial as Suggesting
from pipeline_steps.params.steps import TuneConfig

log = logging.getLogger("pipeline")
optuna.logging.set_verbosity(optuna.logging.WARNING)

Settings = dict[str, Any]
"""Values by dotted key of the model's section."""
OnValidation = Callable[[int, float], None]
Objective = Callable[[Settings, OnValidation], float]
"""Given settings, and a function to call with each validation: the value to maximise."""

_RANDOM_TRIALS = 5
"""Trials before the sampler and the pruner have seen enough to judge by."""
_WARM_UP_EPOCHS = 10
_FAILURES_IN_A_ROW: Final = 10
"""If so many trials failed and none succeeded, others would fail too."""
_NAMES = {TrialState.COMPLETE: "complete", TrialState.PRUNED: "pruned", TrialState.FAIL: "failed"}
_SETTINGS, _ERROR, _EXIT_CODE, _SECONDS = "settings", "error", "exit_code", "seconds"
_ERRORS = (ConfigError, DataError, ArtifactError, StorageError, NotEnoughMemoryError)


@dataclass(frozen=True, slots=True)
class Trial:
    """A trial that has ended.

    Attributes:
        number: 1-based, without interrupted trials.
        settings: by dotted key.
        state: `complete`, `pruned` or `failed`.
        value: the objective; None unless it is complete.
        seconds: it took.
        last_validation: the last value of the metric that early stopping watches, which may differ
            from the objective; None if the model is not trained in epochs.
    """

    number: int
    settings: Mapping[str, Any]
    state: str
    value: float | None
    seconds: float
    last_validation: float | None = None


class Study:
    """A study of one model.

    Args:
        path: the SQLite file.
        name: what the study is a function of; another name starts another study in the file.
        suggest: the settings of a trial; those of `start` are the first trial.
        start: the present settings, every key present.
        seed: of the sampler.
    """

    def __init__(
        self,
        path: Path,
        name: str,
        suggest: Callable[[Suggesting], Settings],
        start: Mapping[str, Any],
        seed: int,
    ) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path, self._suggest, self._start, self._seed = path, suggest, start, seed
        storage = optuna.storages.RDBStorage(
            f"sqlite:///{path}", engine_kwargs={"poolclass": NullPool}
        )
        self.optuna = optuna.create_study(
            storage=storage,
            study_name=name,
            direction="maximize",
            load_if_exists=True,
            pruner=optuna.pruners.MedianPruner(
                n_startup_trials=_RANDOM_TRIALS, n_warmup_steps=_WARM_UP_EPOCHS
            ),
        )
        for trial in self.optuna.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            self.optuna.tell(trial.number, state=TrialState.FAIL)  # a kill interrupted it
        waiting = self.optuna.get_trials(deepcopy=False, states=(TrialState.WAITING,))
        if not self._ended() and not waiting:
            present = _Widened(start)
            suggest(present)
            self.optuna.enqueue_trial(present.fixed)

    def run(
        self, objective: Objective, budget: TuneConfig, on_trial: Callable[[Trial], None]
    ) -> list[Trial]:
        """Try settings until the budget is spent; return all trials, the earlier ones too.

        Raises:
            DiffRecError: no trial succeeded, now or before; the error of the last one.
        """
        while not self._is_over(budget):
            self._try(objective, budget)
            on_trial(self.trials[-1])
        if best_trial(self.trials) is None:
            raise self._failure()
        return self.trials

    @property
    def trials(self) -> list[Trial]:
        """Those that have ended, in the order in which they began."""
        return [_ended_trial(number, frozen) for number, frozen in enumerate(self._ended(), 1)]

    @property
    def importances(self) -> dict[str, float]:
        """Importance of each setting, largest first (PED-ANOVA); empty with too few trials."""
        values = {t.value for t in self._ended() if t.state == TrialState.COMPLETE}
        if len(values) <= _RANDOM_TRIALS:
            return {}
        with warnings.catch_warnings(action="ignore", category=UserWarning):  # of rough estimates
            return dict(optuna.importance.get_param_importances(self.optuna))

    def _is_over(self, budget: TuneConfig) -> bool:
        ended = len(self._ended())
        if ended == 0:
            return False
        if best_trial(self.trials) is None and ended >= _FAILURES_IN_A_ROW:
            return True
        over_trials = budget.trials is not None and ended >= budget.trials
        return over_trials or (budget.seconds is not None and self._seconds() >= budget.seconds)

    def _ended(self) -> list[FrozenTrial]:
        """All but interrupted trials, which count as never started."""
        done = (TrialState.COMPLETE, TrialState.PRUNED)
        every = self.optuna.get_trials(deepcopy=False)
        return [trial for trial in every if trial.state in done or _ERROR in trial.user_attrs]

    def _seconds(self) -> float:
        """Time spent in trials; in interrupted ones up to their last validation."""
        every = self.optuna.get_trials(deepcopy=False)
        return sum(float(trial.user_attrs.get(_SECONDS, 0.0)) for trial in every)

    def _failure(self) -> DiffRecError:
        """The last trial's error, of its class, from the file."""
        last = self._ended()[-1].user_attrs
        kind = next((k for k in _ERRORS if k.exit_code == last[_EXIT_CODE]), DiffRecError)
        return kind(
            f"no trial of {len(self._ended())} succeeded. The last one: {last[_ERROR]}. "
            f"Other settings or data make another study; to try these again, remove {self.path}, "
            f"which holds the trials of all models"
        )

    def _try(self, objective: Objective, budget: TuneConfig) -> None:
        """Run one trial; an error is stored as text, without all that it had allocated."""
        number = len(self._ended())
        seed = derive_seed(self._seed, "tune", number) % 2**32
        self.optuna.sampler = optuna.samplers.TPESampler(seed=seed, n_startup_trials=_RANDOM_TRIALS)
        left = math.inf  # the first result is waited for
        if budget.seconds is not None and best_trial(self.trials) is not None:
            left = budget.seconds - self._seconds()
        trial, began = self.optuna.ask(), time.monotonic()
        try:
            settings = self._suggest(_Widened(self._start, trial))
            trial.set_user_attr(_SETTINGS, json.dumps(settings))
            value = objective(settings, _pruning(trial, left))
        except optuna.TrialPruned:
            state: dict[str, Any] = {"state": TrialState.PRUNED}
        except DiffRecError as error:
            log.warning("trial %d failed: %s", number + 1, error)
            trial.set_user_attr(_EXIT_CODE, error.exit_code)
            trial.set_user_attr(_ERROR, str(error))
            state = {"state": TrialState.FAIL}
        else:
            state = {"values": value}
        trial.set_user_attr(_SECONDS, time.monotonic() - began)
        self.optuna.tell(trial, **state)


class _Widened:
    """Suggestions from ranges that are widened to include the present settings.

    A setting on a logarithmic scale that is 0, switched off, stays 0.

    Args:
        start: the present settings.
        trial: of Optuna; None: suggest the present settings, and note them in `fixed`.
    """

    def __init__(self, start: Mapping[str, Any], trial: optuna.Trial | None = None) -> None:
        self._start, self._trial = start, trial
        self.fixed: dict[str, Any] = {}

    def suggest_float(self, name: str, low: float, high: float, *, log: bool = False) -> float:
        """As Optuna's."""
        now = float(self._now(name))
        if self._trial is None or (log and now <= 0):
            return float(self._note(name, now))
        return self._trial.suggest_float(name, min(low, now), max(high, now), log=log)

    def suggest_int(self, name: str, low: int, high: int, *, log: bool = False) -> int:
        """As Optuna's."""
        now = int(self._now(name))
        if self._trial is None or (log and now <= 0):
            return int(self._note(name, now))
        return self._trial.suggest_int(name, min(low, now), max(high, now), log=log)

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        """As Optuna's, but of any values that JSON can write: a study stores their texts."""
        now = json.dumps(self._now(name))
        if self._trial is None:
            return json.loads(self._note(name, now))
        texts = dict.fromkeys([*map(json.dumps, choices), now])
        return json.loads(self._trial.suggest_categorical(name, list(texts)))

    def _now(self, name: str) -> Any:
        """The present value; a key with several ranges has a suffix after a blank."""
        value: Any = self._start
        for part in name.partition(" ")[0].split("."):
            value = value[part]
        return value

    def _note(self, name: str, value: Any) -> Any:
        self.fixed[name] = value
        return value


def _pruning(trial: optuna.Trial, seconds: float) -> OnValidation:
    """A function that prunes a trial that stays behind, or has taken more than so many seconds."""
    began = time.monotonic()

    def validated(epoch: int, value: float) -> None:
        taken = time.monotonic() - began
        trial.report(value, epoch)
        trial.set_user_attr(_SECONDS, taken)
        if taken >= seconds or trial.should_prune():
            raise optuna.TrialPruned

    return validated


def best_trial(trials: Sequence[Trial]) -> Trial | None:
    """The complete trial of the largest value, of equal ones the first; None if there is none."""
    complete = [trial for trial in trials if trial.value is not None]
    return max(complete, key=lambda trial: trial.value or -math.inf, default=None)


def _ended_trial(number: int, frozen: FrozenTrial) -> Trial:
    complete, last = frozen.state == TrialState.COMPLETE, frozen.last_step
    return Trial(
        number=number,
        settings=json.loads(frozen.user_attrs.get(_SETTINGS, "{}")),
        state=_NAMES[frozen.state],
        value=frozen.value if complete else None,  # Optuna gives a pruned one its last validation
        seconds=float(frozen.user_attrs.get(_SECONDS, 0.0)),
        last_validation=None if last is None else frozen.intermediate_values[last],
    )
