"""What holds of a contest whatever its nights are."""

import random
from collections.abc import Callable

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from diffrec_core.contest.advantage import advantage
from diffrec_core.contest.config import ContestConfig
from diffrec_core.contest.evidence import LEAST_NIGHTS, Floats
from diffrec_core.contest.ledger import line_of, parse_nights
from diffrec_core.contest.night import Night
from diffrec_core.contest.replay import replay
from diffrec_core.contest.rounds import Contest, Round
from diffrec_core.contest.verdict import verdict_json
from tests.ledgers import night_of
from tests.oracle.strategies import effort

CONFIG = ContestConfig(min_users=2, horizon_nights=14)
METRIC_VALUES = st.sampled_from([0.0, 0.0, 0.1, 0.25, 1 / 3, 0.5, 1.0])


@st.composite
def ledgers(draw: st.DrawFn, *, most: int = 16) -> list[Night]:
    """Nights of a champion and challengers, of which some come late, are lost or do not count."""
    nights = []
    for number in range(draw(st.integers(1, most))):
        users = draw(st.integers(1, 5))
        others = draw(st.lists(st.sampled_from("abc"), unique=True, max_size=3))
        row = st.lists(METRIC_VALUES, min_size=users, max_size=users)
        values = {recipe: draw(row) for recipe in ["champion", *others]}
        nights.append(
            night_of(
                number,
                values,
                champion=draw(st.sampled_from(["champion", *others])),
                counts=draw(st.sampled_from([True, True, False])),
                left_out=draw(st.sampled_from(["", "", "", "rows"])),
            )
        )
    return nights


