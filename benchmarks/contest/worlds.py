"""Simulated years: what recipes are worth each night, and what a night measures of it."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np

from diffrec_core.contest.evidence import Floats
from diffrec_core.contest.rounds import Round

NIGHTS: Final = 365
_RECIPES = 4


@dataclass(frozen=True, slots=True)
class World:
    """What a metric is like, as measured on weekly nights of MovieLens-100K.

    Attributes:
        level: mean of the metric.
        user_sd: of a pair's difference, between users.
        night_sd: of its mean, between nights, beyond what the users explain.
    """

    level: float
    user_sd: float
    night_sd: float


WORLDS: Final = {"recall": World(0.188, 0.145, 0.006), "ndcg": World(0.175, 0.094, 0.005)}


@dataclass(frozen=True, slots=True)
class Years:
    """R years as measured.

    Attributes:
        truth: (R, T, M) advantage of each recipe, as a share of the level; recipe 0 is champion.
        values: (R, T, M) mean metric of each night.
        others: (R, T, M) the same of other users of the night, for those who choose candidates.
        users: of a night.
        world: that they were drawn from.
        seed: of what is drawn later.
    """

    truth: Floats
    values: Floats
    others: Floats
    users: int
    world: World
    seed: int

    def rounds(self) -> Iterator[Round]:
        """Night after night, as the contest reads them."""
        rng, (reps, nights, recipes) = np.random.default_rng(self.seed), self.truth.shape
        levels = np.full((1, recipes), self.world.level)
        for night in range(nights):
            chi2 = rng.chisquare(self.users - 1, (reps, recipes, recipes))
            within = self.world.user_sd**2 * chi2
            yield Round(self.values[:, night], levels, within, self.users)


def measure(truth: Floats, users: int, world: World, seed: int) -> Years:
    """Draw what the nights of (R, T, M) true advantages measure."""
    rng = np.random.default_rng(seed)
    # half of a pair's variance each
    sd = np.sqrt((world.night_sd**2 + world.user_sd**2 / users) / 2)
    values, others = (
        world.level * (1 + truth) + sd * rng.standard_normal(truth.shape) for _ in range(2)
    )
    return Years(truth, values, others, users, world, seed + 1)


def constant(reps: int, *advantages: float, nights: int = NIGHTS) -> Floats:
    """(R, T, M) advantages that stay as they are."""
    return np.broadcast_to(np.array(advantages), (reps, nights, len(advantages))).copy()


def drifting(reps: int, seed: int, *, nights: int = NIGHTS) -> Floats:
    """(R, T, M) a champion and three challengers that drift.

    Challengers have mean advantages of -1 % with a standard deviation of 3 %; every recipe moves
    about its mean by 2 %, which it forgets within 60 nights.
    """
    rng, keep = np.random.default_rng(seed), np.exp(-1 / 60)
    means = -0.01 + 0.03 * rng.standard_normal((reps, _RECIPES))
    means[:, 0] = 0.0
    step = np.sqrt(1 - keep**2)
    moves = np.empty((reps, nights, _RECIPES))
    moves[:, 0] = rng.standard_normal((reps, _RECIPES))
    for night in range(1, nights):
        drawn = rng.standard_normal((reps, _RECIPES))
        moves[:, night] = keep * moves[:, night - 1] + step * drawn
    return means[:, None] + 0.02 * moves
