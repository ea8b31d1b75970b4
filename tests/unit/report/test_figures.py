"""The drawings: what is drawn is what was given, at the place where it belongs."""

import re
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from diffrec_core.report import figures
from diffrec_core.report.cost import TIME, scatter
from diffrec_core.report.popularity import draw_popularity_groups
from diffrec_core.report.timeline import Span, timeline
from tests.unit.report.runs import make_model


def rects(drawing: str, style: str) -> list[dict[str, float]]:
    found = re.findall(
        r'<rect x="(.*?)" y="(.*?)" width="(.*?)" height="(.*?)" class="(.*?)"', drawing
    )
    keys = ("x", "y", "width", "height")
    return [
        dict(zip(keys, map(float, numbers), strict=True))
        for *numbers, name in found
        if name == style
    ]


def circles(drawing: str) -> list[tuple[float, float]]:
    return [(float(x), float(y)) for x, y in re.findall(r'<circle cx="(.*?)" cy="(.*?)"', drawing)]


def polyline(drawing: str, style: str) -> list[tuple[float, float]]:
    (points,) = re.findall(rf'<polyline points="([^"]*)" class="{style}"', drawing)
    return [tuple(map(float, point.split(","))) for point in points.split()]


def test_bars_are_as_long_as_their_values_and_start_at_zero():
    high = make_model("high", 0.4, selected=True)
    low = make_model("low", 0.4)
    low.test["recall@20"] = high.test["recall@20"] / 4
    drawing = figures.bars([high, low], "recall@20", "label")
    (winner,), (other,) = rects(drawing, "accent"), rects(drawing, "plain")
    assert winner["x"] == other["x"]
    assert other["width"] == pytest.approx(winner["width"] / 4, abs=0.1)
    assert len(rects(drawing, "accent hollow")) == len(rects(drawing, "plain hollow")) == 1


def test_bars_of_nothing_but_zeros_are_drawn():
    model = make_model("zero", 0.0, selected=True)
    model.test["recall@20"] = model.validation["recall@20"] = 0.0
    assert rects(figures.bars([model], "recall@20", ""), "accent")[0]["width"] == 0


def test_scatter_places_quick_models_left_and_good_models_above():
    models = [
        make_model("good", 0.4, fit_seconds=100.0, selected=True),
        make_model("quick", 0.2, fit_seconds=1.0),
        make_model("between", 0.3, fit_seconds=10.0),
    ]
    between, quick, good = circles(scatter(models, "recall@20", TIME, "")[0])
    assert quick[0] < between[0] < good[0]
    assert quick[1] > between[1] > good[1]
    assert between[0] - quick[0] == pytest.approx(good[0] - between[0], abs=0.11)


def test_scatter_takes_a_fit_of_no_time():
    models = [make_model("a", 0.2, fit_seconds=0.0), make_model("b", 0.2, fit_seconds=0.001)]
    one, other = circles(scatter(models, "recall@20", TIME, "")[0])
    assert one == other


def test_the_frontier_passes_below_models_that_are_slower_and_worse():
    models = [
        make_model("best", 0.4, fit_seconds=10.0),
        make_model("quick", 0.2, fit_seconds=1.0),
        make_model("dominated", 0.3, fit_seconds=100.0),
    ]
    drawing = scatter(models, "recall@20", TIME, "")[0]
    dominated, quick, best = circles(drawing)
    assert polyline(drawing, "frontier") == [quick, (best[0], quick[1]), best]
    assert dominated not in polyline(drawing, "frontier")


def test_labels_do_not_cover_each_other():
    models = [make_model(f"model_{n}", 0.2 + n / 1000, fit_seconds=10.0 + n) for n in range(3)]
    drawing = scatter(models, "recall@20", TIME, "")[0]
    found = re.findall(r'<text x="(.*?)" y="(.*?)" class="(\w+)">model_\d</text>', drawing)
    assert len(set(found)) == len(models)


