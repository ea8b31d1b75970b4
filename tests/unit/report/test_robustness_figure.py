"""What noise costs: hand-computed losses, and what the picture shows of them."""

import re
from xml.etree import ElementTree

import pytest

from diffrec_core.report.robustness import Drop, Measured, drop_figure, drops

ROWS = [
    Measured("ease", "none", 0.0, 0, 0.40, 0.20),
    Measured("ease", "none", 0.0, 1, 0.50, 0.25),
    Measured("ease", "random", 0.5, 0, 0.20, 0.15),  # half, a quarter
    Measured("ease", "random", 0.5, 1, 0.35, 0.25),  # 30 %, nothing
    Measured("ease", "random", 0.1, 0, 0.36, 0.22),  # 10 %, grew by 10 %
    Measured("ease", "natural", 0.7, 0, 0.30, 0.10),
    Measured("diffrec", "none", 0.0, 0, 0.40, 0.20),
    Measured("diffrec", "random", 0.5, 0, 0.40, 0.20),
]


def test_losses_are_relative_to_the_clean_fit_of_the_same_seed() -> None:
    recall = drops(ROWS, "ease", "random", "recall@20")
    assert [d.share for d in recall] == [0.1, 0.5]
    assert recall[0] == Drop(0.1, pytest.approx(0.1), 0.0)
    assert recall[1].mean == pytest.approx(0.4)  # of .5 and .3
    assert recall[1].spread == pytest.approx(0.1414, abs=1e-4)  # sample standard deviation
    assert drops(ROWS, "ease", "random", "ndcg@20")[0].mean == pytest.approx(-0.1)
    assert drops(ROWS, "ease", "natural", "recall@20")[0].mean == pytest.approx(0.25)
    assert drops(ROWS, "diffrec", "natural", "recall@20") == []


def test_every_model_has_a_curve_in_each_panel_and_bars() -> None:
    svg = drop_figure(ROWS)
    ElementTree.fromstring(svg)  # noqa: S314  # our own text
    curves = re.findall(r'<polyline points="([^"]*)" class="curve m(\d)"/>', svg)
    assert [model for points, model in curves if len(points.split()) > 2] == ["0", "0"]
    assert len(curves) == 2 + 4  # the legend, and two panels
    ends = [tuple(map(float, points.split()[-1].split(","))) for points, _ in curves[2:]]
    ease, diffrec = ends[0], ends[1]
    assert ease[0] == diffrec[0]  # the same level of noise
    assert ease[1] < diffrec[1]  # a larger loss is higher
    assert svg.count('class="curve bar m0"') == 2 * 3  # two levels and the natural one, two panels
    assert svg.count("<circle") == 2


def test_clean_fits_alone_can_be_drawn() -> None:
    ElementTree.fromstring(drop_figure(ROWS[:2]))  # noqa: S314
