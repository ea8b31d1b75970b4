"""Draw noise_schedules.svg, the figure of docs/models.md, from the code that trains.

Run from the project's folder: python -m docs.figures.noise_schedules
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import get_args

import numpy as np
from matplotlib.figure import Figure

from diffrec_core.diffusion.gaussian import schedule_tables
from diffrec_core.diffusion.noise_schedule import NoiseConfig, noise_betas
from diffrec_core.report import canvas
from diffrec_core.report.svg import Panel, ReportFigure, document

FIGURE = Path(__file__).with_suffix(".svg")
SCHEDULES: tuple[str, ...] = get_args(NoiseConfig.model_fields["noise_schedule"].annotation)
SETTINGS = {"steps": 40, "noise_scale": 0.005, "noise_min": 0.005, "noise_max": 0.01}
"""Those of DiffRec on MovieLens-1M (presets/ml-1m-clean.yaml)."""

_FINDING = (
    "On logarithmic axes: cosine and binomial replace the whole input by noise, linear and "
    "linear-var less than a hundredth of it."
)
Curves = Mapping[str, Sequence[float]]
"""A value for each step t = 1 … T, by schedule."""


def build() -> ReportFigure:
    """Return the figure: 1 - ᾱ_t and β_t of every schedule."""
    noise, betas = {}, {}
    for name in SCHEDULES:
        noise[name], betas[name] = _tables(name)
    lowest = min(map(min, [*noise.values(), *betas.values()]))
    panels = [
        Panel(title, "", _draw(curves, lowest), title)
        for title, curves in {
            "1 − ᾱₜ, variance of the noise in xₜ": noise,
            "βₜ, variance that step t adds": betas,
        }.items()
    ]
    panels.append(Panel("Schedules", "", canvas.draw_key(SCHEDULES), ", ".join(SCHEDULES)))
    heading = f"Noise of the four schedules over {SETTINGS['steps']} steps"
    return ReportFigure("noise_schedules", heading, _FINDING, panels)


def _tables(name: str) -> tuple[Sequence[float], Sequence[float]]:
    config = NoiseConfig.model_validate(
        {**SETTINGS, "noise_schedule": name, "fix_first_beta": False}
    )
    betas = noise_betas(config)
    share: Sequence[float] = np.square(schedule_tables(betas)["sqrt_one_minus_alpha_bar"]).tolist()
    return share, betas.tolist()


@canvas.drawing_style()
def _draw(curves: Curves, lowest: float) -> Figure:
    figure, axes = canvas.new_axes((310, 270), (40, 10, 10, 44), "both")
    axes.set_yscale("log")
    axes.minorticks_off()
    for number, (name, values) in enumerate(curves.items()):
        axes.plot(range(1, len(values) + 1), values, label=name, **canvas.curve(number))
    axes.set_ylim(10.0 ** np.floor(np.log10(lowest)), 1.0)
    axes.yaxis.set_major_formatter(lambda value, _: _power(value))
    axes.set_xlabel("diffusion step t")
    return figure


def _power(value: float) -> str:
    """Write a power of ten as 10⁻³."""
    exponent = round(np.log10(value))
    digits = str(exponent).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
    return f"10{digits}" if exponent else "1"


if __name__ == "__main__":
    FIGURE.write_text(document(build()), encoding="utf-8")
