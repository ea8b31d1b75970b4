"""Who serves: policies that choose a champion each night. All but the contest are here alone."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Final

import numpy as np

from benchmarks.contest.worlds import Years
from diffrec_core.contest.config import ContestConfig
from diffrec_core.contest.evidence import Floats, Indices
from diffrec_core.contest.rounds import Contest, play

Policy = Callable[[Years], Indices]
"""(R, T) who is champion after each night; recipe 0 is, before the first."""

_CONFIDENCE_95 = 1.6449
_ONCE = 0.6
"""Share of the users of a window's nights who are counted once, since they return."""


def never(years: Years) -> Indices:
    """The champion stays."""
    return np.zeros(years.values.shape[:2], dtype=np.int64)


def newest_winner(years: Years) -> Indices:
    """Whoever leads on the night's validation part."""
    return np.asarray(years.others.argmax(axis=2), dtype=np.int64)


def one_night_point(years: Years) -> Indices:
    """Whoever leads on the night itself."""
    return np.asarray(years.values.argmax(axis=2), dtype=np.int64)


def leader(years: Years, *, by: float = 0.01, window: int = 28, least: int = 7) -> Indices:
    """Whoever leads the champion by 1 % in the mean of 28 nights, since the last switch."""

    def choose(sums: Floats, since: Indices, champion: Indices, night: int) -> Indices:
        start = np.maximum(since, night + 1 - window)
        means = _mean(sums, start, night + 1)
        lead = means - _of(means, champion)[:, None] - by * years.world.level
        enough = (lead.max(axis=1) > 0.0) & (night + 1 - start >= least)
        return np.where(enough, lead.argmax(axis=1), champion)

    return _path(years, choose)


def newest_tenth(years: Years, *, window: int = 36) -> Indices:
    """The gate of today: the best of the nights before a window, if surely better in it.

    Surely: by a one-sided 95 % interval over users. Before there are nights before the window, the
    candidate is the best of the night's validation part.
    """
    error = years.world.user_sd / np.sqrt(years.users)

    def choose(sums: Floats, since: Indices, champion: Indices, night: int) -> Indices:
        end, start = night + 1, max(0, night + 1 - window)
        before = _mean(sums, np.full_like(since, max(0, start - window)), start)
        candidate = (before if start else years.others[:, night]).argmax(axis=1)
        means = _mean(sums, np.full_like(since, start), end)
        lead = _of(means, candidate) - _of(means, champion)
        users = (end - start) * _ONCE
        return np.where(lead > _CONFIDENCE_95 * error / np.sqrt(users), candidate, champion)

    return _path(years, choose)


def contest(years: Years, *, config: ContestConfig, with_memory: bool = True) -> Indices:
    """The contest of diffrec_core.contest."""
    reps, _, recipes = years.values.shape
    champions = np.zeros(reps, dtype=np.int64)
    contests = Contest(champions, recipes, config, with_memory=with_memory)
    return np.stack(list(play(years.rounds(), contests)), axis=1)


def policies(config: ContestConfig) -> dict[str, Policy]:
    """All policies by the names that the table has."""
    return {
        "never": never,
        "newest winner": newest_winner,
        "one-night point": one_night_point,
        "leader of 28 nights by 1 %": leader,
        "today's gate": newest_tenth,
        "contest": partial(contest, config=config),
        "contest, memory not estimated": partial(contest, config=config, with_memory=False),
    }


NAMES: Final = tuple(policies(ContestConfig()))

_Choose = Callable[[Floats, Indices, Indices, int], Indices]


def _path(years: Years, choose: _Choose) -> Indices:
    return np.stack(list(_champions(years, choose)), axis=1)


def _champions(years: Years, choose: _Choose) -> Iterator[Indices]:
    """Let a rule choose each night, from sums of the nights, the last switch and the champion."""
    reps, nights, recipes = years.values.shape
    sums = np.zeros((reps, nights + 1, recipes))
    np.cumsum(years.values, axis=1, out=sums[:, 1:])
    champion, since = np.zeros(reps, dtype=np.int64), np.zeros(reps, dtype=np.int64)
    for night in range(nights):
        chosen = choose(sums, since, champion, night)
        since = np.where(chosen != champion, night + 1, since)
        champion = chosen
        yield champion


def _mean(sums: Floats, start: Indices, end: int) -> Floats:
    """(R, M) mean of the nights from start (R,) to before the end; 0 where there are none."""
    nights = np.maximum(end - start, 1)[:, None]
    mean: Floats = (sums[:, end] - sums[np.arange(len(sums)), start]) / nights
    return mean


def _of(values: Floats, recipes: Indices) -> Floats:
    """(R,) value of one recipe each, of (R, M)."""
    return values[np.arange(len(values)), recipes]