def test_long_labels_stay_on_the_panel_and_the_axis_above_zero():
    name = "a_model_with_a_very_long_name_indeed"
    models = [
        make_model(name + "_1", 0.0, fit_seconds=10.0),
        make_model(name + "_2", 0.0, fit_seconds=9_000.0),
    ]
    drawing = scatter(models, "recall@20", TIME, "")[0]
    found = re.findall(r'<text x="(.*?)" y=".*?" class="(\w+)">a_model_with[^<]*…</text>', drawing)
    before = {"start": 0.0, "middle": 0.5, "end": 1.0}  # share of the text left of its anchor
    starts = [float(x) - before[anchor] * 18 * 7.2 for x, anchor in found]
    assert len(starts) == 2
    assert all(48 <= start <= 440 - 18 * 7.2 for start in starts)
    assert ">-" not in drawing


def test_the_best_epoch_is_marked_where_validation_is_highest():
    validation = [(2.0, 0.1), (4.0, 0.3), (6.0, 0.2)]
    losses = [(float(epoch), 10.0 - epoch) for epoch in range(1, 7)]
    drawing = figures.training_curve(losses, validation, 0.3, "")
    line = polyline(drawing, "line accent")
    assert circles(drawing) == [line[1]]
    assert [x for x, _ in polyline(drawing, "best")] == [line[1][0]] * 2
    assert polyline(drawing, "line plain")[3][0] == line[1][0]  # both share their epochs


@pytest.mark.parametrize(
    ("losses", "validation"), [([(1.0, 2.0)], []), ([], [(1.0, 0.5)]), ([(1.0, 2.0)], [(1.0, 0.0)])]
)
def test_a_curve_may_be_one_point_or_lack_a_part(losses, validation):
    drawing = figures.training_curve(losses, validation, 0.0, "")
    assert len(circles(drawing)) == len(validation)
    assert "nan" not in drawing


def test_long_curves_are_thinned_but_keep_their_ends():
    losses = [(float(epoch), 1 / epoch) for epoch in range(1, 5001)]
    points = polyline(figures.training_curve(losses, [], 1.0, ""), "line plain")
    short = polyline(figures.training_curve([losses[0], losses[-1]], [], 1.0, ""), "line plain")
    assert len(points) <= 301
    assert [points[0], points[-1]] == short


def test_popularity_bars_and_reference_lines():
    drawing = draw_popularity_groups([0.5, 0.25], [0.25, 0.5], 0.5, "", "plain")
    head, tail = rects(drawing, "plain")
    assert head["height"] == pytest.approx(2 * tail["height"], abs=0.2)
    lines = re.findall(r'<polyline points="[\d.]+,([\d.]+) [\d.]+,([\d.]+)" class="usual"', drawing)
    assert [float(y) for y, _ in lines] == [tail["y"], head["y"]]


def test_timeline_bars_lie_where_their_times_are():
    def day(number: int) -> datetime:
        return datetime(2024, 1, number, tzinfo=UTC)

    spans = [Span("train", day(1), day(11), "ten days"), Span("test", day(11), day(21), "")]
    drawing = timeline(spans, "")
    (train,), (test,) = rects(drawing, "part0"), rects(drawing, "part1")
    assert train["width"] == test["width"] > 100
    assert test["x"] == train["x"] + train["width"]
    assert "2024-01-01" in drawing
    assert "2024-01-11" in drawing
    assert "2024-01-21" in drawing


def test_timeline_of_one_instant_is_still_seen():
    time = datetime(2024, 1, 1, tzinfo=UTC)
    assert rects(timeline([Span("train", time, time, "")], ""), "part0")[0]["width"] == 3


def test_only_the_winner_has_the_accent():
    model = make_model("a", 0.1)
    assert figures.tone(model) == "plain"
    assert figures.tone(replace(model, selected=True)) == "accent"
