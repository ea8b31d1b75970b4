"""Contests of recipes: the sums of their evidence, from night to night.

Everything is computed for R contests side by side: one of a ledger, many of a simulation.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from diffrec_core.contest.config import ContestConfig
from diffrec_core.contest.evidence import (
    CLIP,
    LEAST_NIGHTS,
    Flags,
    Floats,
    Indices,
    log_evidence,
    memory,
    pairs_of,
    standardised,
    threshold,
)
from diffrec_core.contest.window import Window

_PRIOR_SHARE, _PRIOR_NIGHTS = 0.02, 5.0
"""τ² starts at (2 % of the metric)², which weighs as much as five nights."""

_MEMORY_EVERY = 7
"""Nights after which the memory of nights is estimated anew."""


@dataclass(frozen=True, slots=True)
class Round:
    """What a night measured of M recipes, in R contests.

    Attributes:
        values: (R, M) means of the metric over the users; NaN: not measured.
        levels: (R, M) or (1, M) the size of the metric, which τ² begins with; NaN likewise.
        within: (R, M, M) or (1, M, M) of each pair, the sum over users of squared deviations of
            their differences from the mean one; NaN likewise.
        users: how many.
        counts: False: it tells how nights vary, but is no evidence.
    """

    values: Floats
    levels: Floats
    within: Floats
    users: int
    counts: bool = True


class Contest:
    """R contests of M recipes, night after night.

    Args:
        champions: (R,) index of the recipe that is champion before the first night.
        n_recipes: M.
        config: odds, horizon and margin.
        with_memory: False: f is 1.

    Attributes:
        champions: likewise, now; change them with `crown`.
        differences: d of the nights since then, (T, R, M), 0 where a recipe was not compared.
        scales: s of these nights, likewise, in the same unit.
        nights: (R, M) how many nights each recipe was compared on since then.
        memory: (R,) f.
    """

    def __init__(
        self, champions: Indices, n_recipes: int, config: ContestConfig, *, with_memory: bool = True
    ) -> None:
        self.config, self.with_memory = config, with_memory
        self.champions, self._judged = champions.copy(), 0
        self.nights = np.zeros((len(champions), n_recipes), dtype=np.int64)
        self.memory = np.ones(len(champions))
        self._measured = np.zeros((len(champions), n_recipes), dtype=bool)
        self._each = np.arange(len(champions))
        # of all pairs, whoever is champion
        horizon = config.horizon_nights
        self._within, self._degrees = Window(horizon), Window(horizon)
        self._levels, self._levelled = Window(horizon), Window(horizon)
        self._pairs = Window(horizon)
        # since the champion is champion
        self.differences, self.scales, self._x = (Window(horizon) for _ in range(3))
        self._excess, self._known = Window(horizon), Window(horizon)

    def judge(self, night: Round) -> Floats:
        """Add a night; returns log E (R, M), -inf of the champion and of what was not measured."""
        difference = night.values - self._of_champions(night.values) - self.config.margin
        self._estimate_memory()
        self._add_evidence(difference, night)
        self._add_spread(night)
        self._judged += 1
        self._measured = ~np.isnan(difference)
        self._measured[self._each, self.champions] = False
        self.nights += self._measured & night.counts
        return self.evidence()

    def evidence(self) -> Floats:
        """Log E (R, M) after the nights so far; see `judge`."""
        x = self._x.newest
        squares = self.memory[:, None] * (x * x).sum(axis=0)
        return np.where(self._measured, log_evidence(x.sum(axis=0), squares), -np.inf)

    def winners(self, evidence: Floats, may_win: Flags | None = None) -> Indices:
        """(R,) who is champion from now on: the recipe of the largest evidence, if it is enough.

        Args:
            evidence: see `judge`.
            may_win: (M,) False: a guard keeps the recipe back; None: all may.
        """
        allowed = self.nights >= LEAST_NIGHTS
        allowed = allowed if may_win is None else allowed & may_win
        evidence = np.where(allowed, evidence, -np.inf)
        best = evidence.argmax(axis=1)
        odds = np.array([threshold(self.config, n) for n in range(self._measured.shape[1] + 1)])
        needed = np.log(odds)[self._measured.sum(axis=1)]
        return np.where(evidence[self._each, best] >= needed, best, self.champions)

    def crown(self, champions: Indices) -> None:
        """Make recipes champions: where one is new, all sums start anew."""
        is_new = champions != self.champions
        for window in (self.differences, self.scales, self._x, self._excess, self._known):
            window.clear(is_new)
        self.nights[is_new] = 0
        self._measured[is_new] = False
        self.champions = np.where(is_new, champions, self.champions)

    def next_scales(self, users: int) -> Floats:
        """Scales s (R, M) of a next night with so many users; NaN before a pair's first night."""
        if not self._judged:
            return np.full(self.nights.shape, np.nan)
        of_users = self._variances() / users
        scales: Floats = np.sqrt(of_users + self._between_nights(of_users))
        return scales

    def level(self) -> Floats:
        """(R, 1) mean of the champion's metric over the nights; NaN before the first."""
        nights = self._levelled.total()
        levels = self._levels.total() / np.where(nights > 0.0, nights, np.nan)
        return self._of_champions(np.broadcast_to(levels, self.nights.shape))

    def _estimate_memory(self) -> None:
        if self.with_memory and self._judged % _MEMORY_EVERY == 0 and self._judged:
            self.memory = memory(self._pairs.in_order)

    def _add_evidence(self, difference: Floats, night: Round) -> None:
        """Add x, and by how much d² exceeds what users alone explain; by earlier nights' spread."""
        scale = self.next_scales(night.users)
        is_known = ~np.isnan(difference) & (np.nan_to_num(scale) > 0.0)
        d, s = np.where(is_known, difference, 0.0), np.where(is_known, scale, 0.0)
        square = np.minimum(d * d, (CLIP * s) ** 2)
        of_users = self._variances() / night.users if self._judged else s
        self._excess.add(np.where(is_known, square - of_users, 0.0))
        self._known.add(is_known.astype(np.float64))
        self.differences.add(d * night.counts)
        self.scales.add(s * night.counts)
        self._x.add(standardised(d, s) * night.counts)

    def _add_spread(self, night: Round) -> None:
        is_pair, is_level = ~np.isnan(night.within), ~np.isnan(night.levels)
        self._within.add(np.where(is_pair, night.within, 0.0))
        self._degrees.add(is_pair * (night.users - 1.0))
        self._levels.add(np.where(is_level, night.levels, 0.0))
        self._levelled.add(is_level.astype(np.float64))
        if self.with_memory:
            self._pairs.add(pairs_of(night.values))

    def _of_champions(self, values: Floats) -> Floats:
        return values[self._each, self.champions][:, None]

    def _variances(self) -> Floats:
        """V (R, M) of each recipe's difference to the champion; NaN before a pair's first night."""
        degrees = self._degrees.total()
        within = self._within.total() / np.where(degrees > 0.0, degrees, np.nan)
        shape = (len(self.champions), *within.shape[1:])
        return np.broadcast_to(within, shape)[self._each, :, self.champions]

    def _between_nights(self, of_users: Floats) -> Floats:
        """τ² (R, M): what the squares of earlier nights exceed the users' part by."""
        prior = _PRIOR_NIGHTS * (_PRIOR_SHARE * self.level()) ** 2
        squares = np.maximum(prior + self._excess.total(), 0.0)
        return np.where(np.isnan(of_users), np.nan, squares / (_PRIOR_NIGHTS + self._known.total()))


def play(nights: Iterable[Round], contest: Contest) -> Iterator[Indices]:
    """Let contests run by themselves; yields (R,) who is champion after each night."""
    for night in nights:
        contest.crown(contest.winners(contest.judge(night)))
        yield contest.champions
