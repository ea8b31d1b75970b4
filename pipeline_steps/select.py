"""Choose the winner on validation alone; write the leaderboard, plots and the report.

Results on the test part are shown and decide nothing.
"""

import logging
from pathlib import Path
from typing import Any

from diffrec_core.common.artifacts import read_json, read_manifest, write_json, write_text
from diffrec_core.common.rng import derive_seed
from diffrec_core.data.schema import EVALUATION_SCHEMA, HISTORY_SCHEMA
from diffrec_core.data.splits import EVALUATED_PARTS
from diffrec_core.evaluation.comparison import with_significance
from diffrec_core.evaluation.leaderboard import SelectConfig, build_leaderboard, leaderboard_csv
from diffrec_core.evaluation.per_user import read_per_user
from diffrec_core.report.changes import Changes, advance, compare_runs, summarize
from diffrec_core.report.figures import build_figures, plot_pictures
from diffrec_core.report.gather import ReportSources, report_data
from diffrec_core.report.html import render_report
from pipeline_steps.runtime.command import Inputs, Report, execute
from pipeline_steps.runtime.config import Models
from pipeline_steps.runtime.sections import Seed

log = logging.getLogger("pipeline")


class SelectInputs(ReportSources, Inputs):
    """Results of the models, what the report shows, and the outputs."""

    training: Path
    """Folder with a training report per model."""

    selection: Path
    """JSON to write: the choice, for `refit`."""

    leaderboard: Path
    """JSON to write: all results."""

    plots: Path
    """Folder to write: data of DVC's plots."""

    history: Path
    """JSON to read, if it exists, and to write: this run and the previous one."""

    html: Path
    """HTML to write: the report."""


def run(inputs: SelectInputs, models: Models, seed: Seed, select: SelectConfig) -> Report:
    """Choose and report."""
    evaluations = {name: _evaluation(inputs.evaluation / name) for name in models}
    fits = {name: read_json(inputs.training / f"{name}.json") for name in models}
    leaderboard = _leaderboard(inputs, evaluations, fits, select, seed)
    selection = _selection(leaderboard, fits, select)
    write_json(inputs.selection, selection)
    write_json(inputs.leaderboard, leaderboard)
    write_text(inputs.plots / "metrics.csv", leaderboard_csv(leaderboard))
    _write_report(inputs, leaderboard, evaluations, select, seed)
    for name, reason in leaderboard["left_out"].items():
        log.warning("left out: %s: %s", name, reason)
    log.info("selected %s: %s %.4f", selection["model"], selection["metric"], selection["value"])
    for part, groups in leaderboard["significance"]["groups"].items():
        within = " / ".join(map(", ".join, groups))
        log.info("%s, no significant difference within: %s", part, within)
    return {"selected": selection["model"]}


def _leaderboard(
    inputs: SelectInputs,
    evaluations: dict[str, Any],
    fits: dict[str, Any],
    config: SelectConfig,
    seed: int,
) -> dict[str, Any]:
    leaderboard = build_leaderboard(evaluations, fits, config)
    per_user = {
        part: {
            name: read_per_user(inputs.evaluation / name, part) for name in leaderboard["models"]
        }
        for part in EVALUATED_PARTS
    }
    return with_significance(leaderboard, per_user, config, seed=derive_seed(seed, "select"))


def _write_report(
    inputs: SelectInputs,
    leaderboard: dict[str, Any],
    evaluations: dict[str, Any],
    config: SelectConfig,
    seed: int,
) -> None:
    report = report_data(
        inputs,
        leaderboard,
        evaluations,
        changes=_changes(inputs.history, leaderboard),
        sample_users=config.sample_users,
        seed=seed,
    )
    figures = build_figures(report)
    for name, picture in plot_pictures(figures).items():
        write_text(inputs.plots / f"{name}.svg", picture)
    write_text(inputs.html, render_report(report, figures))


def _selection(
    leaderboard: dict[str, Any], fits: dict[str, Any], config: SelectConfig
) -> dict[str, Any]:
    """The winner and its training, for `refit`."""
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
    """The differences from the previous run; also add this run to the history.

    DVC keeps the file between runs (`persist`): it is an output, and never makes the stage stale.
    """
    history = read_json(path) if path.is_file() else {}
    known = history["runs"] if history.get("schema") == HISTORY_SCHEMA else []
    runs = advance(known, summarize(leaderboard))
    write_json(path, {"schema": HISTORY_SCHEMA, "runs": runs})
    return compare_runs(runs[0] if len(runs) > 1 else None, runs[-1])


def _evaluation(directory: Path) -> dict[str, Any]:
    read_manifest(directory, EVALUATION_SCHEMA)
    metrics: dict[str, Any] = read_json(directory / "metrics.json")
    return metrics


if __name__ == "__main__":
    execute(run)
