"""Policy of the DAG folder, seen through Airflow: what every DAG must have, and the graph."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.airflow

HEAVY = {"torch", "mlflow", "dvc", "polars", "pandas", "numpy", "diffrec_core", "pipeline_steps"}
SMALL_PIPELINE = """
stages:
  start: {cmd: echo start > start.txt, outs: [start.txt]}
  train:
    foreach: ${models}
    do: {cmd: "cp start.txt ${key}.txt", deps: [start.txt], outs: ["${key}.txt"]}
"""
Inspect = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module")
def inspect(
    airflow_bin: Path,
    airflow_environment: Callable[[Path, Path], dict[str, str]],
    tmp_path_factory: pytest.TempPathFactory,
) -> Inspect:
    """Parses a folder of DAGs in the Airflow environment and returns what was found."""

    def run(dags: Path, **variables: str) -> dict[str, Any]:
        home = tmp_path_factory.mktemp("airflow")
        script = Path(__file__).with_name("inspect_dags.py")
        process = subprocess.run(
            [airflow_bin / "python", script, dags, home / "found.json"],
            env={**airflow_environment(home, dags), **variables},
            capture_output=True,
            text=True,
            check=False,
        )
        assert process.returncode == 0, process.stdout + process.stderr
        found: dict[str, Any] = json.loads((home / "found.json").read_text())
        return found

    return run


@pytest.fixture(scope="module")
def found(inspect: Inspect, project_root: Path) -> dict[str, Any]:
    return inspect(project_root / "dags")


@pytest.fixture(scope="module")
def nightly(found: dict[str, Any]) -> dict[str, Any]:
    dag: dict[str, Any] = found["dags"]["nightly_retrain"]
    return dag


def test_every_dag_imports(found: dict[str, Any]) -> None:
    assert found["import_errors"] == {}
    assert found["warnings"] == []
    assert set(found["dags"]) == {"nightly_retrain"}


def test_parsing_is_cheap(found: dict[str, Any]) -> None:
    # Airflow parses again and again; processor time, as the wall clock depends on the neighbours
    assert found["cpu_seconds"] < 2
    assert not {name.partition(".")[0] for name in found["modules"]} & HEAVY


def test_every_dag_says_what_to_do_when_it_fails(found: dict[str, Any]) -> None:
    for dag_id, dag in found["dags"].items():
        for heading in ("What it does", "When it is urgent", "When a task fails", "Where it runs"):
            assert heading in dag["doc_md"], f"{dag_id}: the runbook has no {heading!r}"


def test_every_dag_has_tags_and_one_run_at_a_time(found: dict[str, Any]) -> None:
    for dag_id, dag in found["dags"].items():
        assert "diffrec" in dag["tags"], dag_id
        assert dag["catchup"] is False, dag_id
        assert dag["max_active_runs"] == 1, dag_id


def test_every_task_has_owner_retries_and_timeout(found: dict[str, Any]) -> None:
    for dag_id, dag in found["dags"].items():
        for task_id, task in dag["tasks"].items():
            where = f"{dag_id}.{task_id}"
            assert task["owner"] not in {"", "airflow"}, f"{where} has no owner of its own"
            assert task["retries"] >= 1, where
            assert task["retry_delay_seconds"] > 0, where
            assert task["timeout_seconds"] > 0, where
            assert task["doc_md"], where


def test_schedule_is_daily_and_serial(nightly: dict[str, Any]) -> None:
    assert nightly["schedule"] == "@daily"
    assert nightly["max_active_tasks"] == 1


def test_graph_is_dvcs(
    nightly: dict[str, Any],
    project_root: Path,
    dvc_graph: Callable[[Path], tuple[set[str], set[tuple[str, str]]]],
) -> None:
    stages, edges = dvc_graph(project_root)

    assert set(nightly["tasks"]) == {stage.replace("@", ".") for stage in stages}
    assert {
        (task_id, downstream)
        for task_id, task in nightly["tasks"].items()
        for downstream in task["downstream"]
    } == {tuple(stage.replace("@", ".") for stage in edge) for edge in edges}


def test_each_task_runs_its_own_stage_in_the_project(
    nightly: dict[str, Any], project_root: Path
) -> None:
    for task_id, task in nightly["tasks"].items():
        assert task["env"]["STAGE"].replace("@", ".") == task_id
        assert 'dvc repro --single-item "$STAGE"' in task["command"]
        assert task["cwd"] == str(project_root)


def test_project_can_be_elsewhere(
    inspect: Inspect, make_project: Callable[[str, str], Path], project_root: Path
) -> None:
    project = make_project(SMALL_PIPELINE, "models: {a: {}, b: {}}")

    dag = inspect(project_root / "dags", DIFFREC_PROJECT=str(project))["dags"]["nightly_retrain"]

    assert {task_id: task["downstream"] for task_id, task in dag["tasks"].items()} == {
        "start": ["train.a", "train.b"],
        "train.a": [],
        "train.b": [],
    }
    assert dag["tasks"]["train.b"]["cwd"] == str(project)


def test_a_pipeline_that_is_not_understood_is_an_import_error(
    inspect: Inspect, make_project: Callable[[str, str], Path]
) -> None:
    project = make_project(SMALL_PIPELINE, "models: [a, b]")

    found = inspect(project / "dags")

    assert found["dags"] == {}
    assert "dvc.yaml: stage train: foreach" in found["import_errors"]["nightly_retrain.py"]
