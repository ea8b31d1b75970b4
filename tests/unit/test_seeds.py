"""Means and spread over the seeds of one model."""

import numpy as np
import polars as pl
import pytest

from diffrec_core.common.errors import DataError
from diffrec_core.evaluation.seeds import mean_of, mean_per_user, spread_of

SUMMARIES = [
    {
        "users": 2.0,
        "recall@20": value,
        "coverage": {"users": 2, "targets": 7},
        "slices": {"history": [{"slice": "1 to 3", "users": 1, "recall@20": value / 2}]},
    }
    for value in (0.1, 0.2, 0.6)
]


def test_numbers_are_averaged_wherever_they_stand_and_counts_stay_whole() -> None:
    mean = mean_of(SUMMARIES)
    assert mean == {
        "users": 2.0,
        "recall@20": pytest.approx(0.3),
        "coverage": {"users": 2, "targets": 7},
        "slices": {"history": [{"slice": "1 to 3", "users": 1, "recall@20": pytest.approx(0.15)}]},
    }
    assert isinstance(mean["coverage"]["users"], int)


def test_one_seed_stays_as_it_is_and_has_no_spread() -> None:
    assert mean_of(SUMMARIES[:1]) == SUMMARIES[0]
    assert spread_of(SUMMARIES[:1]) == {}


def test_the_spread_is_the_sample_standard_deviation() -> None:
    # deviations -.2, -.1, .3: squares .04 + .01 + .09 = .14, over 2
    assert spread_of(SUMMARIES) == {"users": 0.0, "recall@20": pytest.approx(0.07**0.5)}


def test_a_metric_that_one_seed_lacks_has_no_mean() -> None:
    assert mean_of([{"a": 1.0, "b": 2.0}, {"a": 3.0}]) == {"a": 2.0}
    assert spread_of([{"a": 1.0, "b": 2.0}, {"a": 3.0}]) == {"a": pytest.approx(2**0.5)}


@pytest.mark.parametrize("unlike", [["x", "y"], [[1], [1, 2]]])
def test_what_is_built_differently_has_no_mean(unlike: list[object]) -> None:
    with pytest.raises(DataError, match="evaluated differently"):
        mean_of(unlike)


def test_users_get_the_mean_of_their_values() -> None:
    frames = [pl.DataFrame({"user": [4, 9], "map@5": np.array(v)}) for v in ([0, 1], [0.5, 0])]
    expected = pl.DataFrame({"user": [4, 9], "map@5": [0.25, 0.5]})
    assert mean_per_user(frames).equals(expected)
    assert mean_per_user(frames[:1]) is frames[0]
