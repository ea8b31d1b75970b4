"""Significance of differences between models: paired resampling over users, corrected.

    bootstrap     users are drawn with replacement, the same for every model: percentile intervals
    permutation   under the null hypothesis the two models are exchangeable for every user: signs
                  of the users' differences are flipped, two-sided
    seeds         Welch's t-test of the means over training seeds, two-sided
    Holm          bounds the probability of any false positive among several tests
    groups        the best model and all that do not differ from it significantly; then the best
                  of the rest, and so on

Differences vary with the sample of users and with the training seeds. They must be significant by
both: the larger p-value counts (an intersection-union test, Berger 1982). The seed of a model that
was trained once says nothing.

Equal seeds give equal draws, whatever the models are: so differences are paired, and p of (a, b)
is p of (b, a).

Sources: Efron & Tibshirani, An Introduction to the Bootstrap (1993), chapters 13 and 15; Smucker,
Allan & Carterette (CIKM 2007) on the tests for rankings; Phipson & Smyth (2010) on p-values of
random permutations; Welch (1947); Holm (1979).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from diffrec_core.common.errors import DataError
from diffrec_core.common.rng import generator

Floats = NDArray[np.float64]

_ENTRIES_AT_A_TIME = 2**20
"""Resamples × users in memory at once; does not change results."""

_ROUNDING = 1e-12
"""Sums that differ by less, relative to the sum of their absolute terms, count as equal."""


@dataclass(frozen=True, slots=True)
class SeedSpread:
    """Sample standard deviation of a metric over training seeds, 0 for one, and their number."""

    sd: float = 0.0
    seeds: int = 1


def bootstrap_means(
    values: Floats, *, resamples: int, seed: int, entries_at_a_time: int = _ENTRIES_AT_A_TIME
) -> Floats:
    """(R, M) means over users drawn with replacement, the same users for all columns.

    Args:
        values: (U, M) a column for each model, or for each model and metric.
        resamples: R.
        seed: of the draws.
        entries_at_a_time: bounds memory.

    Raises:
        DataError: there is no user.
    """
    n_users = _count_users(values)
    rng = generator(seed, "bootstrap")
    rows = max(1, entries_at_a_time // n_users)
    means = np.empty((resamples, values.shape[1]))
    for start in range(0, resamples, rows):
        count = min(rows, resamples - start)
        drawn = rng.integers(n_users, size=(count, n_users))
        drawn += np.arange(count)[:, None] * n_users
        times = np.bincount(drawn.ravel(), minlength=count * n_users).reshape(count, n_users)
        means[start : start + count] = times @ values / n_users
    return means


def interval(resampled: Floats, level: float) -> Floats:
    """(2, M) ends of the (1 - level) percentile interval of (R, M) means or their differences."""
    ends: Floats = np.quantile(resampled, [level / 2, 1 - level / 2], axis=0)
    return ends


def permutation_p_values(
    differences: Floats,
    *,
    resamples: int,
    seed: int,
    entries_at_a_time: int = _ENTRIES_AT_A_TIME,
) -> Floats:
    """Two-sided paired permutation test of "the mean difference is 0", for each column.

    If there are at most `resamples` ways, 2^n, of flipping n users' signs, p is exact: the share of
    them whose |mean| is at least the observed one. Otherwise that share is estimated as
    (1 + count) / (1 + resamples), which is never 0.

    Args:
        differences: (U, M) each user's value of one model less that of another.
        resamples: R.
        seed: of the flips.
        entries_at_a_time: bounds memory.

    Returns:
        (M,) in (0, 1].

    Raises:
        DataError: there is no user.
    """
    _count_users(differences)
    # users without a difference change no sum
    differences = differences[(differences != 0.0).any(axis=1)]
    n_users = len(differences)
    total = differences.sum(axis=0)
    threshold = np.abs(total) - _ROUNDING * np.abs(differences).sum(axis=0)
    is_exact = n_users < resamples.bit_length()
    rows = max(1, entries_at_a_time // max(1, n_users))
    flips = _all_flips(n_users, rows) if is_exact else _flips(n_users, resamples, rows, seed)
    extreme = np.zeros(differences.shape[1], dtype=np.int64)
    for flipped in flips:
        sums = total - 2.0 * (flipped @ differences)
        extreme += (np.abs(sums) >= threshold).sum(axis=0)
    p_values: Floats = extreme / 2**n_users if is_exact else (1 + extreme) / (1 + resamples)
    return p_values


def _all_flips(n_users: int, rows: int) -> Iterator[Floats]:
    """All ways to flip signs: (rows, U) of 0 and 1, a chunk at a time."""
    for start in range(0, 2**n_users, rows):
        numbers = np.arange(start, min(start + rows, 2**n_users))
        yield (numbers[:, None] >> np.arange(n_users) & 1).astype(np.float64)


def _flips(n_users: int, resamples: int, rows: int, seed: int) -> Iterator[Floats]:
    """Random ways to flip signs: (rows, U) of 0 and 1, a chunk at a time."""
    rng = generator(seed, "permutation")
    words = -(-n_users // 64)
    for start in range(0, resamples, rows):
        size = (min(rows, resamples - start), words)
        drawn = rng.integers(2**64 - 1, size=size, dtype=np.uint64, endpoint=True)
        yield np.unpackbits(drawn.view(np.uint8), axis=1, count=n_users).astype(np.float64)


def seed_p_value(difference: float, one: SeedSpread, other: SeedSpread) -> float:
    """Two-sided Welch test of a difference between two models' means over seeds.

    The mean of a model without spread counts as exact; between two such models p is 0.

    >>> three = SeedSpread(sd=0.01, seeds=3)
    >>> round(seed_p_value(0.02, three, three), 4)
    0.0705
    >>> seed_p_value(0.02, SeedSpread(), SeedSpread())
    0.0
    """
    varied = [spread for spread in (one, other) if spread.sd > 0.0]
    squares = [spread.sd**2 / spread.seeds for spread in varied]
    if not squares:
        return 0.0
    degrees = sum(squares) ** 2 / sum(
        square**2 / (spread.seeds - 1) for square, spread in zip(squares, varied, strict=True)
    )
    return float(2.0 * special.stdtr(degrees, -abs(difference) / sum(squares) ** 0.5))


def holm(p_values: ArrayLike) -> Floats:
    """Holm's adjusted p-values of a family of tests: reject those up to the level.

    The smallest of m is multiplied by m, the next by m - 1, and so on; they never decrease and are
    at most 1.

    >>> holm([0.01, 0.04, 0.03, 0.5]).tolist()
    [0.04, 0.09, 0.09, 0.5]
    """
    raw = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(raw, kind="stable")
    scaled = raw[order] * np.arange(len(raw), 0, -1)
    adjusted = np.empty_like(raw)
    adjusted[order] = np.minimum(np.maximum.accumulate(scaled), 1.0)
    return adjusted


def difference_p_values(
    values: Floats,
    own: int,
    others: Sequence[int],
    spreads: Sequence[SeedSpread],
    *,
    resamples: int,
    seed: int,
) -> tuple[Floats, Floats]:
    """Compare one model with N others: p-values (N,) over users, by permutation, and over seeds.

    Args:
        values: (U, M) one column for each model, means over its seeds.
        own: the column of the one.
        others: the columns of the others.
        spreads: (M,) of each model's seeds.
        resamples: of the permutation test.
        seed: likewise.

    Raises:
        DataError: there is no user.
    """
    differences = values[:, others] - values[:, [own]]
    of_users = permutation_p_values(differences, resamples=resamples, seed=seed)
    of_seeds = [
        seed_p_value(difference, spreads[own], spreads[other])
        for difference, other in zip(differences.mean(axis=0), others, strict=True)
    ]
    return of_users, np.array(of_seeds)


def group_models(
    values: Floats, spreads: Sequence[SeedSpread], *, level: float, resamples: int, seed: int
) -> list[list[int]]:
    """Group models that do not differ significantly from the best among them.

    The first group is the model with the highest mean and all whose difference to it is not
    significant, by Holm's correction over all comparisons with it; the next is made likewise of the
    rest. Models of one group are not shown to be equal, and a model may be in a later group than
    one with a lower mean, whose users vary more.

    Args:
        values: (U, M) one column for each model.
        spreads: (M,) of each model's seeds.
        level: largest p-value that is significant.
        resamples: of the permutation test.
        seed: likewise.

    Returns:
        Columns of each group, best first; equal means keep the order of the columns.
    """
    means = [column.mean() for column in np.ascontiguousarray(values.T)]
    rest = sorted(range(len(means)), key=lambda column: -means[column])
    groups = []
    while rest:
        best, *others = rest
        of_users, of_seeds = difference_p_values(
            values, best, others, spreads, resamples=resamples, seed=seed
        )
        p_values = holm(np.maximum(of_users, of_seeds))
        alike = {column for column, p in zip(others, p_values, strict=True) if p > level}
        groups.append([best, *(column for column in others if column in alike)])
        rest = [column for column in others if column not in alike]
    return groups


def _count_users(values: Floats) -> int:
    if len(values) == 0:
        raise DataError("no user to resample: significance needs per-user values")
    return len(values)
