"""Drawings as SVG: their texts and colours are the page's, and equal drawings give equal bytes."""

import os
import re
import subprocess
import sys
from hashlib import sha256
from pathlib import Path
from xml.etree import ElementTree

import pytest
from matplotlib.figure import Figure

from diffrec_core.report import canvas
from diffrec_core.report.style import DARK, LIGHT, template_environment
from diffrec_core.report.svg import Panel, ReportFigure, document
from tests.unit.report.test_html import ATTACK

SVG = "{http://www.w3.org/2000/svg}"
READABLE = ("text", "muted", "accent", "red", "blue", "amber")


@canvas.drawing_style()
def drawn(name: str = "ease") -> Figure:
    figure, axes = canvas.new_axes((200, 100), (20, 10, 10, 20), "both")
    axes.plot([0, 1 / 3, 1], [1, 2, 3], "o-", color=LIGHT["accent"], gid=f"{canvas.TIP}{name}: 1")
    axes.bar([0.5], [2], color=LIGHT["mark"])
    canvas.note(axes, name, (0.5, 2), (0, 4))
    return figure


def panel(name: str = "ease") -> Panel:
    return Panel(f"title {name}", "", drawn(name), f"label {name}")


def test_only_shapes_and_texts_stay_with_the_colours_of_the_page():
    root = ElementTree.fromstring(panel().inline)  # noqa: S314  # our own text
    assert {element.tag for element in root.iter()} == {"svg", "g", "title", "path", "text"}
    assert not any({"id", "href", "clip-path"} & {*element.keys()} for element in root.iter())
    styles = " ".join(element.get("style", "") for element in root.iter())
    assert "font-family" not in styles
    assert re.findall("#[0-9a-f]{3,}", styles) == []
    assert {"accent", "mark", "muted", "line"} <= set(re.findall(r"var\(--(\w+)\)", styles))
    assert len(root.findall(".//g/path[@transform]")) == 3  # the marks, each at its place


def test_marks_have_tooltips():
    root = ElementTree.fromstring(panel().inline)  # noqa: S314
    assert [title.text for title in root.findall("g/title")] == ["ease: 1"]


@pytest.mark.parametrize("name", [ATTACK, "$x_1$ & $\\frac{1}{2}$", "推荐 ☃", "_a__b"])
def test_texts_stay_as_they_were_given(name):
    text = document(ReportFigure("x", name, name, [panel(name)]))
    root = ElementTree.fromstring(text)  # noqa: S314
    shown = [element.text for element in root.iter(f"{SVG}text")]
    assert shown.count(name) == 2  # the heading, and in the drawing
    assert f"title {name}" in shown
    assert root.get("aria-label") == f"{name}. {name}"
    (drawing,) = root.findall(f"{SVG}svg/{SVG}svg")
    assert drawing.get("aria-label") == f"label {name}"


def test_a_file_holds_all_panels_side_by_side():
    text = document(ReportFigure("x", "Heading", "", [panel(str(n)) for n in range(7)]))
    root = ElementTree.fromstring(text)  # noqa: S314
    keys = ("x", "y", "width", "height")
    boxes = [[float(inner.get(key, "")) for key in keys] for inner in root.findall(f"{SVG}svg")]
    assert len(boxes) == 7
    width, height = float(root.get("width", "")), float(root.get("height", ""))
    assert all(x + wide <= width and y + high <= height for x, y, wide, high in boxes)
    for number, (x, y, wide, high) in enumerate(boxes):
        for a, b, other_wide, other_high in boxes[number + 1 :]:
            assert x + wide <= a or a + other_wide <= x or y + high <= b or b + other_high <= y
    used = set(re.findall(r"var\((--[\w-]+)\)", text))
    assert used <= set(re.findall(r"(--[\w-]+):", text))


def test_equal_drawings_give_equal_bytes_whatever_the_user_has_set(tmp_path: Path, project_root):
    """In other processes: with another hash seed, a home that cannot be written, and own styles."""
    (tmp_path / "matplotlibrc").write_text("font.size: 30\naxes.grid: True\nsvg.fonttype: path\n")
    code = (
        "import hashlib, sys; from tests.unit.report.test_svg import panel;"
        "sys.stdout.write(hashlib.sha256(panel().inline.encode()).hexdigest());"
        "assert 'matplotlib.pyplot' not in sys.modules"
    )
    keep = {key: value for key, value in os.environ.items() if not key.startswith("MPL")}
    found = {sha256(panel().inline.encode()).hexdigest()}
    for seed, home in (("1", str(tmp_path)), ("2", "/proc/not-there")):
        environment = {"PYTHONPATH": str(project_root), "PYTHONHASHSEED": seed, "HOME": home}
        command = [sys.executable, "-W", "error", "-c", code]
        run = subprocess.run(
            command,
            cwd=tmp_path,
            env=keep | environment,
            capture_output=True,
            text=True,
            check=True,
        )
        found.add(run.stdout)
    assert len(found) == 1


def test_matplotlib_keeps_its_settings():
    import matplotlib as mpl  # noqa: PLC0415

    before = dict(mpl.rcParams)
    document(ReportFigure("x", "", "", [panel()]))
    assert dict(mpl.rcParams) == before


def test_the_pages_use_colours_that_there_are():
    environment = template_environment()
    defined = set(re.findall(r"--([\w-]+):", str(environment.globals["shared_css"])))
    assert len(set(LIGHT.values())) == len(LIGHT)
    for name in ("style.css", "status.css"):
        css = environment.get_template(name).render()
        own = set(re.findall(r"--([\w-]+):", css))
        assert set(re.findall(r"var\(--([\w-]+)\)", css)) <= defined | own


@pytest.mark.parametrize("scheme", [LIGHT, DARK], ids=["light", "dark"])
def test_texts_and_lines_can_be_read_in_both_schemes(scheme):
    page = luminance(scheme["page"])
    for name in READABLE:
        lighter, darker = sorted((page, luminance(scheme[name])), reverse=True)
        assert (lighter + 0.05) / (darker + 0.05) >= 4.5, name  # WCAG AA


def luminance(colour: str) -> float:
    """Relative luminance by WCAG 2."""
    values = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [v / 12.92 if v <= 0.03928 else ((v + 0.055) / 1.055) ** 2.4 for v in values]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
