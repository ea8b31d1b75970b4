"""Loss of accuracy on clean test data after training on noisy data."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import mean, stdev
from typing import Any, NamedTuple

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from diffrec_core.evaluation.metrics import headline
from diffrec_core.report import canvas
from diffrec_core.report.facts import percent
from diffrec_core.report.svg import Panel, ReportFigure, document

METRICS = tuple(headline(20))
"""Of `NoiseResult`: recall and NDCG."""

_KINDS = {"random": "random pairs", "natural": "natural noise"}


@dataclass(frozen=True, slots=True)
class NoiseResult:
    """One fit.

    Attributes:
        model: its name.
        noise: `none`, `random` or `natural`.
        share: of noisy interactions, of the clean ones.
        seed: of noise and fit, from 0.
        recall, ndcg: at 20, on clean test data.
    """

    model: str
    noise: str
    share: float
    seed: int
    recall: float
    ndcg: float

    def value(self, metric: str) -> float:
        """One of `METRICS`."""
        return self.recall if metric == METRICS[0] else self.ndcg


class Drop(NamedTuple):
    """Relative loss at one level of noise: mean and standard deviation over seeds.

    Attributes:
        share: the level.
        mean: 0.1 where a tenth of the metric is lost; negative where it grew.
        spread: the sample standard deviation; 0 for one seed.
    """

    share: float
    mean: float
    spread: float


def drops(rows: Sequence[NoiseResult], model: str, noise: str, metric: str) -> list[Drop]:
    """The loss of a model at every level of a noise, each seed against its own clean fit."""
    clean = {r.seed: r.value(metric) for r in rows if r.model == model and r.noise == "none"}
    levels: dict[float, list[float]] = {}
    for row in rows:
        if row.model == model and row.noise == noise and clean.get(row.seed):
            levels.setdefault(row.share, []).append(1 - row.value(metric) / clean[row.seed])
    return [
        Drop(share, mean(values), stdev(values) if len(values) > 1 else 0.0)
        for share, values in sorted(levels.items())
    ]


def noise_picture(rows: Sequence[NoiseResult]) -> str:
    """Return `noise_figure` as the text of a file."""
    return document(noise_figure(rows))


def noise_figure(rows: Sequence[NoiseResult]) -> ReportFigure:
    """Loss of both metrics against the level of noise; no panels where nothing was retrained."""
    models = list(dict.fromkeys(row.model for row in rows))
    findings = [words for kind in _KINDS if (words := _finding(rows, models, kind))]
    if not findings:
        return ReportFigure("noise", "Noise: not measured", "", [])
    finding = " ".join(findings)
    panels = [
        Panel(f"{metric}, share lost", "", draw_noise(metric, rows, models), f"{metric}. {finding}")
        for metric in METRICS
    ]
    key = f"Key: the lines of {len(models)} models: {', '.join(models)}."
    panels.append(Panel("Models", "", canvas.draw_key(models), key))
    return ReportFigure("noise", "Training on noisy data", finding, panels, "noise")


def _finding(rows: Sequence[NoiseResult], models: Sequence[str], kind: str) -> str:
    """Say what is lost at the highest level of a kind of noise; empty if nothing was measured."""
    worst = {model: drops(rows, model, kind, METRICS[0])[-1:] for model in models}
    known = {model: drop[0] for model, drop in worst.items() if drop}
    if not known:
        return ""
    share = max(drop.share for drop in known.values())
    lost = ", ".join(f"{model} {percent(drop.mean)}" for model, drop in known.items())
    words = f"With {percent(share)} of {_KINDS[kind]} added, {METRICS[0]} loses: {lost}."
    least = min(known, key=lambda model: known[model].mean)
    return words + (f" {least} loses the least." if len(known) > 1 else "")


@canvas.drawing_style()
def draw_noise(metric: str, rows: Sequence[NoiseResult], models: Sequence[str]) -> Figure:
    """Loss against the level of random noise; natural noise has a place of its own beside it."""
    figure, axes = canvas.new_axes((400, 300), (48, 12, 8, 46), "both")
    highest = max((row.share for row in rows if row.noise == "random"), default=0.0) or 0.5
    beside = 1.16 * highest
    for number, model in enumerate(models):
        look: dict[str, Any] = {"elinewidth": 1.2, **canvas.curve(number)}
        line = [Drop(0.0, 0.0, 0.0), *drops(rows, model, "random", metric)]
        axes.errorbar(*np.transpose(line), **look)
        place = beside + 0.02 * highest * (number - (len(models) - 1) / 2)
        for drop in drops(rows, model, "natural", metric):
            axes.errorbar(place, *drop[1:], marker="o", markersize=7, **look)
    axes.set_xlim(0.0, 1.25 * highest)
    axes.set_xticks([t for t in MaxNLocator(5).tick_values(0.0, highest) if 0 <= t <= highest])
    axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    axes.set_xlabel("random pairs added")
    below = {"xycoords": ("data", "axes fraction"), "ha": "center", "va": "top"}
    canvas.note(axes, "natural", (beside, 0.0), (0, -4), **below)
    return figure