@effort(25)
@given(ledgers(), st.randoms(use_true_random=False))
def test_order_and_repetition_of_lines_change_no_decision(
    nights: list[Night], chance: random.Random
) -> None:
    lines = [line_of(night) for night in nights]
    shuffled = [*lines, *chance.sample(lines, len(lines) // 2)]
    chance.shuffle(shuffled)
    read = parse_nights("".join(shuffled), "file")
    assert read == tuple(nights)
    for night in nights:
        expected = verdict_json(replay(nights, CONFIG, night.night))
        assert verdict_json(replay(read, CONFIG, night.night)) == expected
        shorter = [other for other in nights if other.night <= night.night]
        assert verdict_json(replay(shorter, CONFIG)) == expected


@effort(40)
@given(ledgers(most=LEAST_NIGHTS - 1))
def test_nothing_switches_before_the_ninth_night(nights: list[Night]) -> None:
    for night in nights:
        assert replay(nights, CONFIG, night.night).switch_to is None


@st.composite
def differences(draw: st.DrawFn, *, least: int = 1, most: int = 40) -> Floats:
    """(T, M) values of recipes that differ by anything, however absurd."""
    nights, recipes = draw(st.integers(least, most)), draw(st.integers(2, 4))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    size = draw(st.sampled_from([0.0, 1e-3, 0.02, 0.3, 50.0]))
    tails = draw(st.sampled_from([0.0, 0.0, 100.0]))
    noise = rng.standard_normal((nights, recipes))
    return 1.0 + size * noise * (1.0 + tails * (rng.random((nights, recipes)) < 0.05))


def rounds(values: Floats, *, variance: float = 0.04, users: int = 100) -> list[Round]:
    """A contest of these values, all of level 1."""
    within = np.full((1, values.shape[1], values.shape[1]), variance * (users - 1))
    return [Round(row[None], np.ones_like(row[None]), within, users) for row in values]


def evidence_of(nights: list[Round], config: ContestConfig = CONFIG) -> Floats:
    """(T, M) without switches."""
    contest = Contest(np.array([0]), nights[0].values.shape[1], config)
    return np.concatenate([contest.judge(night) for night in nights])


@effort(60)
@given(st.integers(1, 60), st.integers(2, 4), st.sampled_from([0.0, 0.04, 1e6]), st.booleans())
def test_equal_recipes_never_diverge(
    count: int, recipes: int, variance: float, changing: bool
) -> None:
    level = np.linspace(0.5, 1.5, count) if changing else np.ones(count)
    values = np.repeat(level[:, None], recipes, axis=1)
    evidence = evidence_of(rounds(values, variance=variance))
    np.testing.assert_array_equal(evidence[:, 1:], 0.0)
    contest = Contest(np.array([0]), recipes, CONFIG)
    for night in rounds(values, variance=variance):
        assert contest.winners(contest.judge(night)).tolist() == [0]


@effort(60)
@given(differences(least=2), st.data())
def test_a_single_night_cannot_switch(values: Floats, data: st.DataObject) -> None:
    """All nights are equal but for one, on which any recipe may win by anything."""
    which = data.draw(st.integers(0, len(values) - 1))
    calm = np.ones_like(values)
    calm[which] = values[which] * data.draw(st.sampled_from([1.0, 1e6]))
    contest = Contest(np.array([0]), values.shape[1], CONFIG)
    for night in rounds(calm):
        evidence = contest.judge(night)
        assert contest.winners(evidence).tolist() == [0]
        assert evidence[0, 1:].max() < np.log(1.5)


@effort(60)
@given(differences())
def test_signs_are_symmetric(values: Floats) -> None:
    """Of the mirrored nights, the evidence for better is that for worse: the same sums, negated."""
    contest, mirrored = (Contest(np.array([0]), values.shape[1], CONFIG) for _ in range(2))
    for night, other in zip(rounds(values), rounds(2.0 - values), strict=True):
        contest.judge(night)
        mirrored.judge(other)
    np.testing.assert_allclose(contest.scales.newest, mirrored.scales.newest, rtol=1e-9)
    size = np.abs(values).max()
    np.testing.assert_allclose(
        contest.differences.newest, -mirrored.differences.newest, atol=1e-12 * size
    )
    np.testing.assert_allclose(contest.memory, mirrored.memory, rtol=1e-6)


@effort(60)
@given(differences(), st.sampled_from([1e-3, 0.5, 40.0]))
def test_the_unit_of_the_metric_does_not_matter(values: Floats, unit: float) -> None:
    scaled = [
        Round(one.values * unit, one.levels * unit, one.within * unit**2, one.users)
        for one in rounds(values)
    ]
    np.testing.assert_allclose(
        evidence_of(scaled)[:, 1:], evidence_of(rounds(values))[:, 1:], atol=1e-6
    )


@effort(60)
@given(differences(least=9))
def test_contests_side_by_side_are_contests_alone(values: Floats) -> None:
    pairs = zip(rounds(values), rounds(values[::-1]), strict=True)
    both = [
        Round(np.concatenate([a.values, b.values]), a.levels, a.within, a.users) for a, b in pairs
    ]
    contest = Contest(np.array([0, 0]), values.shape[1], CONFIG)
    together = np.stack([contest.judge(night) for night in both])
    np.testing.assert_array_equal(together[:, 0], evidence_of(rounds(values)))
    np.testing.assert_array_equal(together[:, 1], evidence_of(rounds(values[::-1])))


@effort(80)
@given(differences(least=9), st.floats(0.001, 0.1), st.floats(-0.2, 0.2))
def test_intervals_hold_their_mean_nest_and_move_with_the_nights(
    values: Floats, scale: float, shift: float
) -> None:
    d = (values[:, 1] - values[:, 0]).clip(-1.0, 1.0)
    s = np.full(len(d), scale)
    wide, narrow = advantage(d, s, odds=60.0), advantage(d, s, odds=20.0)
    moved, mirrored = advantage(d + shift, s, odds=20.0), advantage(-d, s, odds=20.0)
    assert wide is not None
    assert narrow is not None
    assert moved is not None
    assert mirrored is not None
    assert at_least(narrow.lower, wide.lower)
    assert at_least(wide.upper, narrow.upper, none=np.inf)
    assert at_least(narrow.mean, narrow.lower)
    assert at_least(narrow.upper, narrow.mean, none=np.inf)
    for end in ("lower", "upper"):
        before, after = getattr(narrow, end), getattr(moved, end)
        assert (before is None) == (after is None)
        assert before is None or abs(after - before - shift) < 1e-6
    assert near(mirrored.lower, narrow.upper)
    assert near(mirrored.upper, narrow.lower)


def at_least(one: float | None, other: float | None, none: float = -np.inf) -> bool:
    """Compare ends; None is without a bound."""
    first, second = (none if end is None else end for end in (one, other))
    return first >= second - 1e-6


def near(one: float | None, other: float | None) -> bool:
    """Equal but for the sign."""
    return one is other is None or (
        one is not None and other is not None and abs(one + other) < 1e-6
    )


@effort(60)
@given(differences(least=2), st.floats(0.0, 0.05), st.floats(0.0, 0.05))
def test_a_larger_margin_leaves_smaller_differences(
    values: Floats, small: float, more: float
) -> None:
    def last(margin: float) -> Callable[[str], Floats]:
        contest = Contest(np.array([0]), values.shape[1], ContestConfig(margin=margin))
        for night in rounds(values):
            contest.judge(night)
        return lambda name: np.asarray(getattr(contest, name).newest[:, 0, 1:])

    one, other = last(small), last(small + more)
    known = (one("scales") > 0) & (other("scales") > 0)
    assert (other("differences") <= one("differences") + 1e-12)[known].all()
