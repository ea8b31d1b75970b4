"""Nights of a contest, made of numbers that a test chooses."""

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diffrec_core.contest.night import Contestant, Night, compare

FIRST = date(2026, 1, 1)
METRIC = "ndcg@20"


def day(number: int) -> date:
    return FIRST + timedelta(days=number)


def night_of(
    number: int, values: Mapping[str, Sequence[float] | NDArray[np.float64]], **changes: Any
) -> Night:
    """The night of a day number, from each user's metric by recipe; "champion" is champion."""
    arrays = {recipe: np.asarray(values[recipe], dtype=np.float64) for recipe in sorted(values)}
    end = datetime.combine(day(number + 1), datetime.min.time(), UTC)
    facts: dict[str, Any] = {
        "night": day(number),
        "data_end": end,
        "metric": METRIC,
        "champion": "champion",
        "users": len(next(iter(arrays.values()))),
        "contestants": tuple(
            Contestant(recipe, recipe.title(), {METRIC: float(array.mean())})
            for recipe, array in arrays.items()
        ),
        "pairs": compare(arrays),
    }
    return Night(**(facts | changes))


def simulated(
    nights: int,
    advantages: Mapping[str, float],
    *,
    users: int = 60,
    seed: int = 0,
    level: float = 0.2,
    user_sd: float = 0.1,
    night_sd: float = 0.005,
) -> list[Night]:
    """Nights on which recipes are better than the champion by so much, in the metric's unit."""
    rng = np.random.default_rng(seed)
    ledger = []
    for number in range(nights):
        common = rng.normal(level, 0.15, users)
        values = {
            recipe: common
            + advantage
            + rng.normal(0.0, night_sd / 2**0.5)
            + rng.normal(0.0, user_sd / 2**0.5, users)
            for recipe, advantage in {"champion": 0.0, **advantages}.items()
        }
        ledger.append(night_of(number, values))
    return ledger
