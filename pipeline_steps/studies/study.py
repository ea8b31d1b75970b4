"""A tuning study: which settings are tried next, and what came of those before.

The only module that knows Optuna. A study lives in an SQLite file and is taken up again after a
kill: each trial's sampler is seeded by the number of trials that ended before it, so that an
interrupted study proposes what it would have proposed.

A trial is pruned when its validations stay behind the median of others', or when the time is up.
"""

import json
import logging
import math
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

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
from diffrec_core.common.search_space import (
    Choice,
    Dimension,
    Real,
    Space,
    Trial,
    Whole,
    get_value,
    with_value,
)

log = logging.getLogger("pipeline")
optuna.logging.set_verbosity(optuna.logging.WARNING)

Section = dict[str, Any]
OnValidation = Callable[[int, float], None]
Objective = Callable[[Section, OnValidation], float]
"""Given a model's section, and whom to tell of each validation: the value to maximise.

Validations need not be of what is maximised: trials are compared with each other's."""

_RANDOM_TRIALS = 5
"""Trials before the sampler and the pruner have seen enough to judge by."""
_WARM_UP_EPOCHS = 10
_HOPELESS_TRIALS = 10
"""If so many failed and none succeeded, others would fail too."""
_STATES = {
    TrialState.COMPLETE: "complete",
    TrialState.PRUNED: "pruned",
    TrialState.FAIL: "failed",
}
_ERROR, _EXIT_CODE, _SECONDS = "error", "exit_code", "seconds"
"""What is kept of a trial: why it failed, and the time at its last validation."""
_FAILURES = (ConfigError, DataError, ArtifactError, StorageError, NotEnoughMemoryError)


@dataclass(frozen=True, slots=True)
class Budget:
    """When a study ends: after so many trials or seconds, whichever comes first.

    Attributes:
        trials: that ended, the failed ones among them; None: no limit.
        seconds: spent in trials, over all interruptions; None: no limit. Once they are over and
            a trial is complete, the one under way ends at its next validation.
    """

    trials: int | None
    seconds: float | None

    def is_spent(self, trials: int, seconds: float) -> bool:
        """Whether no further trial may begin; the first one always may."""
        return trials > 0 and (
            (self.trials is not None and trials >= self.trials)
            or (self.seconds is not None and seconds >= self.seconds)
        )


