"""What a drawing of matplotlib shows, read off its artists."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.text import Text

Points = list[tuple[float, float]]


def texts(figure: Figure) -> list[str]:
    """Every text that is seen."""
    figure.draw_without_rendering()
    shown = [text for text in figure.findobj(Text) if isinstance(text, Text) and text.get_visible()]
    return [text.get_text() for text in shown if text.get_text()]


def points(line: Line2D) -> Points:
    """Points of a line."""
    return [(float(x), float(y)) for x, y in np.column_stack(line.get_data())]


def circles(axes: Axes) -> dict[str, tuple[float, float]]:
    """Place of every single mark, by the first word of its tooltip."""
    marks = [line for line in axes.lines if line.get_marker() == "o"]
    return {_tip(mark).partition(":")[0]: points(mark)[0] for mark in marks}


def widths(axes: Axes) -> list[float]:
    """Lengths of horizontal bars, in the order in which they were drawn."""
    return [float(bar.get_width()) for bar in axes.patches]


def heights(axes: Axes) -> list[float]:
    """Heights of vertical bars, likewise."""
    return [float(bar.get_height()) for bar in axes.patches]


def rows(axes: Axes) -> list[str]:
    """Names of the rows, from top to bottom."""
    return [label.get_text() for label in axes.get_yticklabels()]


def _tip(line: Line2D) -> str:
    return str(line.get_gid()).removeprefix("tip:")
