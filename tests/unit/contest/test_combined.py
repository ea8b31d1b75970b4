"""Nights that are put together until there are users enough."""

from dataclasses import replace

import numpy as np

from diffrec_core.contest.combined import combine
from diffrec_core.contest.config import ContestConfig
from diffrec_core.contest.replay import replay
from tests.ledgers import day, night_of, simulated

CONFIG = ContestConfig()


def test_small_nights_are_put_together() -> None:
    small = simulated(12, {"ease": 0.01}, users=20)
    rounds, left_out = combine(small, CONFIG)
    assert [(one.night, one.users) for one in rounds] == [(day(n), 60) for n in (2, 5, 8, 11)]
    assert left_out == ()
    verdict = replay(small[:11], CONFIG)
    assert verdict.standings[0].nights == 3
    assert [one.reason for one in verdict.left_out] == [
        "40 users so far, contest.min_users = 50 are needed"
    ] * 2


def test_a_round_is_what_its_users_would_be_on_one_night() -> None:
    rng = np.random.default_rng(0)
    values = {recipe: rng.random(60) for recipe in ("champion", "ease", "ials")}
    parts = [slice(0, 10), slice(10, 35), slice(35, 60)]
    nights = [
        night_of(number, {recipe: array[part] for recipe, array in values.items()})
        for number, part in enumerate(parts)
    ]
    columns = {"champion": 0, "ease": 1, "ials": 2}
    (found,), _ = combine(nights, CONFIG)
    (whole,), _ = combine([night_of(0, values)], CONFIG)
    one, other = found.as_round(columns), whole.as_round(columns)
    np.testing.assert_allclose(one.values, other.values)
    np.testing.assert_allclose(one.within, other.within)
    assert one.users == other.users == 60


def test_a_round_ends_when_the_contestants_change() -> None:
    nights = [*simulated(1, {"ease": 0.0}, users=30), *simulated(3, {"ials": 0.0}, users=30)[1:]]
    rounds, left_out = combine(nights, CONFIG)
    assert [one.night for one in rounds] == [day(2)]
    assert left_out[0].reason == (
        "30 users when the contestants changed, contest.min_users = 50 are needed"
    )


def test_nights_of_two_kinds_are_not_put_together() -> None:
    """What a back-test has left over does not turn the first real night into no evidence."""
    small = simulated(3, {"ease": 0.01}, users=40)
    nights = [replace(small[0], counts=False), *small[1:]]
    rounds, left_out = combine(nights, CONFIG)
    assert [(len(one.nights), one.nights[-1].counts) for one in rounds] == [(2, True)]
    assert [one.night for one in left_out] == [day(0)]
