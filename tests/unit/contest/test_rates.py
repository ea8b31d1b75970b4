"""Error rates on the nights of a ledger."""

import numpy as np
import pytest

from diffrec_core.common.errors import DataError
from diffrec_core.contest.config import ContestConfig
from diffrec_core.contest.rates import error_rates
from tests.ledgers import night_of, simulated

CONFIG = ContestConfig()


def test_a_gain_is_found_and_equal_recipes_seldom_switch() -> None:
    ledger = simulated(90, {"ease": 0.03, "ials": -0.02}, users=200)
    rates = error_rates(ledger, CONFIG, seed=0, flips=200, gains=(0.02, 0.2))
    assert (rates.nights, rates.flips, rates.flipped) == (90, 200, 1)
    assert rates.years == pytest.approx(90 / 365.25)
    assert rates.needless_a_year < 1.0
    small, large = rates.found
    assert large.share > 0.99
    assert large.nights is not None
    assert 9 <= large.nights <= 12
    assert small.share < large.share
    assert error_rates(ledger, CONFIG, seed=0, flips=200, gains=(0.02, 0.2)) == rates


def test_how_good_a_recipe_is_changes_no_error_rate() -> None:
    """Every challenger is made equal to the champion first."""
    good, bad = (simulated(40, {"ease": gain}, seed=5) for gain in (0.02, -0.02))
    one, other = (error_rates(ledger, CONFIG, seed=1, flips=50) for ledger in (good, bad))
    assert one.needless_a_year == other.needless_a_year
    # the planted gain is a share of the champion's metric, which is the same in both
    assert one.found == other.found


def test_weeks_are_flipped_where_nights_have_memory() -> None:
    rng, state, nights = np.random.default_rng(0), 0.0, []
    for number in range(84):
        state = 0.9 * state + rng.normal(0.0, 0.02)
        common = rng.normal(0.2, 0.1, 60)
        values = {"champion": common, "ease": common + state + rng.normal(0.0, 0.01, 60)}
        nights.append(night_of(number, values))
    assert error_rates(nights, CONFIG, seed=0, flips=20).flipped == 7
    assert error_rates(nights[:55], CONFIG, seed=0, flips=20).flipped == 1


def test_weekly_nights_make_longer_years() -> None:
    ledger = simulated(20, {"ease": 0.0})
    weekly = [night_of(7 * n, {"champion": [0.1] * 60, "ease": [0.1] * 60}) for n in range(20)]
    daily = error_rates(ledger, CONFIG, seed=0, flips=10)
    rates = error_rates(weekly, CONFIG, seed=0, flips=10)
    assert rates.years == pytest.approx(7 * daily.years)
    assert rates.needless_a_year == 0.0


@pytest.mark.parametrize(
    ("nights", "message"),
    [
        ([], "a champion with a challenger"),
        (simulated(5, {}), "a champion with a challenger"),
        (simulated(1, {"ease": 0.0}), "two nights with the champion, found 1"),
    ],
)
def test_what_a_ledger_lacks_is_said(nights: list[object], message: str) -> None:
    with pytest.raises(DataError, match=message):
        error_rates(nights, CONFIG, seed=0)  # type: ignore[arg-type]


def test_nights_until_a_gain_is_found_are_counted_from_1() -> None:
    """The first night tells the spread, then nine are cut at three scales each."""
    ledger = simulated(12, {"ease": 0.0})
    (found,) = error_rates(ledger, CONFIG, seed=0, flips=4, gains=(2.0,)).found
    assert (found.share, found.nights) == (1.0, 10.0)
