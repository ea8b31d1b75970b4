"""What holds of significance whatever the data are."""

import itertools

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from diffrec_core.evaluation.significance import (
    SeedSpread,
    bootstrap_means,
    group_models,
    holm,
    interval,
    permutation_p_values,
    seed_p_value,
)
from tests.oracle.strategies import effort

Floats = NDArray[np.float64]


@st.composite
def tables(draw: st.DrawFn, *, least_models: int = 2) -> Floats:
    """(U, M) of recall-like values, with ties and zeros."""
    users, models = draw(st.integers(1, 25)), draw(st.integers(least_models, 4))
    values = st.sampled_from([0.0, 0.0, 0.1, 0.25, 1 / 3, 0.5, 1.0])
    row = st.lists(values, min_size=models, max_size=models)
    return np.array(draw(st.lists(row, min_size=users, max_size=users)))


@effort(80)
@given(tables(), st.integers(0, 99))
def test_differences_are_antisymmetric(values: Floats, seed: int) -> None:
    a, b = values[:, [0]], values[:, [1]]
    there = permutation_p_values(a - b, resamples=200, seed=seed)
    back = permutation_p_values(b - a, resamples=200, seed=seed)
    assert there == back
    means = bootstrap_means(values, resamples=100, seed=seed)
    low, high = interval(means[:, [0]] - means[:, [1]], 0.1)
    other_low, other_high = interval(means[:, [1]] - means[:, [0]], 0.1)
    np.testing.assert_allclose([low, high], [-other_high, -other_low], atol=1e-12)


@effort(80)
@given(tables(), st.integers(0, 99), st.integers(1, 300))
def test_p_is_a_probability_and_never_0(values: Floats, seed: int, resamples: int) -> None:
    p_values = permutation_p_values(values, resamples=resamples, seed=seed)
    assert ((p_values > 0.0) & (p_values <= 1.0)).all()
    scaled = permutation_p_values(values * 4.0, resamples=resamples, seed=seed)
    np.testing.assert_array_equal(p_values, scaled)


@effort(80)
@given(tables(), st.integers(0, 99))
def test_intervals_are_nested_and_within_the_values(values: Floats, seed: int) -> None:
    means = bootstrap_means(values, resamples=200, seed=seed)
    wide, narrow = interval(means, 0.02), interval(means, 0.4)
    assert (values.min(axis=0) - 1e-12 <= wide[0]).all()
    assert (wide[0] <= narrow[0]).all()
    assert (narrow[0] <= narrow[1]).all()
    assert (narrow[1] <= wide[1]).all()
    assert (wide[1] <= values.max(axis=0) + 1e-12).all()


@effort(150)
@given(st.lists(st.floats(1e-6, 1.0), max_size=8), st.randoms(use_true_random=False))
def test_holm_is_monotone_and_between_none_and_bonferroni(
    p_values: list[float], random: "np.random.Generator"
) -> None:
    adjusted = holm(p_values)
    raw = np.array(p_values)
    assert (adjusted >= raw).all()
    assert (adjusted <= np.minimum(raw * len(raw), 1.0) + 1e-15).all()
    order = np.argsort(raw, kind="stable")
    assert (np.diff(adjusted[order]) >= 0).all()
    shuffled = list(range(len(raw)))
    random.shuffle(shuffled)
    np.testing.assert_array_equal(holm(raw[shuffled]), adjusted[shuffled])


@effort(60)
@given(
    tables(least_models=1),
    st.integers(0, 99),
    st.sampled_from([0.01, 0.05, 0.3]),
    st.sampled_from([0.0, 1e-3, 1.0]),
)
def test_groups_divide_the_models_by_their_best(
    values: Floats, seed: int, level: float, sd: float
) -> None:
    spread = SeedSpread(sd, seeds=3)
    spreads = [spread] * values.shape[1]
    groups = group_models(values, spreads, level=level, resamples=128, seed=seed)
    means = [column.mean() for column in np.ascontiguousarray(values.T)]
    assert sorted(model for group in groups for model in group) == list(range(len(means)))
    assert means[groups[0][0]] == max(means)
    for group in groups:
        assert [means[m] for m in group] == sorted((means[m] for m in group), reverse=True)
    for before, after in itertools.pairwise(groups):
        assert means[before[0]] >= means[after[0]]
        # the next group's best was told from this group's best, even without correction
        difference = values[:, [before[0]]] - values[:, [after[0]]]
        assert permutation_p_values(difference, resamples=128, seed=seed)[0] <= level
        assert seed_p_value(float(difference.mean()), spread, spread) <= level
