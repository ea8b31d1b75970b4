"""Slow oracles of the beyond-accuracy metrics and of slices: one user, pair or item a time."""

import math
from collections.abc import Sequence
from itertools import combinations, product

NO_ITEM = -1
NAMES = ("head", "torso", "tail")


def popularity(training: Sequence[Sequence[int]], n_items: int) -> list[int]:
    """Training users who had each item."""
    return [sum(item in row for row in training) for item in range(n_items)]


def groups(counts: Sequence[int], head_share: float, tail_share: float) -> list[str]:
    """Walk down the items by popularity; the group is that in which an item's share begins."""
    total, before, result = sum(counts), 0, [""] * len(counts)
    for item in sorted(range(len(counts)), key=lambda item: (-counts[item], item)):
        share = before / total
        if counts[item] == 0 or share >= 1 - tail_share - 1e-12:
            result[item] = "tail"
        else:
            result[item] = "head" if share < head_share - 1e-12 else "torso"
        before += counts[item]
    return result


def of_list(
    items: Sequence[int],
    history: Sequence[int],
    counts: Sequence[int],
    *,
    n_users: int,
    group: Sequence[str],
    embeddings: Sequence[Sequence[float]] | None,
) -> dict[str, float]:
    """Metrics of the list of one user, without those that it has no value of."""
    items = [item for item in items if item != NO_ITEM]
    values: dict[str, float] = {}
    if items:
        values["novelty"] = _mean([-math.log2(max(counts[item], 1) / n_users) for item in items])
        values["mean_popularity"] = _mean([counts[item] / n_users for item in items])
        for name in NAMES:
            values[f"{name}_share"] = _mean([float(group[item] == name) for item in items])
    if items and history:
        ours = [values[f"{name}_share"] for name in NAMES]
        past = [_mean([float(group[item] == name) for item in history]) for name in NAMES]
        values["popularity_deviation"] = divergence(ours, past)
    if embeddings is not None and len(items) >= 2:
        pairs = combinations(items, 2)
        values["diversity"] = 1 - _mean([_cosine(embeddings[a], embeddings[b]) for a, b in pairs])
    return values


def divergence(p: Sequence[float], q: Sequence[float]) -> float:
    """Jensen-Shannon: the mean information that either has against the middle of both."""
    total = 0.0
    for a, b in zip(p, q, strict=True):
        for x in (a, b):
            if x > 0:
                total += x * math.log2(2 * x / (a + b)) / 2
    return total


def _cosine(a: Sequence[float], b: Sequence[float]) -> float:
    lengths = math.sqrt(sum(x * x for x in a)) * math.sqrt(sum(x * x for x in b))
    return sum(x * y for x, y in zip(a, b, strict=True)) / lengths if lengths else 0.0


def gini(counts: Sequence[int]) -> float:
    """Half the relative mean difference, over all pairs, each with itself as well."""
    n, total = len(counts), sum(counts)
    if not total:
        return 0.0
    return sum(abs(a - b) for a, b in product(counts, counts)) / (2 * n * total)


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def means(rows: Sequence[dict[str, float]]) -> dict[str, float]:
    """Mean of each key over the rows that have it."""
    keys = dict.fromkeys(key for row in rows for key in row)
    return {key: _mean([row[key] for row in rows if key in row]) for key in keys}
