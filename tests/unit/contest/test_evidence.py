"""The evidence, against integration of the mixture and against what was computed by hand."""

import math

import numpy as np
import pytest
from scipy import integrate

from diffrec_core.contest.config import ContestConfig
from diffrec_core.contest.evidence import (
    CLIP,
    LEAST_NIGHTS,
    RHO,
    Floats,
    log_evidence,
    memory,
    pairs_of,
    standardised,
    threshold,
)
from diffrec_core.contest.rounds import Contest, Round
from diffrec_core.contest.window import Window

LEVEL = 1.0
CONFIG = ContestConfig()


def mixture(sums: float, squares: float) -> float:
    """E by definition: λ is half-normal with variance 1/ρ before it is cut."""

    def integrand(rate: float) -> float:
        density = 2.0 * math.sqrt(RHO / (2.0 * math.pi)) * math.exp(-RHO * rate**2 / 2.0)
        return density * math.exp(rate * sums - rate**2 * squares / 2.0)

    value, _ = integrate.quad(integrand, 0.0, 30.0, limit=500, points=[0.1, 0.5, 1.0, 3.0])
    return float(value)


@pytest.mark.parametrize(
    ("sums", "squares"), [(0.0, 0.0), (5.0, 9.0), (-7.0, 12.0), (27.0, 81.0), (30.0, 60.0)]
)
def test_evidence_is_the_integral_of_the_mixture(sums: float, squares: float) -> None:
    found = float(np.exp(log_evidence(np.array(sums), np.array(squares))))
    assert found == pytest.approx(mixture(sums, squares), rel=1e-7)


def test_a_fair_coin_loses_nothing_and_gains_nothing_in_the_mean() -> None:
    """Over all signs of nights, the mean of E is at most 1; and nearly 1 if nights are small."""
    for sizes in ([0.1] * 10, [0.5, 3.0, 1.0, 0.2, 2.0], [3.0] * 12):
        x = np.array(sizes)
        signs = 2.0 * (np.arange(2 ** len(x))[:, None] >> np.arange(len(x)) & 1) - 1.0
        squares = np.full(len(signs), (x * x).sum())
        mean = np.exp(log_evidence(signs @ x, squares)).mean()
        assert mean <= 1.0
    assert np.exp(log_evidence(np.array([0.1, -0.1]), np.array([0.01, 0.01]))).mean() > 0.99


def test_standardised_differences_are_cut_and_0_without_a_scale() -> None:
    d, s = np.array([0.1, -5.0, 5.0, 0.3]), np.array([0.1, 1.0, 1.0, 0.0])
    np.testing.assert_array_equal(standardised(d, s), [1.0, -CLIP, CLIP, 0.0])


def test_more_than_three_challengers_need_more() -> None:
    assert [threshold(CONFIG, n) for n in (1, 3, 4, 6)] == pytest.approx([20, 20, 80 / 3, 40])


def round_of(*values: float, users: int = 100, variance: float = 0.0, counts: bool = True) -> Round:
    """One contest; every pair has the same variance between users."""
    row = np.array([values])
    within = np.full((1, len(values), len(values)), variance * (users - 1))
    return Round(row, np.full_like(row, LEVEL), within, users, counts)


def test_three_nights_by_hand() -> None:
    """Level 1: τ² begins with (2 %)² = .0004, five times; V / N = .04 / 100 = .0004."""
    contest = Contest(np.array([0]), 2, CONFIG)
    # the first night tells the variance between users, and is no evidence
    assert contest.judge(round_of(1.0, 1.05, variance=0.04))[0, 1] == 0.0
    # s² = .0004 + .0004 = .0008; .01² exceeds .0004 by -.0003
    first = 0.01 / math.sqrt(0.0008)
    evidence = contest.judge(round_of(1.0, 1.01, variance=0.04))[0, 1]
    assert math.exp(evidence) == pytest.approx(mixture(first, first**2), rel=1e-7)
    # τ² = (5 · .0004 - .0003) / 6; the difference is cut at three scales
    scale = math.sqrt(0.0004 + 0.0017 / 6)
    evidence = contest.judge(round_of(1.0, 1.2, variance=0.04))[0, 1]
    assert math.exp(evidence) == pytest.approx(mixture(first + 3.0, first**2 + 9.0), rel=1e-7)
    # and what exceeds three scales does not count as variance of nights either
    tau2 = (0.0017 + 9 * scale**2 - 0.0004) / 7
    assert contest.next_scales(100)[0, 1] == pytest.approx(math.sqrt(0.0004 + tau2))
    # more users: a smaller scale
    assert contest.next_scales(400)[0, 1] == pytest.approx(math.sqrt(0.0001 + tau2))
    assert contest.nights.tolist() == [[0, 3]]


