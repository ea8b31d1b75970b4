"""Choose the winner on validation alone; write the leaderboard, plots and the report.

Reads params.yaml: models, select, train.
"""

import argparse
import csv
import io
import logging
from pathlib import Path
from typing import Any

from diffrec_core.artifacts import read_json, read_manifest, write_json, write_text
from diffrec_core.config import lookup
from diffrec_core.data.schema import EVALUATION_SCHEMA
from diffrec_core.errors import ConfigError
from diffrec_core.evaluation.leaderboard import SelectConfig, build_leaderboard
from diffrec_core.report.html import render_report
from pipeline_steps._report_data import report_data
from pipeline_steps._runtime import Step, execute

log = logging.getLogger("pipeline")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare where the data lie."""
    for name, text in {
        "evaluation": "folder with a folder of results per model",
        "training": "folder with a training report per model",
        "curves": "folder with training curves per model",
        "stages": "folder with the reports of the data stages",
        "interactions": "for ids and titles",
        "train": "training part, for the histories shown",
        "validation": "validation part, likewise",
        "selection": "JSON to write: the choice, for `refit`",
        "leaderboard": "JSON to write: all results",
        "plots": "folder to write: data of DVC's plots",
        "html": "HTML to write: the report",
    }.items():
        parser.add_argument(f"--{name}", type=Path, required=True, help=text)


def run(step: Step) -> None:
    """Choose and report."""
    args = step.args
    config = step.section("select", SelectConfig)
    names = list(lookup(step.params, "models") or {})
    if not names:
        raise ConfigError("params.yaml: models names no model: leave at least one in")
    evaluations = {name: _evaluation(args.evaluation / name) for name in names}
    fits = {name: read_json(args.training / f"{name}.json") for name in names}
    leaderboard = build_leaderboard(names, evaluations, fits, config)
    winner = leaderboard["selected"]
    selection = {
        "model": winner,
        "config": lookup(step.params, f"train.{winner}"),
        "epochs": fits[winner]["best_epoch"],
        "embedding_epochs": fits[winner].get("embedding_epochs", 0),
        "metric": leaderboard["selected_on"],
        "value": leaderboard["models"][winner]["validation"][config.metric],
    }
    write_json(args.selection, selection)
    write_json(args.leaderboard, leaderboard)
    write_text(args.plots / "metrics.csv", _plot_data(leaderboard))
    write_text(args.html, render_report(report_data(step, leaderboard, evaluations, config)))
    log.info("selected %s: %s %.4f", winner, selection["metric"], selection["value"])


def _evaluation(directory: Path) -> dict[str, Any]:
    read_manifest(directory, EVALUATION_SCHEMA)
    metrics: dict[str, Any] = read_json(directory / "metrics.json")
    return metrics


def _plot_data(leaderboard: dict[str, Any]) -> str:
    """One line per model, part and metric, as DVC plots them."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(["model", "part", "metric", "value"])
    for name, row in leaderboard["models"].items():
        for part in ("validation", "test"):
            for metric, value in row[part].items():
                if "@" in metric:
                    writer.writerow([name, part, metric, value])
    return buffer.getvalue()


if __name__ == "__main__":
    execute(run, add_arguments, __doc__)
