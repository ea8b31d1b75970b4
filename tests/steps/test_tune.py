"""The step `tune` with a real model: what it writes, what MLflow is told, and what a kill costs."""

import csv
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from mlflow import MlflowClient
from mlflow.entities import Run

from diffrec_core.common.errors import ConfigError
from pipeline_steps.params.presets import read_preset, read_tuned
from tests.integration.small_steps import SECTIONS, prepare_parts
from tests.raw_logs import REPOSITORY, write_params

METRIC = "ndcg@10"
TUNE = {
    **SECTIONS,
    "tune": {"budget": 4},
    "train": {"ease": {"kind": "ease", "l2": 200.0}},
    "models": {"ease": {"code": "diffrec_core/models/item_item"}},
    "select": {"metric": METRIC},
    "register": {"experiment": "tuning"},
}
# the step, killed when its third fit begins
KILLED = """
import os, runpy, signal, sys
from diffrec_core.models.item_item.ease import Ease
fits, fit = [], Ease._fit
def counted(*arguments):
    fits.append(1)
    if len(fits) == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return fit(*arguments)
Ease._fit = counted
sys.argv[0:1] = ["pipeline_steps", "tune"]
runpy.run_module("pipeline_steps", run_name="__main__")
"""


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return prepare_parts(tmp_path_factory.mktemp("parts"))


def tune(folder: Path, parts: Path, *program: str) -> "subprocess.CompletedProcess[str]":
    paths = [f"--{name}={parts / name}" for name in ("train", "validation")]
    outputs = [f"--items={parts / 'interactions'}", "--out=tuned", "--report=report.json"]
    return subprocess.run(
        [sys.executable, *program, "--model=ease", *paths, *outputs],
        cwd=folder,
        env={
            **os.environ,
            "PYTHONPATH": str(REPOSITORY),
            "MLFLOW_TRACKING_URI": f"sqlite:///{folder / 'mlflow.db'}",
            "MLFLOW_DISABLE_TELEMETRY": "true",
        },
        capture_output=True,
        text=True,
        check=False,
    )


def logged(folder: Path) -> list[list[Run]]:
    """The children of every parent run, both in the order of their beginning."""
    client = MlflowClient(f"sqlite:///{folder / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("tuning")
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id], order_by=["attributes.start_time ASC"])
    parents = [run for run in runs if "mlflow.parentRunId" not in run.data.tags]
    assert {run.data.tags["mlflow.runName"] for run in parents} == {"tune ease"}
    return [
        [run for run in runs if run.data.tags.get("mlflow.parentRunId") == parent.info.run_id]
        for parent in parents
    ]


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "tuned" / "trials.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_killed_study_goes_on_and_what_it_found_is_written(parts: Path, tmp_path: Path) -> None:
    write_params(tmp_path, **TUNE)
    killed = tune(tmp_path, parts, "-c", KILLED)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert not (tmp_path / "tuned").exists()
    (before,) = logged(tmp_path)
    assert len(before) == 2

    resumed = tune(tmp_path, parts, "-m", "pipeline_steps", "tune")
    assert resumed.returncode == 0, resumed.stderr
    found = rows(tmp_path)
    assert [(row["trial"], row["state"]) for row in found] == [(n, "complete") for n in "1234"]
    assert float(found[0]["l2"]) == 200.0, "the first trial is what params.yaml says"
    assert len({row["l2"] for row in found}) == 4
    assert {row["last_validation_recall@20"] for row in found} == {""}

    first, second = logged(tmp_path)
    assert [len(first), len(second)] == [2, 2], "trials of before are not tried again"
    for row, run in zip(found, [*first, *second], strict=True):
        assert run.data.params["l2"] == row["l2"]
        assert run.data.params["recency.kind"] == row["recency.kind"]
        assert run.data.metrics["ndcg_at_10"] == float(row[METRIC])
        assert run.data.tags["state"] == "complete"

    best = max(found, key=lambda row: float(row[METRIC]))
    preset = read_preset(str(tmp_path / "tuned/preset.yaml"))
    assert preset.overlay["train"]["ease"]["l2"] == float(best["l2"])
    assert f"{float(best[METRIC]):.4f}" in (tmp_path / "tuned/preset.yaml").read_text()
    report = json.loads((tmp_path / "report.json").read_text())
    assert (report["trials"], str(report["best_trial"])) == (4, best["trial"])


def test_a_model_above_the_memory_limit_is_left_as_it_is_every_time(
    parts: Path, tmp_path: Path
) -> None:
    little = {**SECTIONS["runtime"], "memory_limit_gib": 0.1}
    too_large = {"kind": "diffrec", "timestep_embedding_dim": 20_000}  # squared, 1.6 GB
    write_params(tmp_path, **{**TUNE, "runtime": little, "train": {"ease": too_large}})
    for _ in range(2):
        result = tune(tmp_path, parts, "-m", "pipeline_steps", "tune")
        assert result.returncode == 0, result.stderr
        assert "ease is not tuned: no trial of 4 succeeded. The last one: " in result.stderr
        assert read_preset(str(tmp_path / "tuned/preset.yaml")).overlay == {"train": {"ease": {}}}
        assert "ran out of memory" in json.loads((tmp_path / "report.json").read_text())["left_out"]


def test_the_results_of_all_studies_are_one_preset(tmp_path: Path) -> None:
    for name, l2 in (("ease", 3.0), ("t_ease", 4.0)):
        (tmp_path / name).mkdir()
        text = f"# {name}\n" + json.dumps({"train": {name: {"l2": l2}}})
        (tmp_path / name / "preset.yaml").write_text(text)
    assert read_tuned(tmp_path).overlay == {"train": {"ease": {"l2": 3.0}, "t_ease": {"l2": 4.0}}}
    with pytest.raises(ConfigError, match="holds no results: `make tune`"):
        read_tuned(tmp_path / "ease")
