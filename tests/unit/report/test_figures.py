"""All figures of a run, on the page and as files for DVC."""

import subprocess
import sys
from xml.etree import ElementTree

from ruamel.yaml import YAML

from diffrec_core.report.figures import FIGURES, build_figures, plot_pictures
from tests.unit.report.full_run import NAMES, TRAINED, full_run


def test_a_full_run_has_every_figure_with_all_its_panels():
    figures = build_figures(full_run())
    assert tuple(figures) == FIGURES
    assert {name: len(figure.panels) for name, figure in figures.items()} == {
        "comparison": 2,
        "cost": 2,
        "slices": 4,
        "popularity": len(NAMES),
        "calibration": 1,
        "training": len(TRAINED),
        "timeline": 1,
    }
    pictures = plot_pictures(figures)
    for name, figure in figures.items():
        root = ElementTree.fromstring(pictures[name])  # noqa: S314  # our own text
        texts = "".join(root.itertext())
        assert all(panel.title in texts for panel in figure.panels)
        assert root.get("aria-label") == f"{figure.heading}. {figure.finding}"


def test_dvc_shows_every_figure(project_root):
    select = YAML(typ="safe").load(project_root / "dvc.yaml")["stages"]["select"]
    pictures = [path for path in select["plots"] if isinstance(path, str)]
    assert pictures == [f"reports/plots/{name}.svg" for name in FIGURES]


def test_a_figure_without_data_is_a_file_that_says_so(one_item):
    pictures = plot_pictures(build_figures(one_item))
    assert tuple(pictures) == FIGURES
    missing = [name for name, text in pictures.items() if f"{name}: not measured" in text]
    assert missing == ["slices", "calibration", "training"]


def test_stages_that_draw_nothing_load_no_matplotlib(project_root):
    names = ("ingest", "split", "train", "evaluate", "recommend", "champion.gate")
    modules = ", ".join(f"pipeline_steps.{name}" for name in names)
    code = f"import sys, {modules}; sys.exit('matplotlib' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], cwd=project_root, check=True)
