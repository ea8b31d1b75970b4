"""Significance: hand-computed cases, full enumeration, SciPy, and simulated truth."""

from itertools import product

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from diffrec_core.common.errors import DataError
from diffrec_core.evaluation.significance import (
    SeedSpread,
    bootstrap_means,
    group_models,
    holm,
    interval,
    permutation_p_values,
    seed_p_value,
)

Floats = NDArray[np.float64]


def p_of(differences: list[float], *, resamples: int = 10_000, seed: int = 0) -> float:
    column = np.array(differences)[:, None]
    return float(permutation_p_values(column, resamples=resamples, seed=seed)[0])


def enumerated(differences: list[float]) -> float:
    """Share of all ways to flip signs whose sum is at least as far from 0."""
    observed = abs(sum(differences))
    sums = [
        abs(sum(sign * value for sign, value in zip(signs, differences, strict=True)))
        for signs in product((1, -1), repeat=len(differences))
    ]
    return sum(value >= observed - 1e-12 for value in sums) / len(sums)


def test_permutation_by_hand() -> None:
    """Of the eight ways to flip 1, 2, 3, two have a sum of 6 or -6; of 1, 1, -1, all have ≥ 1."""
    assert p_of([1.0, 2.0, 3.0]) == 2 / 8
    assert p_of([1.0, 1.0, -1.0]) == 1.0
    assert p_of([2.0]) == 1.0
    assert p_of([0.0, 0.0]) == 1.0


@pytest.mark.parametrize("seed", range(8))
def test_small_samples_are_enumerated(seed: int) -> None:
    rng = np.random.default_rng(seed)
    values = np.round(rng.normal(0.4, 1.0, size=9), 1).tolist()
    assert p_of(values) == enumerated(values)
    assert p_of([*values, 0.0, 0.0], resamples=2**9) == enumerated(values)  # a 0 has no sign
    result = stats.permutation_test(
        (np.array(values),), np.sum, permutation_type="samples", n_resamples=np.inf
    )
    assert p_of(values) == pytest.approx(result.pvalue)


@pytest.mark.parametrize("seed", range(4))
def test_random_flips_estimate_the_enumeration(seed: int) -> None:
    values = np.random.default_rng(seed).normal(0.3, 1.0, size=12).tolist()
    estimate = p_of(values, resamples=4000, seed=seed)  # fewer than the 4096 ways
    exact = enumerated(values)
    error = (exact * (1 - exact) / 4000) ** 0.5
    assert abs(estimate - exact) < 4 * error + 1 / 4000
    assert estimate != exact


def test_many_users_agree_with_the_t_test() -> None:
    rng = np.random.default_rng(1)
    differences = rng.normal(0.02, 0.3, size=(900, 1))
    p = permutation_p_values(differences, resamples=20_000, seed=0)[0]
    assert p == pytest.approx(stats.ttest_1samp(differences[:, 0], 0.0).pvalue, abs=0.012)


def test_p_is_never_0_and_all_columns_share_their_flips() -> None:
    sure = np.full((500, 1), 0.1)
    assert permutation_p_values(sure, resamples=999, seed=0) == 1 / 1000
    one = np.random.default_rng(2).normal(size=(200, 1))
    both = permutation_p_values(np.hstack([one, one, sure[:200]]), resamples=500, seed=3)
    assert both[0] == both[1] == permutation_p_values(one, resamples=500, seed=3)[0]


def test_p_is_uniform_where_there_is_no_difference() -> None:
    """A test at level α rejects a true hypothesis in a share α of all samples."""
    samples = np.random.default_rng(7).standard_t(4, size=(60, 2000))
    p_values = permutation_p_values(samples, resamples=999, seed=1)
    for level in (0.05, 0.2, 0.5):
        assert (p_values <= level).mean() == pytest.approx(
            level, abs=4 * (level * (1 - level) / 2000) ** 0.5
        )


@pytest.mark.parametrize("entries", [1, 64, 1000, 10**6])
def test_chunks_change_nothing(entries: int) -> None:
    values = np.random.default_rng(3).normal(size=(70, 3))
    for function in (bootstrap_means, permutation_p_values):
        whole = function(values, resamples=300, seed=5)
        parts = function(values, resamples=300, seed=5, entries_at_a_time=entries)
        np.testing.assert_allclose(parts, whole, rtol=1e-12, atol=1e-15)
    few = values[:7]  # all ways to flip them are counted
    np.testing.assert_array_equal(
        permutation_p_values(few, resamples=300, seed=5, entries_at_a_time=entries),
        permutation_p_values(few, resamples=300, seed=5),
    )


