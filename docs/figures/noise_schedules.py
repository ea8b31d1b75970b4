"""Draw noise_schedules.svg, the figure of docs/models.md, from the code that trains.

Run from the project's folder: python -m docs.figures.noise_schedules
"""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

import numpy as np
from markupsafe import Markup

from diffrec_core.diffusion.gaussian import schedule_tables
from diffrec_core.diffusion.noise_schedule import NoiseConfig, noise_betas
from diffrec_core.report import svg
from diffrec_core.report.svg import Scale

FIGURE = Path(__file__).with_suffix(".svg")
SCHEDULES: tuple[str, ...] = get_args(NoiseConfig.model_fields["noise_schedule"].annotation)
SETTINGS = {"steps": 40, "noise_scale": 0.005, "noise_min": 0.005, "noise_max": 0.01}
"""Those of DiffRec on MovieLens-1M (presets/ml-1m-clean.yaml)."""

_WIDTH, _HEIGHT, _TOP, _BOTTOM = 760, 340, 78, 290
_PANELS = ((56, 366), (432, 742))  # left and right edges
_LABEL = (
    "Noise of the four schedules over 40 steps, on logarithmic axes: cosine and binomial replace "
    "the whole input by noise, linear and linear-var less than a hundredth of it."
)
_STYLE = """.curve{stroke-width:2.2;stroke-linejoin:round}
.linear{stroke:var(--c0);stroke-dasharray:7 3} .linear-var{stroke:var(--c1)}
.cosine{stroke:var(--c2)} .binomial{stroke:var(--c3);stroke-dasharray:2 3}
"""


def draw() -> str:
    """Return the figure as the text of a file."""
    noise, betas = {}, {}
    for name in SCHEDULES:
        noise[name], betas[name] = _tables(name)
    lowest = min(map(min, [*noise.values(), *betas.values()]))
    parts = [
        *_legend(),
        *_panel(_PANELS[0], "1 − ᾱₜ, variance of the noise in xₜ", noise, lowest),
        *_panel(_PANELS[1], "βₜ, variance that step t adds", betas, lowest),
    ]
    return svg.document(_WIDTH, _HEIGHT, _LABEL, parts, _STYLE)


def _tables(name: str) -> tuple[Sequence[float], Sequence[float]]:
    """1 - ᾱ_t and β_t of a schedule, t = 1 … T."""
    config = NoiseConfig.model_validate(
        {**SETTINGS, "noise_schedule": name, "fix_first_beta": False}
    )
    betas = noise_betas(config)
    share: Sequence[float] = np.square(schedule_tables(betas)["sqrt_one_minus_alpha_bar"]).tolist()
    return share, betas.tolist()


def _legend() -> list[Markup]:
    parts = []
    for number, name in enumerate(SCHEDULES):
        x = _PANELS[0][0] + 130 * number
        parts.append(svg.line([(x, 20), (x + 34, 20)], f"curve {name}"))
        parts.append(svg.text(x + 42, 24, name))
    return parts


def _panel(
    edges: tuple[int, int], title: str, curves: dict[str, Sequence[float]], lowest: float
) -> list[Markup]:
    left, right = edges
    x = Scale(1.0, float(SETTINGS["steps"]), left, right)
    y = Scale(10.0 ** math.floor(math.log10(lowest)), 1.0, _BOTTOM, _TOP, log=True)
    return [
        svg.text(left, _TOP - 18, title, "strong"),
        svg.grid_x(x, _TOP, _BOTTOM),
        svg.grid_y(y, left, right, _power),
        *(
            svg.line([(x(t), y(v)) for t, v in enumerate(values, 1)], f"curve {name}")
            for name, values in curves.items()
        ),
        svg.text((left + right) / 2, _HEIGHT - 12, "diffusion step t", "middle small"),
    ]


def _power(value: float) -> str:
    """Write a power of ten as 10⁻³."""
    exponent = round(math.log10(value))
    digits = str(exponent).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
    return f"10{digits}" if exponent else "1"


if __name__ == "__main__":
    FIGURE.write_text(draw(), encoding="utf-8")
