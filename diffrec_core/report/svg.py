"""Inline SVG by hand: scales, axes and the few shapes that the report's figures are made of.

Drawn here instead of by a plotting library, so that text takes the page's font and colours
follow its light or dark theme (the CSS classes of templates/style.css), and so that equal inputs
give equal bytes. `Markup.format` escapes what it inserts.
"""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from markupsafe import Markup

Point = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Scale:
    """Maps values to pixels, linearly or by logarithm.

    Attributes:
        low: value at pixel `start`.
        high: value at pixel `end`; equal to `low` where all values are one.
        start: first pixel.
        end: last pixel.
        log: whether equal ratios are equally far apart; needs values above 0.
    """

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def __call__(self, value: float) -> float:
        """Return the pixel of a value."""
        low, high = self.low, self.high
        if self.log:
            low, high, value = math.log10(low), math.log10(high), math.log10(value)
        share = (value - low) / (high - low) if high > low else 0.5
        return self.start + share * (self.end - self.start)

    @property
    def ticks(self) -> list[float]:
        """Round values inside [low, high]: powers of ten, or about four equal steps.

        >>> Scale(0.0, 0.31, 0, 100).ticks
        [0.0, 0.1, 0.2, 0.3]
        >>> Scale(0.05, 200, 0, 100, log=True).ticks
        [0.1, 1.0, 10.0, 100.0]
        """
        if self.log:
            first = math.ceil(math.log10(self.low) - 1e-9)
            last = math.floor(math.log10(self.high) + 1e-9)
            return [10.0**power for power in range(first, last + 1)]
        if self.high <= self.low:
            return [self.low]
        rough = (self.high - self.low) / 4
        unit = 10.0 ** math.floor(math.log10(rough))
        step = next(unit * factor for factor in (1, 2, 5, 10) if unit * factor >= rough * 0.999)
        first, last = math.ceil(self.low / step - 1e-9), math.floor(self.high / step + 1e-9)
        return [round(number * step, 12) for number in range(first, last + 1)]


def picture(width: float, height: float, label: str, parts: Iterable[Markup]) -> Markup:
    """Put shapes together; `label` is what a screen reader says, so it states the finding."""
    markup = Markup('<svg viewBox="0 0 {} {}" role="img" aria-label="{}">{}</svg>')
    return markup.format(_number(width), _number(height), label, Markup("").join(parts))


# A file of its own paints its own ground: a page may be dark where the reader's system is light.
_STYLE = """<style>
svg{--page:#fff;--text:#1c2126;--muted:#57606a;--line:#dde2e7;\
--c0:#0b6e66;--c1:#b3261e;--c2:#2f5fc4;--c3:#7a5200}
@media (prefers-color-scheme:dark){svg{--page:#12171c;--text:#e6eaee;--muted:#a3aeb9;\
--line:#323b44;--c0:#56c7b5;--c1:#ff9d94;--c2:#8fb4ff;--c3:#e2b866}}
.page{fill:var(--page)}
text{font:12.5px system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",Arial,sans-serif;\
fill:var(--text)}
.small{font-size:11.5px;fill:var(--muted)} .strong{font-weight:600}
.middle{text-anchor:middle} .end{text-anchor:end}
polyline{fill:none} .grid{stroke:var(--line)}
"""


def document(
    width: float, height: float, label: str, parts: Iterable[Markup], style: str = ""
) -> str:
    """Put shapes together as a file of its own, light and dark; `style` is further CSS."""
    first = [Markup(_STYLE + style + "</style>"), rect(0, 0, width, height, "page")]  # noqa: S704
    drawing = str(picture(width, height, label, [*first, *parts]))
    size = f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:g}" height="{height:g}" '
    return drawing.replace("<svg ", size, 1) + "\n"


def placed(drawing: Markup, x: float, y: float, width: float, height: float) -> Markup:
    """Put a picture into another one, its upper left corner at a point."""
    place = Markup('<svg x="{}" y="{}" width="{}" height="{}" ')
    return drawing.replace("<svg ", place.format(*map(_number, (x, y, width, height))), 1)


def text(x: float, y: float, content: str, style: str = "") -> Markup:
    """Write at a base line; the styles `middle` and `end` say which part of it is at x."""
    markup = Markup('<text x="{}" y="{}" class="{}">{}</text>')
    return markup.format(_number(x), _number(y), style, content)


def rect(x: float, y: float, width: float, height: float, style: str) -> Markup:
    """Draw a rectangle from its upper left corner."""
    markup = Markup('<rect x="{}" y="{}" width="{}" height="{}" class="{}"/>')
    return markup.format(*map(_number, (x, y, width, height)), style)


def circle(centre: Point, radius: float, style: str) -> Markup:
    """Draw a circle."""
    markup = Markup('<circle cx="{}" cy="{}" r="{}" class="{}"/>')
    return markup.format(_number(centre[0]), _number(centre[1]), _number(radius), style)


def titled(title: str, *parts: Markup) -> Markup:
    """Group shapes under a text that a pointer brings up."""
    return Markup("<g><title>{}</title>{}</g>").format(title, Markup("").join(parts))


def line(points: Iterable[Point], style: str) -> Markup:
    """Draw straight lines from point to point."""
    corners = " ".join(f"{_number(x)},{_number(y)}" for x, y in points)
    return Markup('<polyline points="{}" class="{}"/>').format(corners, style)


def grid_x(x: Scale, top: float, bottom: float) -> Markup:
    """Draw a vertical line at every tick, its value below."""
    marks = []
    for tick in x.ticks:
        marks.append(line([(x(tick), top), (x(tick), bottom)], "grid"))
        marks.append(text(x(tick), bottom + 15, f"{tick:g}", "middle small"))
    return Markup("").join(marks)


def grid_y(
    y: Scale, left: float, right: float, write: Callable[[float], str] = "{:g}".format
) -> Markup:
    """Draw a horizontal line at every tick, its value on the left."""
    marks = []
    for tick in y.ticks:
        marks.append(line([(left, y(tick)), (right, y(tick))], "grid"))
        marks.append(text(left - 6, y(tick) + 4, write(tick), "end small"))
    return Markup("").join(marks)


def clip(content: str, length: int) -> str:
    """Shorten what would not fit.

    >>> clip("popularity", 20), clip("popularity", 6)
    ('popularity', 'popul…')
    """
    return content if len(content) <= length else content[: length - 1] + "…"


def _number(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")
