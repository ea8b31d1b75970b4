"""Drawing with matplotlib in the style of the pages, without its global state."""

import warnings
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final, Literal

from matplotlib import style
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Annotation

from diffrec_core.report.style import LIGHT

TIP: Final = "tip:"
"""Begins the `gid` of an artist; the rest of it is its tooltip."""
SIZE, SMALL = 12.5, 11.5
STRONG: Final[dict[str, Any]] = {"fontsize": SIZE, "fontweight": "bold", "color": LIGHT["text"]}
QUIET: Final[dict[str, Any]] = {"fontsize": SMALL, "color": LIGHT["muted"]}
_COLOURS = ("accent", "red", "blue", "amber")
_DASHES = ("-", "--", ":", "-.")
_SETTINGS: Final = {
    "svg.fonttype": "none",
    "svg.hashsalt": "diffrec",
    "font.family": "DejaVu Sans",  # matplotlib brings it: texts are measured alike everywhere
    "text.color": LIGHT["text"],
    "text.parse_math": False,
    "axes.axisbelow": True,
    "axes.labelcolor": LIGHT["muted"],
    "axes.labelsize": SMALL,
    "grid.color": LIGHT["line"],
    "grid.linewidth": 1.0,
    "lines.linewidth": 2.0,
    "lines.markeredgecolor": LIGHT["page"],
    "lines.markeredgewidth": 1.5,
    "path.simplify_threshold": 0.3,
}


@contextmanager
def drawing_style() -> Iterator[None]:
    """Set our style in place of matplotlib's and the user's own; also a decorator."""
    with style.context(["default", _SETTINGS]), warnings.catch_warnings():
        # texts stay texts: the reader's browser has the letters that matplotlib's font lacks
        warnings.filterwarnings("ignore", r"Glyph .* missing from font", UserWarning)
        yield


def new_axes(
    size: tuple[float, float],
    margins: tuple[float, float, float, float],
    grid: Literal["x", "y", "both"] | None = None,
    figure: Figure | None = None,
) -> tuple[Figure, Axes]:
    """Make axes in a figure.

    Args:
        size: width and height of the figure in pixels.
        margins: pixels left, above, right and below of the axes.
        grid: which lines to draw.
        figure: one that is there already.
    """
    (width, height), (left, top, right, bottom) = size, margins
    figure = figure or Figure(figsize=(width / 72, height / 72), dpi=72, frameon=False)
    share = (1 - (left + right) / width, 1 - (top + bottom) / height)
    axes = figure.add_axes((left / width, bottom / height, *share), frameon=False)
    axes.locator_params(nbins=5)
    axes.xaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_major_formatter("{x:g}")
    axes.tick_params(which="both", length=0, labelcolor=LIGHT["muted"], labelsize=SMALL)
    if grid:
        axes.grid(axis=grid)
    return figure, axes


def name_rows(
    axes: Axes, names: Sequence[str], bold: Collection[str] = (), longest: int = 17
) -> None:
    """Give the rows of horizontal bars their names, the first one at the top."""
    axes.set_ylim(max(1, len(names)) - 0.5, -0.5)
    axes.set_yticks(range(len(names)), [clip(name, longest) for name in names])
    axes.tick_params(axis="y", pad=8, labelcolor=LIGHT["text"], labelsize=SIZE)
    for label, name in zip(axes.get_yticklabels(), names, strict=True):
        label.set_fontweight("bold" if name in bold else "normal")


def name_ends(axes: Axes, places: Sequence[float], names: Sequence[str]) -> None:
    """Name places of the horizontal axis; the names at its ends stay inside."""
    axes.set_xticks(places, names)
    labels = axes.get_xticklabels()
    labels[-1].set_horizontalalignment("right")
    labels[0].set_horizontalalignment("left")


def note(
    axes: Axes, content: str, at: tuple[float, float], offset: tuple[float, float], **look: Any
) -> Annotation:
    """Write beside a point, so many pixels to the right and up; small and grey by default."""
    return axes.annotate(content, at, offset, textcoords="offset points", **QUIET | look)


@drawing_style()
def draw_key(names: Sequence[str]) -> Figure:
    """Draw the lines of `curve`, with what they stand for."""
    figure, axes = new_axes((200, 24 * len(names) + 12), (8, 6, 156, 6))
    name_rows(axes, names)
    axes.yaxis.tick_right()
    axes.set_xticks([])
    for number in range(len(names)):
        axes.plot([0, 1], [number, number], **curve(number))
    return figure


def curve(number: int) -> Mapping[str, Any]:
    """Colour and dashes of one among several lines; sixteen of them differ."""
    dashes = _DASHES[(number + number // 4) % 4]
    return {"color": LIGHT[_COLOURS[number % 4]], "linestyle": dashes}


def tone(selected: bool) -> str:
    """Return the colour of a model's marks: the one accent colour is the winner's."""
    return LIGHT["accent" if selected else "mark"]


def clip(content: str, length: int) -> str:
    """Shorten what would not fit.

    >>> clip("popularity", 20), clip("popularity", 6)
    ('popularity', 'popul…')
    """
    return content if len(content) <= length else content[: length - 1] + "…"
