"""The drawings of the status page: what is drawn is what was counted."""

from dataclasses import replace

import pytest
from matplotlib.colors import to_hex

from diffrec_core.monitoring.checks import Check
from diffrec_core.report.status import draw_changes, draw_rows
from diffrec_core.report.style import LIGHT
from tests.planted_status import faulty_night
from tests.unit.report.drawn import heights, rows, texts, widths


@pytest.fixture
def counted() -> Check:
    return next(check for check in faulty_night().checks if check.name == "rows")


def test_rows_are_bars_and_the_newest_has_the_colour_of_its_verdict(counted: Check) -> None:
    figure = draw_rows(counted)
    (axes,) = figure.axes
    assert heights(axes) == [value for _, value in counted.series]
    colours = [to_hex(bar.get_facecolor()) for bar in axes.patches]
    assert colours == [LIGHT["mark"]] * 28 + [LIGHT["red"]]
    assert axes.patches[-1].get_gid() == "tip:2026-11-23: 10,780 rows"
    assert {"2026-10-26", "2026-11-23", "50k", "100k"} <= set(texts(figure))


def test_lines_stand_at_what_is_usual_and_where_the_alarm_begins(counted: Check) -> None:
    (axes,) = draw_rows(counted).axes
    assert counted.value is not None
    usual = counted.series[-1][1] / counted.value
    assert [line.get_ydata()[0] for line in axes.lines] == pytest.approx([usual, 0.5 * usual])


@pytest.mark.parametrize("value", [0.0, 5.0])
def test_one_period_is_drawn(counted: Check, value: float) -> None:
    figure = draw_rows(replace(counted, series=(("2026-11-23", value),), value=None))
    assert heights(figure.axes[0]) == [value]
    assert texts(figure).count("2026-11-23") == 1


def test_changes_are_bars_to_both_sides_with_their_points() -> None:
    figure = draw_changes([("most popular", -0.082), ("new items", 0.084), ("group 2", 0.0)])
    (axes,) = figure.axes
    assert widths(axes) == [-0.082, 0.084, 0.0]
    assert rows(axes) == ["most popular", "new items", "group 2"]
    assert {"−8.2", "+8.4", "+0.0"} <= set(texts(figure))
    low, high = axes.get_xlim()
    assert low == -high
