"""All figures of a run: for the report, and as pictures of their own for `dvc plots show`."""

from collections.abc import Mapping

from diffrec_core.report.accuracy import accuracy_and_cost, metric_comparison
from diffrec_core.report.data import ReportData
from diffrec_core.report.popularity import calibration, popularity
from diffrec_core.report.slices import slices
from diffrec_core.report.svg import ReportFigure, document
from diffrec_core.report.timeline import split_timeline
from diffrec_core.report.training import training_curves

FIGURES = (
    *("comparison", "cost", "slices", "popularity", "calibration", "training"),
    "timeline",
)
"""All of them: dvc.yaml names the files, so that each is there in every run."""


def build_figures(data: ReportData) -> dict[str, ReportFigure]:
    """Return the figures that the run has data for, by name, in the order of `FIGURES`."""
    models, shown = data.models, f"recall@{data.cutoff}"
    figures = (
        metric_comparison(models, data.cutoff),
        accuracy_and_cost(models, shown),
        slices(models, shown),
        popularity(models, data.item_popularity, data.list_length),
        calibration(models, data.cutoff),
        training_curves(models),
        split_timeline(data.protocol["parts"]),
    )
    return {figure.name: figure for figure in figures if figure is not None}


def plot_pictures(figures: Mapping[str, ReportFigure]) -> dict[str, str]:
    """Text of an SVG file by name of figure; a figure that has no data says so."""
    missing = {name: ReportFigure(name, f"{name}: not measured", "", []) for name in FIGURES}
    return {name: document(figure) for name, figure in {**missing, **figures}.items()}
