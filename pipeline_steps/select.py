"""Choose the winner on validation alone; write the leaderboard, plots and the report.

The test part decides nothing: how the models stand there is shown beside. Reads params.yaml:
models, seed, select, train.
"""

import argparse
import logging
from pathlib import Path
from typing import Any

from diffrec_core.common.artifacts import read_json, read_manifest, write_json, write_text
from diffrec_core.common.config import lookup
from diffrec_core.common.errors import ConfigError
from diffrec_core.common.rng import derive_seed
from diffrec_core.data.schema import EVALUATION_SCHEMA
from diffrec_core.evaluation.leaderboard import (
    SelectConfig,
    build_leaderboard,
    leaderboard_csv,
    with_significance,
)
from diffrec_core.evaluation.per_user import read_per_user
from diffrec_core.report.changes import (
    HISTORY_SCHEMA,
    Changes,
    advance,
    compare_runs,
    summarize,
)
from diffrec_core.report.figures import build_figures, plot_pictures
from diffrec_core.report.html import render_report
from pipeline_steps.report_data import report_data
from pipeline_steps.runtime.candidates import ModelEntry
from pipeline_steps.runtime.command import Step, execute

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
        "robustness": "folder with what was measured on noisy data, if anything was",
        "plots": "folder to write: data of DVC's plots",
        "history": "JSON to read, if it is there, and to write: this run and the one before",
        "html": "HTML to write: the report",
    }.items():
        parser.add_argument(f"--{name}", type=Path, required=True, help=text)


def run(step: Step) -> None:
    """Choose and report."""
    args = step.args
    config = step.section("select", SelectConfig)
    names = _model_names(step)
    evaluations = {name: _evaluation(args.evaluation / name) for name in names}
    fits = {name: read_json(args.training / f"{name}.json") for name in names}
    leaderboard = build_leaderboard(names, evaluations, fits, config)
    per_user = {
        part: {name: read_per_user(args.evaluation / name, part) for name in leaderboard["models"]}
        for part in ("validation", "test")
    }
    seed = derive_seed(step.seed, "select")
    leaderboard = with_significance(leaderboard, per_user, config, seed=seed)
    selection = _selection(leaderboard, fits, config)
    write_json(args.selection, selection)
    write_json(args.leaderboard, leaderboard)
    write_text(args.plots / "metrics.csv", leaderboard_csv(leaderboard))
    changes = _changes(args.history, leaderboard)
    report = report_data(step, leaderboard, evaluations, config, changes)
    figures = build_figures(report)
    for name, picture in plot_pictures(figures).items():
        write_text(args.plots / f"{name}.svg", picture)
    write_text(args.html, render_report(report, figures))
    for name, reason in leaderboard["left_out"].items():
        log.warning("left out: %s: %s", name, reason)
    log.info("selected %s: %s %.4f", selection["model"], selection["metric"], selection["value"])
    for part, groups in leaderboard["significance"]["groups"].items():
        log.info("%s, not told apart: %s", part, "; ".join(map(", ".join, groups)))


def _selection(
    leaderboard: dict[str, Any], fits: dict[str, Any], config: SelectConfig
) -> dict[str, Any]:
    """What `refit` must know of the winner."""
    winner = leaderboard["selected"]
    row, fit = leaderboard["models"][winner], fits[winner]
    return {
        "model": winner,
        "config": fit["config"],
        "epochs": fit["best_epoch"],
        "embedding_epochs": fit.get("embedding_epochs", 0),
        "metric": leaderboard["selected_on"],
        "value": row["validation"][config.metric],
        "sd": row["sd"]["validation"].get(config.metric),
        "seeds": row["seeds"],
    }


def _changes(path: Path, leaderboard: dict[str, Any]) -> Changes:
    """What is different from the previous run; this one is then known to the next.

    DVC keeps the file from run to run (`persist`), with everything else that a run made: it is an
    output, and never makes the stage stale.
    """
    kept = read_json(path) if path.is_file() else {}
    known = kept["runs"] if kept.get("schema") == HISTORY_SCHEMA else []
    runs = advance(known, summarize(leaderboard))
    write_json(path, {"schema": HISTORY_SCHEMA, "runs": runs})
    return compare_runs(runs[0] if len(runs) > 1 else None, runs[-1])


def _model_names(step: Step) -> list[str]:
    names = list(lookup(step.params, "models") or {})
    if not names:
        raise ConfigError("params.yaml: models names no model: leave at least one in")
    for name in names:
        step.section(f"models.{name}", ModelEntry)
    return names


def _evaluation(directory: Path) -> dict[str, Any]:
    read_manifest(directory, EVALUATION_SCHEMA)
    metrics: dict[str, Any] = read_json(directory / "metrics.json")
    return metrics


if __name__ == "__main__":
    execute(run, add_arguments, __doc__)
