"""Policies on nights that are over, by hand and as properties."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from diffrec_core.contest.evidence import Floats
from diffrec_core.contest.hindsight import (
    best_fixed,
    judge,
    leader,
    never,
    newest_winner,
    oracle,
)
from tests.oracle.strategies import effort

VALUES = np.array([[0.4, 0.3], [0.1, 0.3], [0.2, 0.4], [0.5, 0.4]])


def test_policies_by_hand() -> None:
    assert oracle(VALUES).tolist() == [0, 1, 1, 0]
    assert best_fixed(VALUES).tolist() == [1, 1, 1, 1]  # .35 against .3
    assert newest_winner(VALUES, 0).tolist() == [0, 0, 1, 1]
    # after two nights .25 against .3, after three the newest two .15 against .35
    assert leader(VALUES, 0, nights=2).tolist() == [0, 0, 1, 1]
    assert leader(VALUES, 0, nights=2, lead=0.25).tolist() == [0, 0, 0, 1]
    assert leader(VALUES, 0, nights=9).tolist() == [0, 0, 0, 0]


def test_what_they_would_have_served() -> None:
    served = judge(VALUES, {"never": never(VALUES, 0), "newest": newest_winner(VALUES, 0)})
    assert served["never"].mean == pytest.approx(0.3)
    assert served["never"].regret == pytest.approx(1 - 0.3 / 0.4)
    assert served["newest"].mean == pytest.approx((0.4 + 0.1 + 0.4 + 0.4) / 4)
    assert (served["never"].switches, served["newest"].switches) == (0, 1)


@effort(100)
@given(arrays(np.float64, (6, 3), elements=st.floats(0, 1, width=16)), st.integers(1, 6))
def test_no_policy_knows_what_comes(values: Floats, until: int) -> None:
    """What is served up to a night does not depend on that night or any later one."""
    changed = values.copy()
    changed[until:] = 1.0 - changed[until:]
    for policy in (newest_winner, lambda v, first: leader(v, first, nights=2)):
        assert policy(values, 0)[: until + 1].tolist() == policy(changed, 0)[: until + 1].tolist()


@effort(100)
@given(arrays(np.float64, (5, 3), elements=st.floats(0, 1, width=16)))
def test_none_beats_the_oracle_and_no_recipe_the_best_fixed(values: Floats) -> None:
    policies = {str(m): never(values, m) for m in range(3)}
    served = judge(values, {"best": best_fixed(values), "oracle": oracle(values), **policies})
    assert served["oracle"].regret == pytest.approx(0.0)
    assert all(-1e-12 <= one.regret <= 1.0 for one in served.values())
    assert served["best"].mean == pytest.approx(max(served[name].mean for name in policies))
