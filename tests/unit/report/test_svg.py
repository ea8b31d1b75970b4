"""Scales, ticks and shapes."""

import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from diffrec_core.report import svg
from diffrec_core.report.svg import Scale

values = st.floats(-1e6, 1e6, allow_subnormal=False)


def test_linear_scale_may_point_down():
    scale = Scale(0.0, 0.5, 100, 20)
    assert [scale(value) for value in (0.0, 0.25, 0.5)] == [100, 60, 20]


def test_log_scale_puts_equal_ratios_equally_far_apart():
    scale = Scale(0.01, 100, 0, 400, log=True)
    assert [scale(value) for value in (0.01, 0.1, 1, 100)] == pytest.approx([0, 100, 200, 400])


def test_a_single_value_stands_in_the_middle():
    assert Scale(3.0, 3.0, 10, 20)(3.0) == 15
    assert Scale(3.0, 3.0, 10, 20).ticks == [3.0]


@given(low=values, size=st.floats(1e-3, 1e6))
def test_ticks_are_few_round_and_inside(low, size):
    scale = Scale(low, low + size, 0, 100)
    ticks = scale.ticks
    steps = {round((after - before) / size, 6) for before, after in pairwise(ticks)}
    assert 1 <= len(ticks) <= 6
    assert len(steps) <= 1
    slack = 1e-6 * max(size, abs(low))
    assert all(low - slack <= tick <= low + size + slack for tick in ticks)


@given(low=st.floats(-6, 3), decades=st.floats(1, 6))
def test_log_ticks_are_the_powers_of_ten_inside(low, decades):
    ticks = Scale(10**low, 10 ** (low + decades), 0, 100, log=True).ticks
    powers = [math.log10(tick) for tick in ticks]
    assert powers == pytest.approx(
        range(math.ceil(low - 1e-9), math.floor(low + decades + 1e-9) + 1)
    )


def test_everything_is_escaped():
    drawing = svg.picture(10, 5, 'a "quoted" <label>', [svg.text(1, 2.25, "<b>&", "end")])
    assert drawing == (
        '<svg viewBox="0 0 10 5" role="img" aria-label="a &#34;quoted&#34; &lt;label&gt;">'
        '<text x="1" y="2.2" class="end">&lt;b&gt;&amp;</text></svg>'
    )
