"""Slow oracles of data and evaluation: recency, splits, ranking and metrics, with sets and loops.

Source of the recency weights: DiffRec (arXiv 2304.04971) section 3.6; of the splits: section 4.1.1
and the docstring of `diffrec_core.data.splits`.
"""

import math
from collections.abc import Sequence
from datetime import datetime
from fractions import Fraction

NO_ITEM = -1
MICROSECONDS_PER_DAY = 24 * 60 * 60 * 10**6
TRAIN, VALIDATION, TEST = "train", "validation", "test"


def ranked(scores: Sequence[float], k: int) -> list[int]:
    """Indices of the k best, best first, ties by index, never -inf, then `NO_ITEM`."""
    candidates = [index for index, score in enumerate(scores) if score != -math.inf]
    order = sorted(candidates, key=lambda index: (-scores[index], index))[:k]
    return order + [NO_ITEM] * (k - len(order))


def metrics_of_user(recommended: Sequence[int], targets: set[int], k: int) -> dict[str, float]:
    """Every metric at k of one user, from the formulas."""
    found, first, gain, precisions = 0, 0.0, 0.0, 0.0
    for rank, item in enumerate(recommended[:k], start=1):
        if item in targets:
            found += 1
            gain += 1.0 / math.log2(rank + 1)
            precisions += found / rank
            first = first or 1.0 / rank
    ideal = 0.0
    for rank in range(1, min(len(targets), k) + 1):
        ideal += 1.0 / math.log2(rank + 1)
    return {
        f"recall@{k}": found / len(targets),
        f"precision@{k}": found / k,
        f"ndcg@{k}": gain / ideal,
        f"map@{k}": precisions / min(len(targets), k),
        f"mrr@{k}": first,
        f"hit_rate@{k}": 1.0 if found else 0.0,
    }


def mean_metrics(
    recommended: Sequence[Sequence[int]], targets: Sequence[set[int]], cutoffs: Sequence[int]
) -> dict[str, float]:
    """Averages over the users that have targets."""
    per_user = []
    for items, wanted in zip(recommended, targets, strict=True):
        if wanted:
            row: dict[str, float] = {}
            for k in cutoffs:
                row |= metrics_of_user(items, wanted, k)
            per_user.append(row)
    return {name: sum(row[name] for row in per_user) / len(per_user) for name in per_user[0]}


def recency(
    kind: str, times: Sequence[int], *, low: float, high: float, half_life: float
) -> list[float]:
    """Weights of one history, oldest first; times in microseconds."""
    length, result = len(times), []
    for place, time in enumerate(times):
        if kind == "none":
            weight = 1.0
        elif kind == "linear":
            weight = high if length == 1 else low + place / (length - 1) * (high - low)
        elif kind == "exponential_position":
            weight = max(low, high * 0.5 ** ((length - 1 - place) / half_life))
        else:
            days = (times[-1] - time) / MICROSECONDS_PER_DAY
            weight = max(low, high * 0.5 ** (days / half_life))
        result.append(weight)
    return result


def per_user_parts(length: int, validation: str, test: str) -> list[str]:
    """Parts of one user's line, the shares as decimals: cuts at ⌈M·train⌉ and ⌈M·(1 - test)⌉."""
    validation_share, test_share = Fraction(validation), Fraction(test)
    train_end = math.ceil(length * (1 - validation_share - test_share))
    validation_end = math.ceil(length * (1 - test_share))
    return [
        TRAIN if place < train_end else VALIDATION if place < validation_end else TEST
        for place in range(length)
    ]


def last_out_parts(length: int) -> list[str]:
    """Parts of one user's line when the last interaction tests and the one before validates."""
    if length < 3:
        return [TRAIN] * length
    return [TRAIN] * (length - 2) + [VALIDATION, TEST]


def parts_by_time(
    times: Sequence[datetime], validation_start: datetime, test_start: datetime
) -> list[str]:
    """Half-open: [.., validation_start) [validation_start, test_start) [test_start, ..)."""
    result = []
    for time in times:
        if time < validation_start:
            result.append(TRAIN)
        elif time < test_start:
            result.append(VALIDATION)
        else:
            result.append(TEST)
    return result
