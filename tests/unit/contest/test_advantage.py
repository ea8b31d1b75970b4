"""Mean advantage, its interval, and what would switch: against bisection on the evidence itself."""

import math

import numpy as np
import pytest

from diffrec_core.contest.advantage import Advantage, advantage, would_switch
from diffrec_core.contest.evidence import Floats, log_evidence, standardised


def evidence(differences: Floats, scales: Floats, margin: float, memory: float = 1.0) -> float:
    x = standardised(differences - margin, scales)
    return float(np.exp(log_evidence(x.sum(), memory * (x * x).sum())))


def nights(count: int, mean: float = 0.01, seed: int = 0) -> tuple[Floats, Floats]:
    rng = np.random.default_rng(seed)
    return mean + 0.012 * rng.standard_normal(count), rng.uniform(0.01, 0.015, count)


def found(differences: Floats, scales: Floats, **options: float) -> Advantage:
    result = advantage(differences, scales, **({"odds": 20.0} | options))
    assert result is not None
    return result


@pytest.mark.parametrize("memory", [1.0, 2.5])
def test_the_ends_are_where_the_evidence_reaches_the_odds(memory: float) -> None:
    d, s = nights(40)
    result = found(d, s, memory=memory)
    assert result.lower is not None
    assert result.upper is not None
    assert evidence(d, s, result.lower, memory) == pytest.approx(20.0)
    assert evidence(-d, s, -result.upper, memory) == pytest.approx(20.0)
    inside = np.linspace(result.lower, result.upper, 50)[1:-1]
    for margin in inside:
        assert evidence(d, s, margin, memory) < 20.0
        assert evidence(-d, s, -margin, memory) < 20.0
    assert standardised(d - result.mean, s).sum() == pytest.approx(0.0, abs=1e-6)


def test_equal_scales_without_outliers_give_the_plain_mean() -> None:
    d = np.array([0.01, 0.02, 0.03])
    assert found(d, np.full(3, 0.02)).mean == pytest.approx(0.02)


def test_few_nights_bound_nothing() -> None:
    result = found(*nights(5))
    assert (result.lower, result.upper) == (None, None)
    assert advantage(np.zeros(3), np.zeros(3), odds=20.0) is None
    assert advantage(np.zeros(0), np.zeros(0), odds=20.0) is None


def test_a_lost_night_moves_the_mean_by_three_scales_at_most() -> None:
    d, s = nights(40)
    lost = d.copy()
    lost[7] = -0.2
    before, after = found(d, s), found(lost, s)
    assert 0.0 < before.mean - after.mean < 6 * s.max() / 40
    assert after.lower is not None
    assert after.lower < after.mean


def test_nights_without_a_scale_are_ignored() -> None:
    d, s = nights(40)
    assert found(np.append(d, 5.0), np.append(s, 0.0)) == found(d, s)


# metric, sd of a pair's users and of nights, and what 30 nights from none would show at 50, 150,
# 500, 2,000 and 10,000 users, in % of the metric: solved by hand once
@pytest.mark.parametrize(
    ("level", "user_sd", "night_sd", "expected"),
    [
        (0.188, 0.145, 0.006, [6.8, 4.2, 2.8, 2.2, 2.0]),
        (0.175, 0.094, 0.005, [4.8, 3.1, 2.2, 1.8, 1.7]),
        (0.188, 0.145, 0.000, [6.5, 3.7, 2.0, 1.0, 0.5]),
    ],
)
def test_what_would_switch_within_30_nights(
    level: float, user_sd: float, night_sd: float, expected: list[float]
) -> None:
    scales = [math.hypot(user_sd / n**0.5, night_sd) for n in (50, 150, 500, 2000, 10000)]
    shares = [would_switch(np.zeros(0), scale, odds=20.0) for scale in scales]
    assert [round(100 * (share or 0.0) / level, 1) for share in shares] == expected


def test_what_would_switch_falls_with_evidence_and_rises_with_odds_and_memory() -> None:
    def least(sums: float, **options: float) -> float:
        x = np.full(20, sums / 20)
        result = would_switch(x, 1.0, **({"odds": 20.0} | options))
        assert result is not None
        return result

    assert least(8.0) < least(0.0) < least(-8.0)
    assert least(0.0, odds=10.0) < least(0.0) < least(0.0, odds=60.0)
    assert least(0.0) < least(0.0, memory=2.0)


def test_what_would_switch_can_be_nothing_or_unreachable() -> None:
    assert would_switch(np.full(30, 2.0), 1.0, odds=20.0) == 0.0
    assert would_switch(np.zeros(0), 1.0, odds=20.0, nights=3) is None
    assert would_switch(np.zeros(0), 0.0, odds=20.0) is None
    assert would_switch(np.zeros(0), math.nan, odds=20.0) is None
