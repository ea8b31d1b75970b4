"""Pictures of a study show every trial that succeeded, the best one above all."""

from typing import Any
from xml.etree import ElementTree

import pytest
from diffrec_core.common.search_space import Trial
from diffrec_core.report.tuning import (
    draw_importances,
    draw_trials,
    importance_figure,
    parallel_coordinates_figure,
)

from diffrec_core.report.style import LIGHT
from tests.unit.report.drawn import Points, points, rows, texts, widths


def trial(number: int, value: float | None, state: str = "complete", **settings: Any) -> Trial:
    return Trial(number, settings, state, value, 1.0)


TRIALS = [
    trial(1, 0.10, l2=10.0, kind="none"),
    trial(2, 0.30, l2=1000.0, kind="decay", half_life=3.0),
    trial(3, 0.20, l2=100.0, kind="decay", half_life=9.0),
    trial(4, 0.05, "pruned", l2=5.0, kind="none"),
    trial(5, None, "failed", l2=7.0, kind="none"),
]


def lines(trials: list[Trial]) -> list[Points]:
    """Of every trial that is drawn, from the worst to the best."""
    (axes,) = draw_trials(trials).axes
    return [points(line) for line in axes.lines if not str(line.get_label()).startswith("_")]


def test_every_complete_trial_is_a_line_and_the_best_one_stands_out() -> None:
    (axes,) = draw_trials(TRIALS).axes
    looks = [line.get_label() for line in axes.lines if len(line.get_xdata()) > 2]
    assert looks == ["trial", "trial", "best"]
    assert axes.lines[-1].get_color() == LIGHT["red"]
    assert [len(line) for line in lines(TRIALS)] == [3, 4, 4]  # no half-life of the first
    assert {"l2", "kind", "half_life", "value", "decay", "0.3"} <= set(texts(axes.figure))


def test_larger_values_are_higher_and_wide_ranges_logarithmic() -> None:
    first, third, best = lines(TRIALS)
    assert [line[0][1] for line in (first, third, best)] == pytest.approx([0, 0.5, 1])  # 10 … 1000
    assert [line[-1][1] for line in (first, third, best)] == pytest.approx([0, 0.5, 1])


def test_names_are_places_of_an_axis() -> None:
    first, third, best = lines(TRIALS)
    assert first[1][1] != third[1][1] == best[1][1]


def test_one_trial_without_settings_and_none_can_be_drawn() -> None:
    assert lines([trial(1, 0.1)]) == [[(0, 0.5)]]
    assert lines([TRIALS[3]]) == []
    for trials in ([trial(1, 0.1)], [TRIALS[3]]):
        ElementTree.fromstring(parallel_coordinates_figure(trials, "popularity"))  # noqa: S314


def test_names_from_users_are_escaped() -> None:
    svg = parallel_coordinates_figure([trial(1, 0.1, kind="<b>&")], "<script>")
    root = ElementTree.fromstring(svg)  # noqa: S314
    assert "<b>&" in "".join(root.itertext())
    assert "<script>" not in svg


def test_importance_bars_are_as_long_as_the_shares() -> None:
    figure = draw_importances({"l2": 0.6, "recency.kind": 0.3})
    assert widths(figure.axes[0]) == [0.6, 0.3]
    assert rows(figure.axes[0]) == ["l2", "recency.kind"]
    assert {"0.60", "0.30"} <= set(texts(figure))
    assert "too few" in importance_figure({}, "ease")
