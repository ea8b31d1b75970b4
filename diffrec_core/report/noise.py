"""The robustness curves of the report: the same as in reports/robustness/drop.svg."""

from collections.abc import Sequence

from markupsafe import Markup

from diffrec_core.report import svg
from diffrec_core.report.figure import Figure
from diffrec_core.report.figures import percent
from diffrec_core.report.robustness import METRICS, STYLES, Measured, draw_panel, drops

_KINDS = {"random": "random pairs", "natural": "natural noise"}


def noise(rows: Sequence[Measured]) -> Figure | None:
    """Loss of both metrics against the level of noise; None where nothing was retrained."""
    models = list(dict.fromkeys(row.model for row in rows))
    findings = [told for kind in _KINDS if (told := _finding(rows, models, kind))]
    if not findings:
        return None
    numbers = " ".join(findings)
    panels = [
        (f"{metric}, share lost", "", draw_panel(metric, rows, models, f"{metric}. {numbers}"))
        for metric in METRICS
    ]
    panels.append(("Models", "", _key(models)))
    return Figure("noise", "Training on noisy data", numbers, panels, "noise")


def _finding(rows: Sequence[Measured], models: Sequence[str], kind: str) -> str:
    """What is lost at the highest level of a kind of noise; empty if nothing was measured."""
    worst = {model: drops(rows, model, kind, METRICS[0])[-1:] for model in models}
    known = {model: found[0] for model, found in worst.items() if found}
    if not known:
        return ""
    share = max(drop.share for drop in known.values())
    lost = ", ".join(f"{model} {_signed(drop.mean)}" for model, drop in known.items())
    told = f"With {percent(share)} of {_KINDS[kind]} added, {METRICS[0]} loses: {lost}."
    least = min(known, key=lambda model: known[model].mean)
    return told + (f" {least} loses the least." if len(known) > 1 else "")


def _signed(loss: float) -> str:
    return percent(loss) if loss >= 0 else f"-{percent(-loss)}"


def _key(models: Sequence[str]) -> Markup:
    """The line of each model, and its name."""
    parts = []
    for number, name in enumerate(models):
        y, style = 16 + 24 * number, f"m{number % STYLES}"
        parts.append(svg.line([(8, y), (44, y)], f"curve {style}"))
        parts.append(svg.text(54, y + 4, svg.clip(name, 24)))
    label = f"Key: the lines of {len(models)} models: {', '.join(models)}."
    return svg.picture(240, 24 * len(models) + 12, label, parts)
