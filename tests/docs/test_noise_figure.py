"""The committed figure of the noise schedules is what its command draws."""

import numpy as np
import pytest

from diffrec_core.report.svg import document
from docs.figures.noise_schedules import FIGURE, SCHEDULES, SETTINGS, build


def curves(name: str) -> list[list[float]]:
    """1 - ᾱ and β of a schedule, as they are drawn."""
    axes = [panel.drawing.axes[0] for panel in build().panels[:2]]
    lines = [line for one in axes for line in one.lines if line.get_label() == name]
    return [np.asarray(line.get_ydata()).tolist() for line in lines]


def test_the_committed_figure_is_current() -> None:
    assert FIGURE.read_text(encoding="utf-8") == document(build()), (
        "run python -m docs.figures.noise_schedules"
    )


def test_curves_are_the_formulas() -> None:
    steps = int(SETTINGS["steps"])
    low = SETTINGS["noise_scale"] * SETTINGS["noise_min"]
    high = SETTINGS["noise_scale"] * SETTINGS["noise_max"]
    between = [low + (high - low) * t / (steps - 1) for t in range(steps)]
    noise, betas = curves("binomial")  # every step erases the same share of the signal
    assert noise[:-1] == pytest.approx([t / steps for t in range(1, steps)])
    assert betas[:-1] == pytest.approx([1 / (steps - t + 1) for t in range(1, steps)])
    assert curves("linear-var")[0] == pytest.approx(between)
    assert curves("linear")[1] == pytest.approx(between)
    assert len(curves("cosine")) == 2
    assert set(SCHEDULES) == {"linear", "linear-var", "cosine", "binomial"}


def test_both_axes_are_logarithmic_and_hold_all_curves() -> None:
    for panel in build().panels[:2]:
        (axes,) = panel.drawing.axes
        low, high = axes.get_ylim()
        assert axes.get_yscale() == "log"
        assert all(low <= value <= high for line in axes.lines for value in line.get_ydata())
