"""Training curves: validation and loss by epoch."""

from collections.abc import Sequence

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from diffrec_core.report import canvas
from diffrec_core.report.data import ModelResult
from diffrec_core.report.style import LIGHT
from diffrec_core.report.svg import MOST_NAMED, Panel, ReportFigure

Curve = Sequence[tuple[float, float]]
"""Epochs with a value each."""


def training_curves(models: Sequence[ModelResult]) -> ReportFigure | None:
    """A panel for each model that was trained in epochs; None if there is no such model."""
    curves = {m.name: (_curve(m, "loss"), _curve(m, "validation")) for m in models}
    trained = {name: curve for name, curve in curves.items() if any(curve)}
    if not trained:
        return None
    highest = max((value for _, points in trained.values() for _, value in points), default=1.0)
    panels, findings = [], []
    for name, (losses, validation) in trained.items():
        remark = _best_epoch(losses, validation)
        label = f"Training of {name}: {remark}. {_loss_in_words(losses)}"
        panels.append(Panel(name, remark, draw_training(losses, validation, highest), label))
        findings.append(f"{name} {remark}")
    untrained = [name for name in curves if name not in trained]
    if len(curves) > MOST_NAMED:
        finding = f"{len(trained)} of {len(curves)} models are trained in epochs."
    else:
        finding = "; ".join(findings) + "."
        finding += f" Without epochs: {', '.join(untrained)}." if untrained else ""
    return ReportFigure("training", "Training curves", finding, panels, "curves")


def _curve(model: ModelResult, key: str) -> Curve:
    """Points where it was measured."""
    return [(record["epoch"], record[key]) for record in model.curve if key in record]


def _best_epoch(losses: Curve, validation: Curve) -> str:
    last = max(epoch for epoch, _ in [*losses, *validation])
    if not validation:
        return f"trained to epoch {last:g}, not validated"
    epoch, value = max(validation, key=lambda point: point[1])
    return f"best {value:.4f} in epoch {epoch:g} of {last:g}"


def _loss_in_words(losses: Curve) -> str:
    if not losses:
        return "No loss was recorded."
    (first, start), (last, end) = losses[0], losses[-1]
    return f"Loss {start:.4g} in epoch {first:g}, {end:.4g} in epoch {last:g}."


@canvas.drawing_style()
def draw_training(losses: Curve, validation: Curve, highest: float) -> Figure:
    """Validation recall above, loss below, over the same epochs; the best epoch marked.

    Args:
        losses: by epoch; may be empty.
        validation: likewise, but not both.
        highest: of the validation axis, which all models of a run share.
    """
    size = (264.0, 232.0)
    figure, above = canvas.new_axes(size, (42, 20, 12, 120), "y")
    _, below = canvas.new_axes(size, (42, 146, 12, 26), "y", figure)
    below.sharex(above)
    for axes, name in ((above, "validation recall"), (below, "loss")):
        axes.margins(x=0.0)
        canvas.note(axes, name, (0.0, 1.0), (0, 6), xycoords="axes fraction")
    above.tick_params(labelbottom=False)
    above.set_ylim(0.0, highest or 1.0)
    below.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    below.yaxis.set_major_locator(MaxNLocator(3))
    if validation:
        best = max(validation, key=lambda point: point[1])
        above.plot(*zip(*validation, strict=True), color=LIGHT["accent"])
        above.plot(*best, "o", markersize=9, color=LIGHT["accent"])
        for axes in (above, below):
            axes.axvline(best[0], color=LIGHT["accent"], linestyle="--", linewidth=1)
    if losses:
        below.plot(*zip(*losses, strict=True), color=LIGHT["mark"])
    return figure