def test_the_nights_own_users_do_not_scale_it() -> None:
    evidence = []
    for variance in (0.04, 4.0):
        contest = Contest(np.array([0]), 2, CONFIG)
        contest.judge(round_of(1.0, 1.0, variance=0.04))
        evidence.append(contest.judge(round_of(1.0, 1.02, variance=variance))[0, 1])
    assert evidence[0] == evidence[1]


def test_the_margin_is_taken_off() -> None:
    with_margin = Contest(np.array([0]), 2, ContestConfig(margin=0.01))
    without = Contest(np.array([0]), 2, CONFIG)
    for _ in range(5):
        shifted = with_margin.judge(round_of(1.0, 1.03, variance=0.04))
        plain = without.judge(round_of(1.0, 1.02, variance=0.04))
    assert shifted[0, 1] == pytest.approx(plain[0, 1])


def test_nights_before_the_horizon_are_forgotten() -> None:
    short = ContestConfig(horizon_nights=9)
    long, fresh = Contest(np.array([0]), 2, short), Contest(np.array([0]), 2, short)
    for number in range(40):
        after = long.judge(round_of(1.0, 1.05 if number < 20 else 1.001, variance=0.04))
    for _ in range(20):
        expected = fresh.judge(round_of(1.0, 1.001, variance=0.04))
    assert after[0, 1] == pytest.approx(expected[0, 1])


def test_nights_that_do_not_count_tell_the_spread_alone() -> None:
    contest = Contest(np.array([0]), 2, CONFIG)
    for _ in range(30):
        evidence = contest.judge(round_of(1.0, 1.05, variance=0.04, counts=False))
    assert evidence[0, 1] == 0.0
    assert contest.nights.max() == 0
    assert contest.winners(evidence).tolist() == [0]
    tau = math.sqrt(contest.next_scales(100)[0, 1] ** 2 - 0.0004)
    assert tau == pytest.approx(0.05, abs=0.01)


def test_a_switch_starts_all_sums_anew_but_knows_the_users() -> None:
    contest = Contest(np.array([0]), 3, CONFIG)
    for _ in range(12):
        evidence = contest.judge(round_of(1.0, 1.05, 1.0, variance=0.04))
    assert contest.winners(evidence).tolist() == [1]
    contest.crown(np.array([1]))
    assert contest.evidence().tolist() == [[-np.inf] * 3]
    assert contest.nights.max() == 0
    # τ² is back at its beginning, V is that of the pair, whoever was champion
    tau2 = (0.02 * LEVEL) ** 2
    np.testing.assert_allclose(contest.next_scales(100)[0, [0, 2]], math.sqrt(0.0004 + tau2))
    evidence = contest.judge(round_of(1.0, 1.0, 1.0, variance=0.04))
    assert evidence[0].tolist() == [0.0, -np.inf, 0.0]


def test_recipes_that_were_not_measured_cannot_win() -> None:
    contest = Contest(np.array([0]), 2, CONFIG)
    for _ in range(12):
        contest.judge(round_of(1.0, 1.05, variance=0.04))
    evidence = contest.judge(round_of(1.0, np.nan, variance=0.04))
    assert evidence.tolist() == [[-np.inf, -np.inf]]
    assert contest.winners(evidence).tolist() == [0]
    assert math.exp(contest.judge(round_of(1.0, 1.05, variance=0.04))[0, 1]) > 20.0


