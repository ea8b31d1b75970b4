"""The figures of the report as pictures of their own, for `dvc plots show`."""

import re
from collections.abc import Sequence
from importlib import resources

from markupsafe import Markup

from diffrec_core.report import svg
from diffrec_core.report.data import ReportData
from diffrec_core.report.figure import Figure
from diffrec_core.report.findings import build_figures
from diffrec_core.report.robustness import CURVES
from diffrec_core.report.timeline import split_timeline

FIGURES = (
    *("comparison", "cost", "slices", "popularity", "calibration", "training", "noise"),
    "timeline",
)
"""All of them: dvc.yaml names the files, so that each is there in every run."""

_COLUMNS = 3
_GAP = 24
_TITLE = 30
_SIZE = re.compile(r'^<svg viewBox="0 0 ([\d.]+) ([\d.]+)"')


def plot_pictures(data: ReportData) -> dict[str, str]:
    """Text of an SVG file by name of figure; a figure that has no data says so.

    Raises:
        DataError: `protocol["parts"]` has a time that is not ISO 8601.
    """
    figures = [*build_figures(data.ranked, data), split_timeline(data.protocol)]
    found = {figure.name: figure for figure in figures if figure is not None}
    return {name: _picture(name, found.get(name)) for name in FIGURES}


def _picture(name: str, figure: Figure | None) -> str:
    if figure is None:
        return svg.document(420, 40, f"{name}: not measured", [svg.text(8, 24, "not measured")])
    panels = [(title, *_size(drawing)) for title, _, drawing in figure.panels]
    width = max(size[0] for _, size, _ in panels)
    columns = min(_COLUMNS, len(panels))
    parts, top = [svg.text(_GAP, 26, figure.heading, "strong")], 44.0
    for start in range(0, len(panels), columns):
        row = panels[start : start + columns]
        parts += _row(row, top, width)
        top += max(size[1] for _, size, _ in row) + _TITLE + _GAP
    label = f"{figure.heading}. {figure.finding}"
    return svg.document(columns * (width + _GAP) + _GAP, top, label, parts, _style() + CURVES)


_Panel = tuple[str, tuple[float, float], Markup]


def _row(panels: Sequence[_Panel], top: float, width: float) -> list[Markup]:
    parts = []
    for number, (title, (own_width, height), drawing) in enumerate(panels):
        left = _GAP + number * (width + _GAP)
        if title:
            parts.append(svg.text(left, top + 16, svg.clip(title, 60), "strong"))
        parts.append(svg.placed(drawing, left, top + _TITLE, own_width, height))
    return parts


def _size(drawing: Markup) -> tuple[tuple[float, float], Markup]:
    found = _SIZE.match(drawing)
    if found is None:
        raise ValueError(f"a panel must begin with its viewBox, found {drawing[:60]!r}")
    return (float(found[1]), float(found[2])), drawing


def _style() -> str:
    """The page's colours, light and dark, and its rules for what is inside drawings."""
    page = resources.files(__package__).joinpath("templates", "style.css")
    lines = page.read_text(encoding="utf-8").splitlines()
    kept = ("svg ", ":root", "@media (prefers-color-scheme:dark){:root")
    return "\n".join(line for line in lines if line.startswith(kept)) + "\n"
