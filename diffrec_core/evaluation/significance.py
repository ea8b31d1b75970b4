"""Significance of differences between models: paired resampling over users, corrected.

    bootstrap     users are drawn with replacement, the same draws for every model; the interval
                  lies between the quantiles of the resampled means (percentile interval)
    permutation   under the null hypothesis the two models are exchangeable for every user: signs
                  of the users' differences are flipped, two-sided
    seeds         another seed of training would have given other means: Welch's t-test, of the
                  standard deviations between the seeds; two-sided
    Holm          bounds the chance of any false alarm among several tests
    groups        the best model and all that do not differ from it significantly; then the best
                  of the rest, and so on

Chance has two sources, who the users are and which seeds the models were trained from. A difference
must be more than either can make: the larger of both p-values counts (an intersection-union test,
Berger 1982). The seed of a model that was trained once says nothing.

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
"""Resamples × users that are in memory at once; does not change results."""

_ROUNDING = 1e-12
"""Sums that differ by less, relative to the sum of what they are made of, count as equal."""


@dataclass(frozen=True, slots=True)
class SeedSpread:
    """Spread of a model's metric over the seeds that it was trained from.

    Attributes:
        sd: sample standard deviation; 0 for one seed or a deterministic model.
        seeds: their number.
    """

    sd: float = 0.0
    seeds: int = 1


def bootstrap_means(
    values: Floats, *, resamples: int, seed: int, entries_at_a_time: int = _ENTRIES_AT_A_TIME
) -> Floats:
    """Mean of each column over users drawn with replacement, the same users for all columns.

    Args:
        values: (U, M) one column for each model, or for each model and metric.
        resamples: R.
        seed: of the draws.
        entries_at_a_time: bounds memory.

    Returns:
        (R, M).

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
    """The (1 - level) percentile interval of resampled means.

    Args:
        resampled: (R, M), or differences of two such columns.
        level: share of the resamples outside, half of it on each side.

    Returns:
        (2, M) lower and upper ends.
    """
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

    Where all 2^n ways of flipping n users' signs are no more than `resamples`, they are all
    counted, and p is exact: the share of them whose |mean| is at least the one observed.
    Otherwise that share is estimated as (1 + count) / (1 + resamples), which is never 0.

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
    # a difference of 0 is 0 with either sign: such users change no sum
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
    """Every way to flip signs: (rows, U) of 0 and 1, a chunk at a time."""
    for start in range(0, 2**n_users, rows):
        numbers = np.arange(start, min(start + rows, 2**n_users))
        yield (numbers[:, None] >> np.arange(n_users) & 1).astype(np.float64)


def _flips(n_users: int, resamples: int, rows: int, seed: int) -> Iterator[Floats]:
    """Ways to flip signs drawn at random: (rows, U) of 0 and 1, a chunk at a time."""
    rng = generator(seed, "permutation")
    words = -(-n_users // 64)
    for start in range(0, resamples, rows):
        size = (min(rows, resamples - start), words)
        drawn = rng.integers(2**64 - 1, size=size, dtype=np.uint64, endpoint=True)
        yield np.unpackbits(drawn.view(np.uint8), axis=1, count=n_users).astype(np.float64)


def seed_p_value(difference: float, one: SeedSpread, other: SeedSpread) -> float:
    """Two-sided Welch test of "the means over all seeds are equal".

    A model without spread is taken as known exactly; of two such, any difference is significant
    over seeds.

    Args:
        difference: of the two means over the seeds.
        one: of one model.
        other: of the other.

    Returns:
        p, between 0 and 1.

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
    """Adjust p-values of a family of tests: reject where the adjusted one is at most the level.

    The smallest of m is multiplied by m, the next by m - 1, and so on; none may be less than one
    before it, nor more than 1.

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
    """Compare models with one of them: tests over users and over seeds.

    Args:
        values: (U, M) one column for each model, means over its seeds.
        own: the column of that one.
        others: (N,) the columns of the others.
        spreads: (M,) of each model's seeds.
        resamples: of the permutation test.
        seed: likewise.

    Returns:
        (N,) p-values of the permutation test over users and (N,) of Welch's test over seeds.

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
    """Group models with the best among them where they do not differ significantly.

    The first group is the model with the highest mean and every other whose difference to it is
    not significant: Holm's correction over all models compared with that one.
    The next group is made likewise of the rest. Within a group, and so between groups, "not told
    apart" is not "equal"; and a model may stand in a later group than one with a lower mean, whose
    users vary more.

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