def test_seeds_matter_and_repeat() -> None:
    values = np.random.default_rng(3).normal(size=(40, 1))
    first, again, other = (bootstrap_means(values, resamples=50, seed=s) for s in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_bootstrap_draws_users_with_replacement_alike_for_all_models() -> None:
    """Two users: means are those of (0, 0), (0, 1) and (1, 1), as 1 : 2 : 1."""
    values = np.array([[0.0, 10.0], [1.0, 20.0]])
    means = bootstrap_means(values, resamples=8000, seed=0)
    shares = [np.isclose(means[:, 0], value).mean() for value in (0.0, 0.5, 1.0)]
    assert shares == pytest.approx([0.25, 0.5, 0.25], abs=0.02)
    np.testing.assert_allclose(means[:, 1], 10 + 10 * means[:, 0])


def test_interval_by_hand_and_by_scipy() -> None:
    assert interval(np.arange(101.0)[:, None], 0.1)[:, 0].tolist() == [5.0, 95.0]
    sample = np.random.default_rng(4).gamma(1.0, size=300)
    ends = interval(bootstrap_means(sample[:, None], resamples=20_000, seed=1), 0.05)[:, 0]
    theirs = stats.bootstrap(
        (sample,), np.mean, method="percentile", n_resamples=20_000, rng=2
    ).confidence_interval
    assert ends == pytest.approx([theirs.low, theirs.high], abs=0.006)


def test_interval_covers_the_truth_as_often_as_it_says() -> None:
    """Recall-like values: many zeros, the rest between 0 and 1; a difference of paired models."""
    rng = np.random.default_rng(11)
    covered = {"mean": 0, "difference": 0}
    rounds, n_users = 400, 300
    for turn in range(rounds):
        shared = rng.beta(1.0, 3.0, size=n_users)
        values = np.stack(
            [np.where(rng.random(n_users) < chance, shared, 0.0) for chance in (0.5, 0.6)], axis=1
        )
        means = bootstrap_means(values, resamples=600, seed=turn)
        low, high = interval(means, 0.1)[:, 0]
        covered["mean"] += low <= 0.5 * 0.25 <= high
        low, high = interval(means[:, [1]] - means[:, [0]], 0.1)[:, 0]
        covered["difference"] += low <= 0.1 * 0.25 <= high
    for count in covered.values():
        assert count / rounds == pytest.approx(0.9, abs=4 * (0.9 * 0.1 / rounds) ** 0.5)


def test_holm_by_hand() -> None:
    """Sorted .01 .02 .03 .04: times 4, 3, 2, 1 they are .04 .06 .06 .04, of which none may fall."""
    np.testing.assert_allclose(holm([0.04, 0.01, 0.03, 0.02]), [0.06, 0.04, 0.06, 0.06])
    assert holm([0.7, 0.6]).tolist() == [1.0, 1.0]
    assert holm([]).tolist() == []


@pytest.mark.parametrize("counts", [(3, 3), (2, 5), (10, 4)])
def test_seeds_are_tested_as_scipy_tests_them(counts: tuple[int, int]) -> None:
    rng = np.random.default_rng(sum(counts))
    one, other = (rng.normal(place, 0.1 + place, size=n) for place, n in enumerate(counts))
    spreads = [SeedSpread(float(values.std(ddof=1)), len(values)) for values in (one, other)]
    found = seed_p_value(float(one.mean() - other.mean()), *spreads)
    assert found == pytest.approx(stats.ttest_ind(one, other, equal_var=False).pvalue)
    assert found == seed_p_value(float(other.mean() - one.mean()), *spreads[::-1])
    # against what has no chance in it, one sample against a number
    against = seed_p_value(float(one.mean() - 0.3), spreads[0], SeedSpread(seeds=3))
    assert against == pytest.approx(stats.ttest_1samp(one, 0.3).pvalue)


def models(*means: float, users: int = 400, spread: float = 0.2, seed: int = 0) -> Floats:
    """Paired models: users differ by much, models by a constant and a little noise."""
    rng = np.random.default_rng(seed)
    users_level = rng.normal(0.0, 1.0, size=(users, 1))
    noise = rng.normal(0.0, spread, size=(users, len(means)))
    return users_level + noise - noise.mean(axis=0) + np.array(means)


def groups_of(values: Floats, level: float = 0.05) -> list[list[int]]:
    once = [SeedSpread()] * values.shape[1]
    return group_models(values, once, level=level, resamples=2000, seed=1)


def test_planted_groups_are_found() -> None:
    """Differences of .002 are within the noise of .014, those of .1 and .3 far beyond it."""
    values = models(0.3, 0.5, 0.502, 0.301, 0.0)
    assert groups_of(values) == [[2, 1], [3, 0], [4]]


def test_pairing_tells_apart_what_intervals_of_means_do_not() -> None:
    values = models(0.5, 0.55)
    low, high = interval(bootstrap_means(values, resamples=2000, seed=0), 0.05)
    assert low[1] < high[0]  # the intervals overlap
    assert groups_of(values) == [[1], [0]]


def test_a_model_is_alike_with_itself_and_equal_means_keep_their_order() -> None:
    value = models(0.5)
    assert groups_of(np.hstack([value, value, value])) == [[0, 1, 2]]
    assert groups_of(value) == [[0]]


def test_a_noisy_model_may_stand_with_the_best_while_a_better_one_does_not() -> None:
    rng = np.random.default_rng(0)
    base = rng.normal(size=(300, 1))
    noise = rng.normal(0.0, 5.0, size=(300, 1))
    noisy = base - 0.2 + noise - noise.mean()
    steady = base - 0.1
    assert groups_of(np.hstack([base, steady, noisy])) == [[0, 2], [1]]


def test_without_users_there_is_nothing_to_resample() -> None:
    for function in (bootstrap_means, permutation_p_values):
        with pytest.raises(DataError, match="no user to resample"):
            function(np.empty((0, 2)), resamples=100, seed=0)