def test_the_largest_evidence_wins_unless_a_guard_keeps_it_back() -> None:
    contest = Contest(np.array([0]), 3, CONFIG)
    for _ in range(12):
        evidence = contest.judge(round_of(1.0, 1.03, 1.05, variance=0.04))
    assert contest.winners(evidence).tolist() == [2]
    assert contest.winners(evidence, np.array([True, True, False])).tolist() == [1]
    assert contest.winners(evidence, np.array([True, False, False])).tolist() == [0]


def test_eight_equal_nights_can_be_evidence_enough_and_still_do_not_switch() -> None:
    """At x = √ρ eight nights reach 23 : 1, more than at x = 3; so the ninth is asked for."""
    x = np.full(8, RHO**0.5)
    assert np.exp(log_evidence(x.sum(), (x * x).sum())) > 20.0
    assert np.exp(log_evidence(np.array(24.0), np.array(72.0))) < 20.0
    contest = Contest(np.array([0]), 2, CONFIG, with_memory=False)
    for _ in range(30):  # the spread is known
        contest.judge(round_of(1.0, 1.0, variance=0.04, counts=False))
    for number in range(1, LEAST_NIGHTS + 1):
        scale = float(contest.next_scales(100)[0, 1])
        evidence = contest.judge(round_of(1.0, 1.0 + scale * RHO**0.5, variance=0.04))
        assert contest.winners(evidence).tolist() == [int(number >= LEAST_NIGHTS)], number
        assert (math.exp(evidence[0, 1]) >= 20.0) == (number >= 8)


def memory_by_loops(differences: Floats) -> float:
    """Of (T, M, M): the variance of week means and of nights, pooled over the pairs."""
    weeks, n = len(differences) // 7, differences.shape[1]
    of_weeks, of_nights = [], []
    for one in range(n):
        for other in range(n):
            if one != other:
                pair = differences[len(differences) - 7 * weeks :, one, other]
                of_weeks.append(np.var(pair.reshape(weeks, 7).mean(axis=1), ddof=1))
                of_nights.append(np.var(pair, ddof=1))
    return float(max(1.0, 7 * np.mean(of_weeks) / np.mean(of_nights)))


@pytest.mark.parametrize("keep", [0.0, 0.8])
def test_memory_is_the_variance_of_weeks_by_that_of_nights(keep: float) -> None:
    rng, nights = np.random.default_rng(0), [np.zeros(3)]
    for _ in range(59):
        nights.append(keep * nights[-1] + rng.standard_normal(3))
    values = np.array(nights)
    differences = values[:, :, None] - values[:, None, :]
    found = memory(pairs_of(values[:, None]))
    assert found.tolist() == pytest.approx([memory_by_loops(differences)])
    assert (found[0] > 2.0) == (keep > 0.0)
    assert memory(pairs_of(values[:27, None])).tolist() == [1.0]
    # a recipe that came late has no weeks yet, and changes nothing
    late = np.concatenate([values, np.full((60, 1), np.nan)], axis=1)
    assert memory(pairs_of(late[:, None])).tolist() == pytest.approx(found.tolist())


def test_nights_with_memory_are_weaker_evidence() -> None:
    rng = np.random.default_rng(1)
    noise = np.repeat(rng.standard_normal(8), 7) * 0.02
    forgetful, remembering = (
        Contest(np.array([0]), 2, CONFIG, with_memory=flag) for flag in (False, True)
    )
    for value in noise:
        night = round_of(1.0, 1.02 + value, variance=0.04)
        plain, weaker = forgetful.judge(night), remembering.judge(night)
    assert remembering.memory[0] > 2.0
    assert weaker[0, 1] < plain[0, 1]


def test_a_window_keeps_the_newest_in_order() -> None:
    window = Window(3)
    assert len(window) == 0
    for number in range(5):
        window.add(np.array([[float(number), 1.0], [10.0 + number, 1.0]]))
    assert window.in_order[:, 0, 0].tolist() == [2.0, 3.0, 4.0]
    assert window.total().tolist() == [[9.0, 3.0], [39.0, 3.0]]
    window.clear(np.array([True, False]))
    assert window.total().tolist() == [[0.0, 0.0], [39.0, 3.0]]
