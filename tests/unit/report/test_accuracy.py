"""Accuracy on both parts, and against cost: what is drawn and said is what was measured."""

from dataclasses import replace
from itertools import combinations

import pytest
from matplotlib.figure import Figure

from diffrec_core.report.accuracy import (
    MEMORY,
    TIME,
    Cost,
    accuracy_and_cost,
    draw_bars,
    draw_scatter,
    metric_comparison,
)
from diffrec_core.report.data import ModelResult
from diffrec_core.report.style import LIGHT
from tests.unit.report.drawn import circles, points, rows, texts, widths
from tests.unit.report.runs import certainty, make_model


def scatter(models: list[ModelResult], cost: Cost = TIME) -> tuple[Figure, list[str]]:
    return draw_scatter(models, "recall@20", cost, models[:1])


def test_comparison_says_when_the_winner_is_not_the_best_on_test():
    winner, other = make_model("winner", 0.2, selected=True), make_model("other", 0.3)
    behind = metric_comparison([winner, other], 20)
    assert behind.finding == (
        "winner has test recall@20 0.2013; other, not chosen by validation, has more: 0.3013."
    )
    ahead = metric_comparison([replace(other, selected=True), winner], 20)
    assert ahead.finding == "other has test recall@20 0.3013, the highest."
    assert [panel.title for panel in ahead.panels] == ["recall@20", "ndcg@20"]
    assert "winner test 0.2013, validation 0.2313" in ahead.panels[0].label


def test_bars_are_the_numbers_and_start_at_zero():
    models = [make_model("high", 0.4, selected=True), make_model("low", 0.1)]
    figure = draw_bars(models, "recall@20")
    (axes,) = figure.axes
    assert widths(axes) == [m.test["recall@20"] for m in models] + [
        m.validation["recall@20"] for m in models
    ]
    assert axes.get_xlim()[0] == 0
    assert {bar.get_x() for bar in axes.patches} == {0}
    assert rows(axes) == ["high", "low"]
    assert {"0.4013", "0.4313", "0.1013", "0.1313"} <= set(texts(figure))
    weights = [label.get_fontweight() for label in axes.get_yticklabels()]
    assert weights == ["bold", "normal"]


def test_only_the_winner_has_the_accent():
    models = [make_model("high", 0.4, selected=True), make_model("low", 0.1)]
    svg = metric_comparison(models, 20).panels[0].inline
    assert svg.count("fill: var(--accent)") == svg.count("stroke: var(--accent)") == 1
    assert svg.count("fill: var(--mark)") == svg.count("stroke: var(--mark)") == 1


def test_an_interval_is_drawn_where_it_is_known():
    model = make_model("ease", 0.25, selected=True, certainty=certainty(0, None, differs=False))
    (axes,) = draw_bars([model], "recall@20").axes
    (segment,) = axes.collections[0].get_segments()
    assert segment[:, 0] == pytest.approx([0.1, 0.2])  # even where the number is not in it
    (other,) = draw_bars([model], "ndcg@20").axes  # nothing is known of it
    (segment,) = other.collections[0].get_segments()
    assert segment[0, 0] == segment[1, 0] == model.test["ndcg@20"]


def test_bars_of_nothing_but_zeros_are_drawn():
    model = make_model("zero", 0.0, selected=True)
    model.test["recall@20"] = model.validation["recall@20"] = 0.0
    figure = draw_bars([model], "recall@20")
    assert widths(figure.axes[0]) == [0, 0]
    assert "0.0000" in texts(figure)


def test_the_line_joins_exactly_the_models_that_no_other_dominates():
    models = [
        make_model("slow_best", 0.4, fit_seconds=100.0, selected=True),
        make_model("quick", 0.2, fit_seconds=1.0),
        make_model("slower_and_worse", 0.1, fit_seconds=2.0),
        make_model("quick_twin", 0.2, fit_seconds=1.0),
    ]
    figure = accuracy_and_cost(models, "recall@20")
    assert figure.finding.startswith(
        "No model is both quicker to fit and better than those on the dashed line: "
        "quick (1.00 s, 0.2013), quick_twin (1.00 s, 0.2013), slow_best (100.00 s, 0.4013)."
    )
    (axes,) = figure.panels[0].drawing.axes
    best, value = models[0].test["recall@20"], models[1].test["recall@20"]
    assert points(axes.lines[0]) == [(1.0, value), (1.0, value), (100.0, best)]
    assert axes.lines[0].get_drawstyle() == "steps-post"  # the best for its cost, up to the next
    assert circles(axes)["slower_and_worse"] == (2.0, models[2].test["recall@20"])


def test_a_fit_of_no_time_is_drawn_on_a_logarithmic_axis():
    models = [make_model("a", 0.2, fit_seconds=0.0), make_model("b", 0.2, fit_seconds=0.001)]
    one, other = circles(scatter(models)[0].axes[0]).values()
    assert one == other
    far = scatter([models[0], make_model("c", 0.2, fit_seconds=50.0)])[0]
    assert far.axes[0].get_xscale() == "log"
    assert circles(far.axes[0])["a"][0] == 0.001
    assert "seconds to fit (logarithmic)" in texts(far)


def test_memory_is_drawn_to_scale_and_on_a_logarithmic_axis_where_it_must():
    near = [make_model(str(n), 0.2, peak_memory_mib=400.0 + 200 * n) for n in range(3)]
    assert scatter(near, MEMORY)[0].axes[0].get_xscale() == "linear"
    far = [near[0], replace(near[1], peak_memory_mib=40_000.0)]
    assert scatter(far, MEMORY)[0].axes[0].get_xscale() == "log"


def test_labels_do_not_cover_each_other_and_stay_on_the_picture():
    models = [
        make_model(f"a_model_of_some_length_{n}", 0.2 + n / 1000, fit_seconds=10.0 + n)
        for n in range(12)
    ]
    figure, nameless = scatter(models)
    labels = figure.axes[0].texts
    assert len(labels) + len(nameless) == len(models)
    boxes = [label.get_window_extent() for label in labels]
    assert not any(one.overlaps(other) for one, other in combinations(boxes, 2))
    assert all(box.x0 >= 0 and box.x1 <= 440 for box in boxes)


def test_models_without_room_are_named_beside_the_drawing():
    models = [
        make_model(f"a_model_{n:02d}", 0.2, peak_memory_mib=500.0 + n / 10, selected=n == 0)
        for n in range(30)
    ]
    figure, nameless = scatter(models, MEMORY)
    drawn = [label.get_text() for label in figure.axes[0].texts]
    assert sorted([*drawn, *nameless]) == [model.name for model in models]
    assert drawn[0] == "a_model_00"  # the winner always is
    assert nameless
    assert len(circles(figure.axes[0])) == 30
    remark = accuracy_and_cost(models, "recall@20").panels[1].remark
    assert remark == f"no room to name {', '.join(nameless)}"


def test_a_point_has_a_tooltip_with_its_numbers():
    model = make_model("ease", 0.2, selected=True, fit_seconds=0.5)
    panel = accuracy_and_cost([model], "recall@20").panels[0]
    assert "<title>ease: recall@20 0.2013, 0.50 s</title>" in panel.inline
    assert LIGHT["accent"] == panel.drawing.axes[0].lines[1].get_color()
