"""Drawings as SVG: inside a page, whose colours and letters they take, and as files.

Equal drawings give equal bytes. Nothing in the text refers to anything, not even by an id, so
that any number of drawings can stand on a page.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from io import StringIO
from typing import Any, Final
from xml.etree.ElementTree import Element, SubElement, fromstring, tostring

from markupsafe import Markup
from matplotlib.figure import Figure

from diffrec_core.report import canvas
from diffrec_core.report.style import DRAWING_CSS, LIGHT, palette_css, template_environment

_SPACE = "{http://www.w3.org/2000/svg}"
_LINK = "{http://www.w3.org/1999/xlink}href"
_NAMES = {colour: f"var(--{name})" for name, colour in LIGHT.items()}
_NUMBER = re.compile(r"-?\d+\.\d+")
_FONT = re.compile(r"font-family: [^;]*;? ?")
MOST_NAMED: Final = 8
"""A sentence that would list more models than this names the ends of the list only."""
_GAP, _TITLE, _COLUMNS, _NARROWEST = 24, 30, 3, 420


@dataclass(frozen=True)
class Panel:
    """One drawing.

    Attributes:
        title: above it; may be empty.
        remark: below the title; may be empty.
        drawing: of matplotlib; a point of it is a pixel.
        label: what a screen reader says, so it states the numbers.
    """

    title: str
    remark: str
    drawing: Figure
    label: str

    @cached_property
    def inline(self) -> Markup:
        """The drawing for a page that has the style sheet of `template_environment`.

        Of what matplotlib writes, only shapes and texts stay.
        """
        tree = fromstring(svg_text(self.drawing))  # noqa: S314 - matplotlib's own text
        marks = {mark.get("id", ""): mark for mark in tree.iter(f"{_SPACE}path")}
        box = {"viewBox": tree.get("viewBox", ""), "role": "img", "aria-label": self.label}
        root = Element("svg", box)
        root.extend(_shapes(tree, marks))
        return Markup(tostring(root, "unicode"))  # noqa: S704 - escaped by ElementTree


@dataclass(frozen=True, slots=True)
class ReportFigure:
    """Panels under one heading.

    Attributes:
        name: for links.
        heading: what is shown.
        finding: what is seen, in words.
        panels: the drawings.
        legend: name of the template's key to the marks.
    """

    name: str
    heading: str
    finding: str
    panels: list[Panel]
    legend: str = ""


def svg_text(drawing: Figure, **options: Any) -> str:
    """Write any drawing of matplotlib as SVG, its texts as texts, without the time of writing.

    Args:
        drawing: not necessarily made by `canvas`.
        options: of `savefig`.
    """
    buffer = StringIO()
    nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    with canvas.drawing_style():
        drawing.savefig(buffer, format="svg", metadata=nothing, **options)
    return buffer.getvalue()


def document(figure: ReportFigure) -> str:
    """Return a figure as the text of a file, its panels in rows.

    A file of its own paints its own ground: a page may be dark where the reader's system is light.
    """
    columns = min(_COLUMNS, len(figure.panels))
    sizes = [panel.drawing.bbox.size for panel in figure.panels]
    widths = [max(width for width, _ in sizes[first::columns]) + _GAP for first in range(columns)]
    step = max((height for _, height in sizes), default=0) + _TITLE + _GAP
    panels = []
    for number, panel in enumerate(figure.panels):
        row, column = divmod(number, columns)
        place = (_GAP + sum(widths[:column]), 60 + row * step, *sizes[number])
        panels.append((*map(round, place), panel))
    rows = -(-len(figure.panels) // max(1, columns))
    template = template_environment().get_template("figure.svg.j2")
    return template.render(
        label=f"{figure.heading}. {figure.finding}",
        css=Markup(palette_css("svg") + DRAWING_CSS),  # noqa: S704 - a constant
        heading=figure.heading,
        panels=panels,
        width=max(_NARROWEST, round(sum(widths)) + _GAP),
        height=round(44 + rows * step),
    )


def _shapes(parent: Element, marks: Mapping[str, Element]) -> Iterator[Element]:
    """Yield shapes and texts; a group only where it has a text that a pointer brings up."""
    for child in parent:
        kind = child.tag.removeprefix(_SPACE)
        if kind == "g" and child.get("id", "").startswith(canvas.TIP):
            group = Element("g")
            SubElement(group, "title").text = child.get("id", "").removeprefix(canvas.TIP)
            group.extend(_shapes(child, marks))
            yield group
        elif kind == "g":
            yield from _shapes(child, marks)
        elif kind == "use":
            shape = {**marks[child.get(_LINK, "")[1:]].attrib, "style": child.get("style", "")}
            shape["transform"] = f"translate({child.get('x')} {child.get('y')})"
            yield _shape("path", shape, None)
        elif kind in {"path", "text"}:
            yield _shape(kind, child.attrib, child.text)


def _shape(kind: str, attributes: Mapping[str, str], content: str | None) -> Element:
    """Shorten the numbers, and name the colours, which the page then gives."""
    shape = Element(kind)
    for key in ("d", "x", "y", "transform", "style"):
        value = " ".join(attributes.get(key, "").split())
        if key == "style":
            value = re.sub("#[0-9a-f]{6}", lambda c: _NAMES.get(c[0], c[0]), _FONT.sub("", value))
        if value and not value.startswith("rotate(-0 "):
            shape.set(key, _NUMBER.sub(lambda number: f"{round(float(number[0]), 2):g}", value))
    shape.text = content
    return shape
