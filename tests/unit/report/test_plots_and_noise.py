"""The figures as files for DVC, the noise curves, and labels where there is little room."""

import re
from dataclasses import replace
from xml.etree import ElementTree

import pytest
from ruamel.yaml import YAML

from diffrec_core.report.cost import MEMORY, scatter
from diffrec_core.report.noise import noise
from diffrec_core.report.plots import FIGURES, plot_pictures
from diffrec_core.report.robustness import Measured
from tests.unit.report.full_run import NAMES, TRAINED, full_run
from tests.unit.report.runs import make_model
from tests.unit.report.test_figures import circles

SVG = "{http://www.w3.org/2000/svg}"


def test_every_figure_is_a_file_of_its_own_with_all_its_panels():
    pictures = plot_pictures(full_run())
    assert set(pictures) == set(FIGURES)
    panels = dict.fromkeys(FIGURES, 0)
    for name, text in pictures.items():
        root = ElementTree.fromstring(text)  # noqa: S314  # our own text
        inner = root.findall(f"{SVG}svg")
        panels[name] = len(inner)
        right = [float(panel.attrib["x"]) + float(panel.attrib["width"]) for panel in inner]
        bottom = [float(panel.attrib["y"]) + float(panel.attrib["height"]) for panel in inner]
        assert max(right) <= float(root.attrib["width"])
        assert max(bottom) <= float(root.attrib["height"])
        used = set(re.findall(r"var\((--\w+)\)", text))
        assert used <= set(re.findall(r"(--\w+):", text))
    assert panels == {
        "comparison": 2,
        "cost": 2,
        "slices": 4,
        "popularity": len(NAMES),
        "calibration": 1,
        "training": len(TRAINED),
        "noise": 3,
        "timeline": 1,
    }


def test_dvc_shows_every_figure(project_root):
    select = YAML(typ="safe").load(project_root / "dvc.yaml")["stages"]["select"]
    pictures = [path for path in select["plots"] if isinstance(path, str)]
    assert pictures == [f"reports/plots/{name}.svg" for name in FIGURES]


def test_panels_in_a_file_do_not_cover_each_other():
    root = ElementTree.fromstring(plot_pictures(full_run())["popularity"])  # noqa: S314
    keys = ("x", "y", "width", "height")
    boxes = [[float(panel.attrib[key]) for key in keys] for panel in root.findall(f"{SVG}svg")]
    for number, (x, y, width, height) in enumerate(boxes):
        for a, b, wide, high in boxes[number + 1 :]:
            assert x + width <= a or a + wide <= x or y + height <= b or b + high <= y


def test_marks_look_in_a_file_as_they_do_on_the_page(project_root):
    page = (project_root / "diffrec_core/report/templates/style.css").read_text(encoding="utf-8")
    rule = re.compile(r"^svg \.([\w-]+)", re.MULTILINE)
    styled = set(rule.findall(page))
    for text in plot_pictures(full_run()).values():
        used = {name for names in re.findall(r'class="([^"]*)"', text) for name in names.split()}
        assert used & styled
        assert used & styled <= set(rule.findall(text))


def test_a_figure_without_data_says_so(one_item):
    pictures = plot_pictures(one_item)
    for name in ("slices", "calibration", "training", "noise"):
        assert "not measured" in pictures[name]
    assert "not measured" not in pictures["comparison"]
    assert "not measured" not in pictures["timeline"]
    assert "not measured" in plot_pictures(replace(one_item, protocol={}))["timeline"]


def test_models_without_room_are_named_beside_the_drawing():
    models = [
        make_model(f"a_model_{n:02d}", 0.2, peak_memory_mib=500.0 + n / 10, selected=n == 0)
        for n in range(30)
    ]
    drawing, nameless = scatter(models, "recall@20", MEMORY, "")
    drawn = re.findall(r">(a_model_\d\d)</text>", drawing)
    assert sorted([*drawn, *nameless]) == [model.name for model in models]
    assert drawn[0] == "a_model_00"  # the winner always is
    assert nameless
    assert len(circles(drawing)) == 30


def test_memory_is_drawn_to_scale_and_on_a_logarithmic_axis_where_it_must():
    near = [make_model(str(n), 0.2, peak_memory_mib=400.0 + 200 * n) for n in range(3)]
    places = [x for x, _ in reversed(circles(scatter(near, "recall@20", MEMORY, "")[0]))]
    assert places[1] - places[0] == pytest.approx(places[2] - places[1], abs=0.2)
    assert places[2] - places[0] > 200  # the axis is no longer than it must be
    far = [near[0], replace(near[1], peak_memory_mib=40_000.0)]
    assert "(logarithmic)" in scatter(far, "recall@20", MEMORY, "")[0]
    assert "(logarithmic)" not in scatter(near, "recall@20", MEMORY, "")[0]


ROWS = [
    Measured("ease", "none", 0.0, 0, 0.20, 0.10),
    Measured("slim", "none", 0.0, 0, 0.10, 0.10),
    Measured("ease", "random", 0.5, 0, 0.15, 0.10),
    Measured("slim", "random", 0.5, 0, 0.09, 0.10),
    Measured("ease", "natural", 0.2, 0, 0.21, 0.10),
]


def test_noise_tells_the_loss_at_the_highest_level_of_each_kind():
    figure = noise(ROWS)
    assert figure is not None
    assert figure.finding == (
        "With 50% of random pairs added, recall@20 loses: ease 25%, slim 10%. slim loses "
        "the least. With 20% of natural noise added, recall@20 loses: ease -5%."
    )
    assert [title for title, _, _ in figure.panels] == [
        "recall@20, share lost",
        "ndcg@20, share lost",
        "Models",
    ]
    assert "curve m1" in figure.panels[2][2]


def test_without_retraining_there_are_no_noise_curves():
    assert noise([]) is None
    assert noise(ROWS[:2]) is None
