"""What the figures of accuracy and of training say, in words and numbers; all figures of a run."""

import math
from collections.abc import Sequence

from diffrec_core.report import figures
from diffrec_core.report.calibration import calibration
from diffrec_core.report.cost import accuracy_and_cost
from diffrec_core.report.data import ModelResult, ReportData
from diffrec_core.report.figure import MOST_NAMED, Figure
from diffrec_core.report.noise import noise
from diffrec_core.report.popularity import popularity
from diffrec_core.report.slices import slices
from diffrec_core.report.svg import Point


def build_figures(models: Sequence[ModelResult], data: ReportData) -> list[Figure]:
    """Return the figures that the run has data for; models best first."""
    shown = f"recall@{data.cutoff}"
    found = [
        metric_comparison(models, data.cutoff),
        accuracy_and_cost(models, shown),
        slices(models, shown),
        popularity(models, data.item_popularity, data.list_length),
        calibration(models, data.cutoff),
        training_curves(models),
        noise(data.noise),
    ]
    return [figure for figure in found if figure is not None]


def metric_comparison(models: Sequence[ModelResult], cutoff: int) -> Figure:
    """Bars of recall and ndcg on both parts."""
    metrics = [f"recall@{cutoff}", f"ndcg@{cutoff}"]
    winner, shown = models[0], metrics[0]
    best = max(models, key=lambda model: model.test[shown])
    finding = f"{winner.name} has test {shown} {winner.test[shown]:.4f}"
    if best.test[shown] > winner.test[shown]:
        finding += f"; {best.name}, not chosen by validation, has more: {best.test[shown]:.4f}."
    else:
        finding += ", the highest." if len(models) > 1 else "."
    panels = []
    for metric in metrics:
        numbers = "; ".join(
            f"{m.name} test {m.test[metric]:.4f}, validation {m.validation[metric]:.4f}"
            for m in models
        )
        label = f"Bars of {metric}: {numbers}."
        panels.append((metric, "", figures.bars(models, metric, label)))
    return Figure("comparison", "Metric comparison", finding, panels, "parts")


def training_curves(models: Sequence[ModelResult]) -> Figure | None:
    """A panel for each model that was trained in epochs; None if there is no such model."""
    curves = {m.name: (_series(m, _loss_key(m)), _series(m, "validation")) for m in models}
    trained = {name: curve for name, curve in curves.items() if any(curve)}
    if not trained:
        return None
    highest = max((value for _, points in trained.values() for _, value in points), default=1.0)
    panels, findings = [], []
    for name, (losses, validation) in trained.items():
        remark = _best_epoch(losses, validation)
        label = f"Training of {name}: {remark}. {_loss_in_words(losses)}"
        drawing = figures.training_curve(losses, validation, highest, label)
        panels.append((name, remark, drawing))
        findings.append(f"{name} {remark}")
    untrained = [name for name in curves if name not in trained]
    if len(curves) > MOST_NAMED:
        finding = f"{len(trained)} of {len(curves)} models are trained in epochs."
    else:
        finding = "; ".join(findings) + "."
        finding += f" Without epochs: {', '.join(untrained)}." if untrained else ""
    return Figure("training", "Training curves", finding, panels, "curves")


def _loss_key(model: ModelResult) -> str:
    """`loss`, or else the first column that is named like one."""
    keys = dict.fromkeys(key for record in model.curve for key in record)
    return "loss" if "loss" in keys else next((key for key in keys if "loss" in key), "loss")


def _series(model: ModelResult, key: str) -> list[Point]:
    """Points of a curve where it was measured and is a number."""
    return [
        (record["epoch"], record[key])
        for record in model.curve
        if key in record and math.isfinite(record[key])
    ]


def _best_epoch(losses: Sequence[Point], validation: Sequence[Point]) -> str:
    last = max(epoch for epoch, _ in [*losses, *validation])
    if not validation:
        return f"trained to epoch {last:g}, not validated"
    epoch, value = max(validation, key=lambda point: point[1])
    return f"best {value:.4f} in epoch {epoch:g} of {last:g}"


def _loss_in_words(losses: Sequence[Point]) -> str:
    if not losses:
        return "No loss was recorded."
    (first, start), (last, end) = losses[0], losses[-1]
    return f"Loss {start:.4g} in epoch {first:g}, {end:.4g} in epoch {last:g}."