@dataclass(slots=True)
class Study:
    """A study of one model.

    Args:
        path: the SQLite file.
        name: what the study is a function of; another name starts another study in the file.
        space: what is tuned.
        section: the settings to start from, every key present; the first trial.
        seed: of the sampler.
    """

    path: Path
    name: str
    space: Space
    section: Section
    seed: int
    _study: optuna.Study = field(init=False)
    _space: Space = field(init=False)

    def __post_init__(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        # without a pool, each connection is closed after its use: a study needs no closing
        storage = optuna.storages.RDBStorage(
            f"sqlite:///{self.path}", engine_kwargs={"poolclass": NullPool}
        )
        self._study = optuna.create_study(
            storage=storage,
            study_name=self.name,
            direction="maximize",
            load_if_exists=True,
            pruner=optuna.pruners.MedianPruner(
                n_startup_trials=_RANDOM_TRIALS, n_warmup_steps=_WARM_UP_EPOCHS
            ),
        )
        self._space = _widened(self.space, self.section)
        self._forget_interrupted()

    def run(
        self, objective: Objective, budget: Budget, on_trial: Callable[[Trial], None]
    ) -> list[Trial]:
        """Try settings until the budget is spent, and return all trials, the earlier ones too.

        Without dimensions there is one trial.

        Raises:
            DiffRecError: no trial succeeded, now or before; with what the last one said.
        """
        budget = budget if self.space else Budget(1, None)
        while not (budget.is_spent(len(self._ended()), self._seconds()) or self._is_hopeless()):
            self._try(objective, budget)
            on_trial(self.trials[-1])
        if not self._has_result():
            raise self._failure()
        return self.trials

    @property
    def trials(self) -> list[Trial]:
        """Those that have ended, in the order in which they began."""
        return [_trial(number, trial, self._space) for number, trial in enumerate(self._ended(), 1)]

    @property
    def importances(self) -> dict[str, float]:
        """Share of each dimension in what makes trials good (PED-ANOVA), largest first.

        Empty before there are enough complete trials to tell; rough for what few of them had, such
        as a setting that counts with one value of another alone.
        """
        complete = [t for t in self._ended() if t.state == TrialState.COMPLETE]
        values = {trial.value for trial in complete}
        if len(complete) <= _RANDOM_TRIALS or len(values) < 2 or not self.space:
            return {}
        with warnings.catch_warnings(action="ignore", category=UserWarning):  # of how rough it is
            shares = optuna.importance.get_param_importances(self._study)
        return {key: float(share) for key, share in shares.items()}

    def _ended(self) -> list[FrozenTrial]:
        every = self._study.get_trials(deepcopy=False)
        return [
            t
            for t in every
            if t.state in (TrialState.COMPLETE, TrialState.PRUNED) or _ERROR in t.user_attrs
        ]

    def _has_result(self) -> bool:
        return any(trial.state == TrialState.COMPLETE for trial in self._ended())

    def _is_hopeless(self) -> bool:
        return len(self._ended()) >= _HOPELESS_TRIALS and not self._has_result()

    def _seconds(self) -> float:
        """Spent in trials, of those that a kill interrupted up to their last validation."""
        every = self._study.get_trials(deepcopy=False)
        ended = {trial.number for trial in self._ended()}
        return sum(
            _duration(t) if t.number in ended else float(t.user_attrs.get(_SECONDS, 0.0))
            for t in every
        )

    def _failure(self) -> DiffRecError:
        """The last trial's error, as it was or as the file remembers it."""
        last = self._ended()[-1].user_attrs
        kind = next((k for k in _FAILURES if k.exit_code == last[_EXIT_CODE]), DiffRecError)
        return kind(
            f"no trial of {len(self._ended())} succeeded. The last one: {last[_ERROR]}. "
            f"Other settings or data make another study; to try these again, remove {self.path}, "
            f"which holds the trials of all models"
        )

    def _forget_interrupted(self) -> None:
        """Trials that a kill left under way count as never begun; the first is enqueued anew."""
        for trial in self._study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            self._study.tell(trial.number, state=TrialState.FAIL)
        waiting = self._study.get_trials(deepcopy=False, states=(TrialState.WAITING,))
        if not self._ended() and not waiting:
            start = {
                d.name: _stored(d, get_value(self.section, d.key))
                for d in self._space
                if d.counts(self.section)
            }
            self._study.enqueue_trial(start)

    def _try(self, objective: Objective, budget: Budget) -> None:
        """Run one trial; what it raised is kept as text, not with all that it had allocated."""
        number = len(self._ended())
        self._study.sampler = optuna.samplers.TPESampler(
            seed=derive_seed(self.seed, "tune", number) % 2**32,
            n_startup_trials=_RANDOM_TRIALS,
        )
        left = math.inf  # the first result is waited for
        if budget.seconds is not None and self._has_result():
            left = budget.seconds - self._seconds()
        trial = self._study.ask()
        try:
            section = _draw(trial, self._space, self.section)
            value = objective(section, _pruning(trial, left))
        except optuna.TrialPruned:
            self._study.tell(trial, state=TrialState.PRUNED)
        except DiffRecError as error:
            log.warning("trial %d failed: %s", number + 1, error)
            trial.set_user_attr(_EXIT_CODE, error.exit_code)
            trial.set_user_attr(_ERROR, str(error))
            self._study.tell(trial, state=TrialState.FAIL)
        else:
            self._study.tell(trial, value)


def _pruning(trial: optuna.Trial, seconds: float) -> OnValidation:
    """What ends a trial that stays behind, or whose time is up.

    Args:
        trial: that begins now.
        seconds: that it may take.
    """
    began = time.monotonic()

    def validated(epoch: int, value: float) -> None:
        taken = time.monotonic() - began
        trial.report(value, epoch)
        trial.set_user_attr(_SECONDS, taken)
        if taken >= seconds or trial.should_prune():
            raise optuna.TrialPruned

    return validated


def best_trial(trials: list[Trial]) -> Trial:
    """The complete trial of the largest value; of equal ones the first."""
    complete = [trial for trial in trials if trial.state == "complete" and trial.value is not None]
    return max(complete, key=lambda trial: trial.value or -math.inf)


def _widened(space: Space, section: Section) -> Space:
    """The space with the present settings in it, which may lie outside of what is usual.

    What is switched off by a 0 where only ratios are tuned stays off.
    """
    dimensions = []
    for d in space:
        value = get_value(section, d.key)
        if not d.counts(section):
            dimensions.append(d)
        elif isinstance(d.values, Real | Whole) and d.values.log and value <= 0:
            log.info("%s = %s is not tuned: it is switched off", d.key, value)
        else:
            dimensions.append(Dimension(d.key, d.values.including(value), d.given))
    return tuple(dimensions)


def _draw(trial: optuna.Trial, space: Space, section: Section) -> Section:
    """Fill a section with what the sampler suggests."""
    for dimension in space:
        if dimension.counts(section):
            value = _suggest(trial, dimension)
            section = with_value(section, dimension.key, value)
    return section


def _suggest(trial: optuna.Trial, dimension: Dimension) -> Any:
    match dimension.values:
        case Real(low, high, log=log_scale):
            return trial.suggest_float(dimension.name, low, high, log=log_scale)
        case Whole(low, high, log=log_scale):
            return trial.suggest_int(dimension.name, low, high, log=log_scale)
        case Choice() as choice:
            return json.loads(trial.suggest_categorical(dimension.name, choice.labels))


def _stored(dimension: Dimension, value: Any) -> Any:
    return Choice.label(value) if isinstance(dimension.values, Choice) else value


def _trial(number: int, frozen: FrozenTrial, space: Space) -> Trial:
    settings: dict[str, Any] = {}
    for dimension in space:
        if dimension.name in frozen.params:  # those alone that counted were drawn
            value = frozen.params[dimension.name]
            is_choice = isinstance(dimension.values, Choice)
            settings[dimension.key] = json.loads(value) if is_choice else value
    complete = frozen.state == TrialState.COMPLETE
    last = max(frozen.intermediate_values, default=None)
    return Trial(
        number,
        settings,
        _STATES[frozen.state],
        frozen.value if complete else None,  # Optuna gives a pruned one its last validation
        _duration(frozen),
        None if last is None else frozen.intermediate_values[last],
    )


def _duration(frozen: FrozenTrial) -> float:
    return frozen.duration.total_seconds() if frozen.duration else 0.0
