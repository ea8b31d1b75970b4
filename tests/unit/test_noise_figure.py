"""The committed figure of the noise schedules is what its command draws."""

import re
from itertools import combinations

from docs.figures.noise_schedules import FIGURE, SCHEDULES, SETTINGS, draw

WIDTH, HEIGHT = 760, 340
BOTTOM, TOP, DECADES = 290, 78, 7  # of both panels' axes: 10⁻⁷ … 1


def curves(name: str) -> list[list[float]]:
    """Values of a schedule's curves, read off the picture: the legend's sample, 1 - ᾱ, β."""
    lines = re.findall(rf'<polyline points="([^"]+)" class="curve {name}"/>', draw())
    heights = [[float(point.split(",")[1]) for point in line.split()] for line in lines]
    return [[10 ** (-DECADES * (y - TOP) / (BOTTOM - TOP)) for y in line] for line in heights]


def close(values: list[float], expected: list[float]) -> bool:
    """Equal up to what a tenth of a pixel hides."""
    pairs = zip(values, expected, strict=True)
    return all(abs(value / truth - 1.0) < 0.005 for value, truth in pairs)


def test_the_committed_figure_is_current() -> None:
    assert FIGURE.read_text(encoding="utf-8") == draw(), (
        "run python -m docs.figures.noise_schedules"
    )


def test_curves_are_the_formulas() -> None:
    steps = int(SETTINGS["steps"])
    low = SETTINGS["noise_scale"] * SETTINGS["noise_min"]
    high = SETTINGS["noise_scale"] * SETTINGS["noise_max"]
    between = [low + (high - low) * t / (steps - 1) for t in range(steps)]
    _, noise, betas = curves("binomial")  # every step erases the same share of the signal
    assert close(noise[:-1], [t / steps for t in range(1, steps)])
    assert close(betas[:-1], [1 / (steps - t + 1) for t in range(1, steps)])
    assert close(curves("linear-var")[1], between)
    assert close(curves("linear")[2], between)
    assert len(curves("cosine")) == 3
    assert set(SCHEDULES) == {"linear", "linear-var", "cosine", "binomial"}


def test_no_label_covers_another_or_leaves_the_picture() -> None:
    boxes = []
    pattern = r'<text x="([\d.]+)" y="([\d.]+)" class="([^"]*)">([^<]+)</text>'
    for x, y, style, content in re.findall(pattern, draw()):
        width = 7.2 * len(content)
        start = float(x) - width * (0.5 if "middle" in style else "end" in style.split())
        boxes.append((start, float(y) - 11, start + width, float(y) + 3))
    assert len(boxes) > 20
    assert all(a >= 0 and b >= 0 and c <= WIDTH and d <= HEIGHT for a, b, c, d in boxes)
    for p, q in combinations(boxes, 2):
        assert p[2] <= q[0] or q[2] <= p[0] or p[3] <= q[1] or q[3] <= p[1]


def test_it_is_readable_in_light_and_dark() -> None:
    style = draw().partition("</style>")[0]
    light, dark = (dict(re.findall(r"--(\w+):#(\w+)", part)) for part in style.split("@media"))
    assert set(light) == set(dark)
    for colours in (light, dark):
        page = luminance(colours["page"])
        for name, colour in colours.items():
            if name not in {"page", "line"}:  # grid lines are meant to be faint
                lighter, darker = sorted((page, luminance(colour)), reverse=True)
                assert (lighter + 0.05) / (darker + 0.05) >= 4.5, name  # WCAG AA


def luminance(colour: str) -> float:
    """Relative luminance by WCAG 2."""
    digits = colour if len(colour) == 6 else "".join(2 * digit for digit in colour)
    values = [int(digits[place : place + 2], 16) / 255 for place in (0, 2, 4)]
    linear = [v / 12.92 if v <= 0.03928 else ((v + 0.055) / 1.055) ** 2.4 for v in values]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
