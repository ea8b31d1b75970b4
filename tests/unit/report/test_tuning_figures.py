"""Pictures of a tuning study: every complete trial is drawn once, the best one apart."""

import re
from typing import Any
from xml.etree import ElementTree

import pytest

from diffrec_core.common.search_space import Trial
from diffrec_core.report.tuning import importance_figure, parallel_coordinates_figure


def trial(number: int, value: float | None, state: str = "complete", **settings: Any) -> Trial:
    return Trial(number, settings, state, value, 1.0)


TRIALS = [
    trial(1, 0.10, l2=10.0, kind="none"),
    trial(2, 0.30, l2=1000.0, kind="decay", half_life=3.0),
    trial(3, 0.20, l2=100.0, kind="decay", half_life=9.0),
    trial(4, 0.05, "pruned", l2=5.0, kind="none"),
    trial(5, None, "failed", l2=7.0, kind="none"),
]


def lines(svg: str, style: str) -> list[list[tuple[float, float]]]:
    found = re.findall(rf'<polyline points="([^"]*)" class="{style}"/>', svg)
    return [[tuple(map(float, p.split(","))) for p in points.split()] for points in found]  # type: ignore[misc]


def test_every_complete_trial_is_a_line_and_the_best_one_stands_out() -> None:
    svg = parallel_coordinates_figure(TRIALS, "ease: validation recall@20")
    ElementTree.fromstring(svg)  # noqa: S314  # our own text
    assert len(lines(svg, "trial")) + len(lines(svg, "good")) == 2
    (best,) = lines(svg, "best")
    assert len(best) == 4  # l2, kind, half-life, value
    assert min(len(points) for points in lines(svg, "trial")) == 3  # no half-life there
    assert "recall@20" in svg


def test_larger_values_are_higher_and_wide_ranges_logarithmic() -> None:
    svg = parallel_coordinates_figure(TRIALS, "x")
    (best,), (third,), (first,) = (
        lines(svg, "best"),
        [p for p in lines(svg, "trial") if len(p) == 4] or lines(svg, "good"),
        [p for p in lines(svg, "trial") if len(p) == 3],
    )
    assert best[-1][1] < third[-1][1] < first[-1][1]  # svg counts downwards
    assert best[0][1] < third[0][1] < first[0][1]
    assert third[0][1] == pytest.approx((best[0][1] + first[0][1]) / 2, abs=0.2)  # of 10 … 1000


def test_one_trial_and_no_settings_can_be_drawn() -> None:
    svg = parallel_coordinates_figure([trial(1, 0.1)], "popularity")
    ElementTree.fromstring(svg)  # noqa: S314
    assert len(lines(svg, "best")) == 1


def test_names_from_users_are_escaped() -> None:
    svg = parallel_coordinates_figure([trial(1, 0.1, kind="<b>&")], "<script>")
    ElementTree.fromstring(svg)  # noqa: S314
    assert "<script>" not in svg


def test_importance_bars_are_as_long_as_the_shares() -> None:
    svg = importance_figure({"l2": 0.6, "recency.kind": 0.3}, "ease")
    bars = re.findall(r'<rect [^>]*width="([0-9.]+)"[^>]*class="bar"', svg)
    assert float(bars[0]) == pytest.approx(2 * float(bars[1]), abs=0.2)
    assert svg.index("l2") < svg.index("recency.kind")
    assert "too few" in importance_figure({}, "ease")
