"""How often this contest would err, and how soon it would find a gain, on the nights of a ledger.

No model of nights is needed. Every challenger is first made equal to the champion: its mean
difference over the nights is taken off. Then the signs of whole nights are flipped at random, of
all challengers together, and the nights are replayed: each switch is needless. With a gain added to
one challenger, each in turn, the replays tell in how many nights it is found. Where nights have
memory, the signs of whole weeks are flipped.

A replay begins without evidence, so a short ledger is a young contest: its rate of needless
switches is lower than later ones, and what it has not found may still be found.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Final

import numpy as np

from diffrec_core.common.errors import DataError
from diffrec_core.common.rng import generator
from diffrec_core.contest.combined import Combined, combine
from diffrec_core.contest.config import ContestConfig
from diffrec_core.contest.evidence import Floats, Indices, memory, pairs_of
from diffrec_core.contest.night import Night, in_order
from diffrec_core.contest.rounds import Contest, Round, play

GAINS: Final = (0.02, 0.05)
"""Planted gains, as shares of the champion's metric."""

_WEEK, _LEAST_WEEKS = 7, 8
_HAS_MEMORY = 1.5
_DAYS_OF_YEAR = 365.25


@dataclass(frozen=True, slots=True)
class Found:
    """What became of a planted gain.

    Attributes:
        gain: as a share of the champion's metric.
        share: of the replays in which its challenger became champion.
        nights: that this took in the median; None where it was found in less than half of them.
    """

    gain: float
    share: float
    nights: float | None


@dataclass(frozen=True, slots=True)
class Rates:
    """Error rates and delays.

    Attributes:
        nights: of the ledger that were replayed; several small ones count as one.
        years: that they span.
        flips: replays.
        flipped: nights whose signs are flipped together, 1 or 7.
        needless_a_year: switches between equal recipes, a year.
        found: of each planted gain.
    """

    nights: int
    years: float
    flips: int
    flipped: int
    needless_a_year: float
    found: tuple[Found, ...]


@dataclass(frozen=True, slots=True)
class _Centred:
    """Nights on which all recipes are equal but for chance; column 0 is the champion.

    Attributes:
        rounds: (T,) of the ledger, with the values as they were.
        differences: (T, M) to the champion, each column with mean 0.
        signs: (T, R) 1 and -1.
    """

    rounds: Sequence[Round]
    differences: Floats
    signs: Floats

    def replay(self, config: ContestConfig, gains: Floats) -> Indices:
        """Champions (T, R) after each night, with gains (R, M), shares of the champion's metric."""
        champions = np.zeros(self.signs.shape[1], dtype=np.int64)
        contest = Contest(champions, self.differences.shape[1], config)
        return np.stack(list(play(self._flipped(gains), contest)))

    def _flipped(self, gains: Floats) -> Iterator[Round]:
        for one, difference, signs in zip(self.rounds, self.differences, self.signs, strict=True):
            values = signs[:, None] * difference + gains * one.levels[0, 0]
            yield Round(values, one.levels, one.within, one.users)


def error_rates(
    nights: Sequence[Night],
    config: ContestConfig,
    *,
    seed: int,
    flips: int = 1000,
    gains: Sequence[float] = GAINS,
) -> Rates:
    """Measure the contest of the last night's champion with its challengers of that night.

    Args:
        nights: of the ledger, in any order; those before the champion became champion as well, if
            it was compared on them.
        config: of the contest.
        seed: of the flips.
        flips: replays, 1 or more.
        gains: to plant, as shares of the champion's metric.

    Raises:
        DataError: there are fewer than two nights, or no challenger.
    """
    rounds, _ = combine(in_order(nights), config)
    recipes = _recipes(rounds)
    chosen = [one for one in rounds if recipes[0] in one.recipes]
    if len(chosen) < 2:
        raise DataError(f"error rates need two nights with the champion, found {len(chosen)}")
    centred, flipped = _centre(chosen, recipes, flips, seed)
    years = _years(chosen)
    plain = centred.replay(config, np.zeros((flips, len(recipes))))
    return Rates(
        nights=len(chosen),
        years=years,
        flips=flips,
        flipped=flipped,
        needless_a_year=float(_switches(plain).sum(axis=0).mean()) / years,
        found=tuple(_plant(centred, config, gain) for gain in gains),
    )


def _recipes(rounds: Sequence[Combined]) -> list[str]:
    """The last champion and its challengers."""
    champion = rounds[-1].champion if rounds else ""
    others = [recipe for recipe in rounds[-1].recipes if recipe != champion] if rounds else []
    if not others:
        raise DataError("error rates need a champion with a challenger on the last night")
    return [champion, *others]


def _centre(
    chosen: Sequence[Combined], recipes: Sequence[str], flips: int, seed: int
) -> tuple[_Centred, int]:
    """The centred nights with their signs; how many nights are flipped together."""
    rounds = [_only(one, recipes) for one in chosen]
    values = np.concatenate([one.values for one in rounds])
    differences = values - values[:, :1]
    differences -= np.nanmean(differences, axis=0)
    is_long = len(rounds) >= _LEAST_WEEKS * _WEEK
    together = _WEEK if is_long and memory(pairs_of(differences[:, None]))[0] > _HAS_MEMORY else 1
    blocks = -(-len(rounds) // together)
    drawn = generator(seed, "flips").integers(2, size=(blocks, flips)) * 2.0 - 1.0
    signs = np.repeat(drawn, together, axis=0)[: len(rounds)]
    return _Centred(rounds, differences, signs), together


def _only(combined: Combined, recipes: Sequence[str]) -> Round:
    """A round of these recipes, in their order."""
    every = sorted({*combined.recipes, *recipes})
    columns = {recipe: number for number, recipe in enumerate(every)}
    chosen = [columns[recipe] for recipe in recipes]
    one = combined.as_round(columns)
    within = one.within[:, chosen][:, :, chosen]
    return Round(one.values[:, chosen], one.levels[:, chosen], within, one.users)


def _years(rounds: Sequence[Combined]) -> float:
    """The time that the rounds span, with as much before the first as between two."""
    days = [one.night.toordinal() for one in rounds]
    return float(len(days) * median(np.diff(days).tolist())) / _DAYS_OF_YEAR


def _switches(champions: Indices) -> Indices:
    """(T, R) whether the champion, at first 0, changed on a night."""
    before = np.concatenate([np.zeros_like(champions[:1]), champions[:-1]])
    return np.asarray(champions != before, dtype=np.int64)


def _plant(centred: _Centred, config: ContestConfig, gain: float) -> Found:
    replays, n_recipes = centred.signs.shape[1], centred.differences.shape[1]
    better = 1 + np.arange(replays) % (n_recipes - 1)
    gains = gain * (np.arange(n_recipes) == better[:, None])
    is_found = centred.replay(config, gains) == better
    ever = is_found.any(axis=0)
    nights = float(np.median(np.where(ever, is_found.argmax(axis=0) + 1.0, np.inf)))
    return Found(gain, float(ever.mean()), nights if np.isfinite(nights) else None)
