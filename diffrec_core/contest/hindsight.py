"""What policies of choosing a recipe would have served, on nights that are over.

Shapes: T nights, M recipes. `values[t, m]` is the metric of recipe m on night t. A policy says who
serves each night, (T,), from the nights before it alone; only the oracle and the best fixed recipe
know better.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from diffrec_core.contest.evidence import Floats, Indices


@dataclass(frozen=True, slots=True)
class Served:
    """What a policy would have served.

    Attributes:
        mean: of the metric over the nights.
        regret: by how much that falls short of the oracle's mean, as a share of it.
        switches: how often another recipe served than the night before.
    """

    mean: float
    regret: float
    switches: int


def oracle(values: Floats) -> Indices:
    """The best of each night."""
    return np.asarray(values.argmax(axis=1), dtype=np.int64)


def best_fixed(values: Floats) -> Indices:
    """The best over all nights."""
    return np.full(len(values), values.mean(axis=0).argmax(), dtype=np.int64)


def never(values: Floats, first: int) -> Indices:
    """The recipe of the first night.

    >>> never(np.zeros((3, 2)), 1).tolist()
    [1, 1, 1]
    """
    return np.full(len(values), first, dtype=np.int64)


def newest_winner(values: Floats, first: int) -> Indices:
    """The best of the night before.

    >>> newest_winner(np.array([[1.0, 0.0], [0.0, 1.0], [0.0, 1.0]]), 1).tolist()
    [1, 0, 1]
    """
    return np.concatenate([[first], values[:-1].argmax(axis=1)])


def leader(values: Floats, first: int, *, nights: int, lead: float = 0.01) -> Indices:
    """Whoever is ahead of who serves by a lead, in the mean of the newest nights.

    Args:
        values: (T, M).
        first: who serves the first night.
        nights: how many count, at most; all of them must be there.
        lead: as a share of the metric of who serves.
    """
    serving = [first]
    for night in range(1, len(values)):
        means = values[max(0, night - nights) : night].mean(axis=0)
        ahead = night >= nights and means.max() > (1 + lead) * means[serving[-1]]
        serving.append(int(means.argmax()) if ahead else serving[-1])
    return np.array(serving)


def judge(values: Floats, policies: Mapping[str, Indices]) -> dict[str, Served]:
    """Mean, regret and switches of each policy."""
    nights = np.arange(len(values))
    best = float(values.max(axis=1).mean())
    served = {}
    for name, serving in policies.items():
        mean = float(values[nights, serving].mean())
        switches = int((serving[1:] != serving[:-1]).sum())
        served[name] = Served(mean, 1.0 - mean / best if best else 0.0, switches)
    return served


def change_and_error(differences: Sequence[float]) -> tuple[float, float | None]:
    """Mean of nights' differences and its standard error over nights; None of fewer than two.

    >>> mean, error = change_and_error([1.0, 2.0, 3.0])
    >>> mean, round(error, 4)
    (2.0, 0.5774)
    >>> change_and_error([1.0])
    (1.0, None)
    """
    array = np.asarray(differences, dtype=np.float64)
    if len(array) < 2:
        return float(array.mean()), None
    return float(array.mean()), float(array.std(ddof=1) / np.sqrt(len(array)))
