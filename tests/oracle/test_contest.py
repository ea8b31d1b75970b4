"""The contest, against the same formulas computed number by number."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from diffrec_core.contest.config import ContestConfig
from diffrec_core.contest.night import Night
from diffrec_core.contest.replay import replay
from tests.ledgers import night_of
from tests.oracle import contest_oracle
from tests.oracle.strategies import effort


@st.composite
def ledgers(draw: st.DrawFn) -> list[Night]:
    """Nights with champions that change, recipes that come and go, and nights that do not count."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    champion, nights = "a", []
    lasting = draw(st.booleans())
    for number in range(draw(st.integers(1, 70))):
        if rng.random() < 0.03:
            champion = "ab"[rng.integers(2)]
        recipes = ["a", "b", *(name for name in "cd" if lasting or rng.random() < 0.8)]
        users = int(rng.integers(2, 20))
        common = rng.random(users) * 0.3
        values = {
            name: np.round(common + rng.normal(0.0, 0.02) + rng.normal(0.0, 0.1, users), 3)
            for name in recipes
        }
        counts, left_out = bool(rng.random() < 0.9), "rows" * int(rng.random() < 0.05)
        nights.append(night_of(number, values, champion=champion, counts=counts, left_out=left_out))
    return nights


@effort(40)
@given(ledgers(), st.sampled_from([9, 35, 60]), st.sampled_from([0.0, 0.01]))
def test_evidence_is_that_of_the_oracle(nights: list[Night], horizon: int, margin: float) -> None:
    config = ContestConfig(min_users=2, horizon_nights=horizon, margin=margin)
    verdict = replay(nights, config)
    if verdict.standings:
        found = {standing.recipe: standing.evidence for standing in verdict.standings}
        assert found == pytest.approx(contest_oracle.evidence(nights, config), rel=1e-6)
