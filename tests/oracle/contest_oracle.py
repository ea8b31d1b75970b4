"""The evidence of a contest, number by number, from the nights themselves."""

import math
from collections.abc import Sequence
from itertools import combinations
from statistics import mean, variance

from diffrec_core.contest.config import ContestConfig
from diffrec_core.contest.night import Night

Pair = frozenset[str]


def evidence(nights: Sequence[Night], config: ContestConfig) -> dict[str, float]:
    """E of each challenger of the last night; every night counts by itself."""
    present = [night for night in nights if not night.left_out]
    last = present[-1]
    factor = _memory(present, config.horizon_nights)
    result = {}
    for recipe in last.recipes:
        if recipe != last.champion:
            x = _standardised(present, recipe, config)
            squares = factor * sum(value**2 for value in x)
            result[recipe] = _mixture(sum(x), squares)
    return result


def _mixture(sums: float, squares: float) -> float:
    q = squares + 3.0
    normal = 0.5 * math.erfc(-sums / math.sqrt(2.0 * q))
    return 2.0 * math.sqrt(3.0 / q) * math.exp(sums**2 / (2.0 * q)) * normal


def _standardised(nights: Sequence[Night], recipe: str, config: ContestConfig) -> list[float]:
    """x of the nights of the horizon on which the champion was champion, nights in turn."""
    start = len(nights)
    while start > 0 and nights[start - 1].champion == nights[-1].champion:
        start -= 1
    kept: list[tuple[float, float | None]] = []  # x, and what the square exceeds the users' part by
    for number in range(start, len(nights)):
        kept = kept[-config.horizon_nights :]
        kept.append(_night(nights[: number + 1], recipe, [e for _, e in kept], config))
    return [x for x, _ in kept[-config.horizon_nights :]]


def _night(
    nights: Sequence[Night], recipe: str, excess: list[float | None], config: ContestConfig
) -> tuple[float, float | None]:
    *before, night = nights
    earlier = before[-config.horizon_nights :]
    pair, champion = frozenset((recipe, night.champion)), night.champion
    within, degrees = 0.0, 0
    for other in earlier:
        if pair <= set(other.recipes):
            squares, users, difference = _pair(other, pair)
            within += max(0.0, squares - users * difference**2)
            degrees += users - 1
    if not degrees or recipe not in night.recipes:
        return 0.0, None
    of_users = within / degrees / night.users
    level = mean(_mean(other, champion) for other in earlier if champion in other.recipes)
    known = [value for value in excess if value is not None]
    tau2 = max(0.0, 5.0 * (0.02 * level) ** 2 + sum(known)) / (5 + len(known))
    scale = math.sqrt(of_users + tau2)
    if scale == 0.0:
        return 0.0, None
    d = _mean(night, recipe) - _mean(night, champion) - config.margin
    x = max(-3.0, min(3.0, d / scale)) if night.counts else 0.0
    return x, min(d**2, 9.0 * scale**2) - of_users


def _mean(night: Night, recipe: str) -> float:
    return next(one.metrics[night.metric] for one in night.contestants if one.recipe == recipe)


def _pair(night: Night, recipes: Pair) -> tuple[float, int, float]:
    pair = next(pair for pair in night.pairs if {pair.one, pair.other} == recipes)
    return pair.squares, pair.users, pair.difference


def _memory(nights: Sequence[Night], horizon: int) -> float:
    """f as estimated before the last night: anew after every seventh, of whole weeks."""
    seen = (len(nights) - 1) // 7 * 7
    kept = nights[max(0, seen - horizon) : seen]
    weeks = len(kept) // 7
    kept = kept[len(kept) - 7 * weeks :]
    sums, degrees = [0.0, 0.0], [0, 0]
    for pair in combinations(sorted({recipe for night in nights for recipe in night.recipes}), 2):
        whole = [
            [_mean(night, pair[0]) - _mean(night, pair[1]) for night in kept[7 * w : 7 * w + 7]]
            for w in range(weeks)
            if all(set(pair) <= set(night.recipes) for night in kept[7 * w : 7 * w + 7])
        ]
        if len(whole) >= 4:
            flat = [value for week in whole for value in week]
            for part, values in enumerate(([mean(week) for week in whole], flat)):
                sums[part] += variance(values) * (len(values) - 1)
                degrees[part] += len(values) - 1
    if not degrees[0] or sums[1] == 0.0:
        return 1.0
    return max(1.0, 7.0 * (sums[0] / degrees[0]) / (sums[1] / degrees[1]))
