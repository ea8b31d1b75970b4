"""Which step was the first bad one, by hand and against a slow search."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from diffrec_core.training.divergence import (
    all_finite,
    first_bad_step,
    initial_loss,
)


def bad_step(losses: list[float], rows: list[int], limit: float = 10.0) -> int | None:
    return first_bad_step(np.array(losses, dtype=float), np.array(rows, dtype=np.int64), limit)


def test_good_losses_have_no_bad_step() -> None:
    assert bad_step([1.0, 10.0, 2.0], [400, 400, 30]) is None
    assert bad_step([], []) is None


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 10.5])
def test_the_first_of_several_is_found(value: float) -> None:
    assert bad_step([1.0, value, 1.0, math.nan, 99.0], [400] * 5) == 1


def test_a_number_above_the_limit_before_one_that_is_none() -> None:
    assert bad_step([11.0, math.nan], [400, 400]) == 0
    assert bad_step([math.nan, 11.0], [400, 400]) == 0


def test_few_rows_count_with_those_before_them() -> None:
    # (18 * 1 + 2 * 50) / 20 = 5.9, and (18 * 1 + 2 * 95) / 20 = 10.4
    assert bad_step([1.0, 50.0], [18, 2]) is None
    assert bad_step([1.0, 95.0], [18, 2]) == 1


def test_less_than_twenty_rows_say_nothing_unless_they_are_no_numbers() -> None:
    assert bad_step([99.0, 99.0], [10, 9]) is None
    assert bad_step([99.0, math.nan], [10, 9]) == 1


def test_the_first_step_tells_the_initial_loss_if_it_has_rows_enough() -> None:
    assert initial_loss(np.array([4.0, 2.0]), np.array([20, 1])) == 4.0
    assert initial_loss(np.array([4.0, 2.0]), np.array([19, 20])) is None
    assert initial_loss(np.zeros(0), np.zeros(0, dtype=np.int64)) is None


@given(
    st.lists(
        st.tuples(st.sampled_from([0.5, 4.0, 30.0, math.nan, math.inf]), st.integers(1, 30)),
        max_size=12,
    )
)
def test_it_is_the_step_that_a_slow_search_finds(steps: list[tuple[float, int]]) -> None:
    losses, rows = [loss for loss, _ in steps], [n for _, n in steps]

    def bad(step: int) -> bool:
        """Go back from a step until 20 rows are together, if there are so many."""
        if not math.isfinite(losses[step]):
            return True
        total, seen = 0.0, 0
        for at in range(step, -1, -1):
            total, seen = total + losses[at] * rows[at], seen + rows[at]
            if seen >= 20:
                return total / seen > 10.0
        return False

    slow = next((step for step in range(len(steps)) if bad(step)), None)
    assert bad_step(losses, rows) == slow


def test_finite_tensors() -> None:
    good = [torch.ones(3), torch.arange(2), torch.full((2,), 1e30)]
    assert all_finite(good)
    assert all_finite([])
    for value in (math.nan, math.inf):
        assert not all_finite([*good, torch.tensor([1.0, value])])
    assert not all_finite([torch.tensor([math.inf, -math.inf])])
