"""Rounds of a ledger: nights that count, small ones put together."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np

from diffrec_core.contest.config import ContestConfig
from diffrec_core.contest.evidence import Floats
from diffrec_core.contest.night import Night
from diffrec_core.contest.rounds import Round


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A night that does not count, or not yet, and why."""

    night: date
    reason: str


@dataclass(frozen=True, slots=True)
class Combined:
    """One night, or several in turn with the same contestants, that count as one.

    Attributes:
        nights: at least one.
        metric: key of the metric that decides.
    """

    nights: tuple[Night, ...]
    metric: str

    @property
    def night(self) -> date:
        """The last of the nights."""
        return self.nights[-1].night

    @property
    def champion(self) -> str:
        """The champion's recipe."""
        return self.nights[-1].champion

    @property
    def recipes(self) -> tuple[str, ...]:
        """Ids of the contestants."""
        return self.nights[-1].recipes

    @property
    def users(self) -> int:
        """How many were scored, on all nights together."""
        return sum(night.users for night in self.nights)

    @property
    def kept_back(self) -> Mapping[str, str]:
        """Why guards of the last night keep recipes back, by recipe."""
        contestants = self.nights[-1].contestants
        return {one.recipe: one.kept_back for one in contestants if one.kept_back}

    def as_round(self, columns: Mapping[str, int]) -> Round:
        """What was measured, as one contest.

        Args:
            columns: of all recipes; those that are no contestants are NaN.
        """
        values = np.full((1, len(columns)), np.nan)
        for one, name in enumerate(self.recipes):
            of_nights = [night.contestants[one].metrics[self.metric] for night in self.nights]
            values[0, columns[name]] = np.average(of_nights, weights=self._weights())
        within = self._within(columns)
        return Round(values, values, within, self.users, self.nights[-1].counts)

    def _weights(self) -> list[int]:
        return [night.users for night in self.nights]

    def _within(self, columns: Mapping[str, int]) -> Floats:
        within = np.full((1, len(columns), len(columns)), np.nan)
        for number, pair in enumerate(self.nights[-1].pairs):
            means = np.array([night.pairs[number].difference for night in self.nights])
            spread = means - np.average(means, weights=self._weights())
            inner = sum(night.pairs[number].within for night in self.nights)
            one, other = columns[pair.one], columns[pair.other]
            within[0, one, other] = inner + float(np.array(self._weights()) @ spread**2)
            within[0, other, one] = within[0, one, other]
        return within


def combine(
    nights: Sequence[Night], config: ContestConfig
) -> tuple[list[Combined], tuple[LeftOut, ...]]:
    """Put nights in turn together until there are min_users of them.

    Users of several nights are counted as often as they came. A round ends without effect when the
    contestants or the champion change before there are enough.

    Args:
        nights: by date, each once.
        config: the metric and min_users.

    Returns:
        The rounds; the nights that are in none, by date.
    """
    rounds: list[Combined] = []
    left_out: list[LeftOut] = []
    waiting: list[Night] = []
    for night in nights:
        if reason := _reason(night, config):
            left_out.append(LeftOut(night.night, reason))
            continue
        if waiting and _contest(waiting[-1]) != _contest(night):
            left_out += _too_few(waiting, config, "when the contestants changed")
            waiting = []
        waiting.append(night)
        if _count(waiting) >= config.min_users:
            rounds.append(Combined(tuple(waiting), config.metric))
            waiting = []
    left_out += _too_few(waiting, config, "so far")
    return rounds, tuple(sorted(left_out, key=lambda one: one.night))


def _contest(night: Night) -> tuple[str, tuple[str, ...], bool]:
    return night.champion, night.recipes, night.counts


def _count(nights: Sequence[Night]) -> int:
    return sum(night.users for night in nights)


def _reason(night: Night, config: ContestConfig) -> str:
    if night.left_out or night.metric == config.metric:
        return night.left_out
    return f"its pairs were compared by {night.metric}, contest.metric is {config.metric}"


def _too_few(nights: Sequence[Night], config: ContestConfig, when: str) -> list[LeftOut]:
    reason = f"{_count(nights)} users {when}, contest.min_users = {config.min_users} are needed"
    return [LeftOut(night.night, reason) for night in nights]
