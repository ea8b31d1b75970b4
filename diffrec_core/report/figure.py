"""A figure: drawings under one heading, with what is seen in words."""

from dataclasses import dataclass

from markupsafe import Markup

MOST_NAMED = 8
"""A sentence that would list more models than this names the ends of the list only."""


@dataclass(frozen=True, slots=True)
class Figure:
    """Panels (title, remark, SVG) under one heading.

    Attributes:
        name: for links.
        heading: what is shown.
        finding: what is seen.
        panels: the drawings.
        legend: name of the template's key to the marks.
    """

    name: str
    heading: str
    finding: str
    panels: list[tuple[str, str, Markup]]
    legend: str
