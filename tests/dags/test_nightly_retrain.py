"""Policy of the DAG folder, seen through Airflow: what every DAG must have, and the graph."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipeline_steps.__main__ import VERBS

pytestmark = pytest.mark.airflow

HEAVY = {"torch", "mlflow", "dvc", "polars", "pandas", "numpy", "yaml", "diffrec_core"}
SMALL_PIPELINE = """
stages:
  build_interactions: {cmd: echo start > start.txt, outs: [start.txt]}
  train:
    foreach: ${models}
    do:
      cmd: cp start.txt ${key}.txt
      deps: [start.txt]
      outs: ["models/${key}.txt"]
      meta: {resources: gpu, queue: big, retries: 5, timeout_minutes: 90}
  register: {cmd: echo 1 > r.txt, deps: [models], outs: [r.txt]}
  recommend: {cmd: echo 1 > t.txt, deps: [r.txt], outs: [t.txt]}
"""
Inspect = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module")
def inspect(
    airflow_bin: Path,
    airflow_environment: Callable[[Path, Path], dict[str, str]],
    tmp_path_factory: pytest.TempPathFactory,
) -> Inspect:
    """Parses a folder of DAGs in the Airflow environment and returns what was found."""

    def run(dags: Path, script: str = "inspect_dags.py", **variables: str) -> dict[str, Any]:
        home = tmp_path_factory.mktemp("airflow")
        process = subprocess.run(
            [airflow_bin / "python", Path(__file__).with_name(script), dags, home / "found.json"],
            env={
                **airflow_environment(home, dags),
                "AIRFLOW__CORE__DAGBAG_IMPORT_TIMEOUT": "900",  # the machine may be busy
                **variables,
            },
            capture_output=True,
            text=True,
            check=False,
        )
        assert process.returncode == 0, process.stdout + process.stderr
        found: dict[str, Any] = json.loads((home / "found.json").read_text())
        return found

    return run


@pytest.fixture(scope="module", autouse=True)
def _graph_is_up_to_date(project_root: Path) -> None:
    write_graph = [sys.executable, "-m", "pipeline_steps", "write-graph"]
    subprocess.run(write_graph, cwd=project_root, check=True)


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
    assert set(found["dags"]) == {
        *("nightly_retrain", "backfill_interactions", "monitor", "recommend_daily")
    }


def test_parsing_is_cheap(found: dict[str, Any]) -> None:
    # Airflow parses again and again: what a parse takes beside Airflow itself, four DAGs together;
    # processor time, as the wall clock depends on the neighbours
    assert found["cpu_seconds"] < 2
    assert not {name.partition(".")[0] for name in found["modules"]} & HEAVY
    ours = {name for name in found["modules"] if name.startswith("pipeline_steps")}
    assert ours == {"pipeline_steps", "pipeline_steps.shared"}


def test_every_dag_says_what_to_do_when_it_fails(found: dict[str, Any]) -> None:
    for dag_id, dag in found["dags"].items():
        for heading in ("What it does", "When it is urgent", "When a task fails", "Where it runs"):
            assert heading in dag["doc_md"], f"{dag_id}: the runbook has no {heading!r}"


def test_every_dag_has_tags_and_one_run_at_a_time(found: dict[str, Any]) -> None:
    for dag_id, dag in found["dags"].items():
        assert "diffrec" in dag["tags"], dag_id
        assert dag["catchup"] is False, dag_id
        assert dag["max_active_runs"] == 1, dag_id


def test_every_task_has_owner_retries_timeout_and_alert(found: dict[str, Any]) -> None:
    for dag_id, dag in found["dags"].items():
        for task_id, task in dag["tasks"].items():
            where = f"{dag_id}.{task_id}"
            assert task["owner"] not in {"", "airflow"}, f"{where} has no owner of its own"
            assert task["retries"] >= 1, where
            assert task["retry_delay_seconds"] > 0, where
            assert task["exponential_backoff"], where
            assert task["timeout_seconds"] > 0, where
            assert task["has_failure_callback"], where
            assert task["doc_md"], where


def test_schedule_is_by_whole_days_of_data(nightly: dict[str, Any]) -> None:
    assert nightly["schedule"] == "0 0 * * *"
    assert nightly["params"] == ["dry_run", "end", "models", "seeds", "settings", "start"]


def test_schedules_can_be_switched_off(inspect: Inspect, project_root: Path) -> None:
    off = inspect(project_root / "dags", DIFFREC_SCHEDULE="off")
    assert {dag["schedule"] for dag in off["dags"].values()} == {"None"}
    wrong = inspect(project_root / "dags", DIFFREC_SCHEDULE="hourly")
    assert any("must be on or off" in error for error in wrong["import_errors"].values())


OPERATIONS = {
    ("start_run", "list_raw"),
    ("register", "gate"),
    ("gate", "promote"),
    ("promote", "recommend"),
    ("recommend", "publish"),
    ("build_interactions", "report_unreadable_data"),
}
"""What the night does besides the stages of dvc.yaml, and in which order."""


def test_graph_is_dvcs(
    nightly: dict[str, Any],
    project_root: Path,
    dvc_graph: Callable[[Path], tuple[set[str], set[tuple[str, str]]]],
) -> None:
    stages, edges = dvc_graph(project_root)
    added = {"start_run", "gate", "promote", "publish", "report_unreadable_data"}

    assert set(nightly["tasks"]) == {stage.replace("@", ".") for stage in stages} | added
    assert {
        (task_id, downstream)
        for task_id, task in nightly["tasks"].items()
        for downstream in task["downstream"]
    } == {tuple(stage.replace("@", ".") for stage in edge) for edge in edges} | OPERATIONS


def test_other_dags_have_the_stages_that_lead_to_interactions(found: dict[str, Any]) -> None:
    data = {"start_run", "list_raw", "ingest", "build_interactions"}
    assert set(found["dags"]["backfill_interactions"]["tasks"]) == data
    assert set(found["dags"]["monitor"]["tasks"]) == data | {"monitor", "report_unreadable_data"}
    assert set(found["dags"]["recommend_daily"]["tasks"]) == data | {"recommend", "publish"}


def test_each_task_runs_its_own_stage_of_its_own_run(found: dict[str, Any]) -> None:
    verbs = {verb for topic in VERBS.values() for verb in topic}
    assert {"start-run", "run-stage", "report-unreadable-data"} <= verbs
    for dag in found["dags"].values():
        for task_id, task in dag["tasks"].items():
            if task_id in ("start_run", "report_unreadable_data"):
                verb = task_id.replace("_", "-")
                assert task["arguments"][:3] == [verb, "--run", "{{ run_id }}"]
                continue
            verb, stage, *run = task["arguments"]
            assert (verb, run) == ("run-stage", ["--run", "{{ run_id }}"])
            assert stage.replace("@", ".") == task_id


def test_resources_choose_the_pool(nightly: dict[str, Any]) -> None:
    pools = {task_id: task["pool"] for task_id, task in nightly["tasks"].items()}
    assert pools["train.diffrec"] == pools["refit"] == "gpu"
    assert pools["ingest"] == pools["gate"] == "default_pool"


def test_assets_are_updated_by_the_tasks_that_make_them(found: dict[str, Any]) -> None:
    outlets = {
        f"{dag_id}.{task_id}": task["outlets"]
        for dag_id, dag in found["dags"].items()
        for task_id, task in dag["tasks"].items()
        if task["outlets"]
    }
    assert outlets == {
        "nightly_retrain.build_interactions": ["interactions"],
        "nightly_retrain.promote": ["champion"],
        "nightly_retrain.publish": ["recommendations"],
        "backfill_interactions.build_interactions": ["interactions"],
        "monitor.build_interactions": ["interactions"],
        "recommend_daily.build_interactions": ["interactions"],
        "recommend_daily.publish": ["recommendations"],
    }


def test_a_kept_champion_still_recommends(nightly: dict[str, Any]) -> None:
    assert nightly["tasks"]["recommend"]["trigger_rule"] == "none_failed"
    assert nightly["tasks"]["publish"]["trigger_rule"] == "all_success"


def test_the_page_is_made_red_where_the_data_cannot_be_read(found: dict[str, Any]) -> None:
    for dag_id in ("monitor", "nightly_retrain"):
        task = found["dags"][dag_id]["tasks"]["report_unreadable_data"]
        assert task["trigger_rule"] == "one_failed", dag_id
        stages = task["arguments"][task["arguments"].index("--stages") + 1 :]
        assert stages == ["list_raw", "ingest", "build_interactions"], dag_id
    # what fails for it is a task without any after it, so the run fails too
    assert found["dags"]["monitor"]["tasks"]["monitor"]["downstream"] == []


def test_models_left_out_stop_nothing(nightly: dict[str, Any]) -> None:
    assert nightly["tasks"]["select"]["trigger_rule"] == "none_failed"
    members = nightly["tasks"]["start_run"]["members"]
    for model in ("t_ease", "diffrec"):
        tasks = {task_id for task_id in nightly["tasks"] if task_id.endswith(f".{model}")}
        assert {f"train.{model}", f"evaluate.{model}"} <= tasks
        assert set(members[model]) == tasks


def test_how_operators_report_exit_codes(inspect: Inspect, project_root: Path) -> None:
    reported = inspect(project_root / "dags", "run_operators.py")
    # what a retry would repeat fails at once; what may be transient, such as an outage, is retried
    assert reported["codes"] == {
        "0": "success",
        **dict.fromkeys(("1", "5", "143"), "AirflowException"),
        **dict.fromkeys(("2", "3", "4", "6", "7"), "AirflowFailException"),
        "99": "AirflowSkipException",
    }
    # however the models are written, the tasks of the others are skipped, and theirs are not
    assert reported["skipped"] == [["train.slim"]] * 4 + [[]] * 2


def test_project_can_be_elsewhere(
    inspect: Inspect, make_project: Callable[[str, str], Path], project_root: Path
) -> None:
    project = make_project(SMALL_PIPELINE, "models: {a: {}, b: {}}")

    dag = inspect(project_root / "dags", DIFFREC_PROJECT=str(project))["dags"]["nightly_retrain"]

    downstream = {task_id: task["downstream"] for task_id, task in dag["tasks"].items()}
    assert downstream["start_run"] == ["build_interactions"]
    assert downstream["build_interactions"] == ["report_unreadable_data", "train.a", "train.b"]
    assert downstream["train.a"] == downstream["train.b"] == ["register"]
    assert downstream["register"] == ["gate", "recommend"]
    task = dag["tasks"]["train.a"]
    assert (task["pool"], task["queue"], task["retries"]) == ("gpu", "big", 5)
    assert task["timeout_seconds"] == 90 * 60


def test_stages_that_dvc_cannot_resolve_are_an_import_error(
    inspect: Inspect, make_project: Callable[[str, str], Path]
) -> None:
    project = make_project(SMALL_PIPELINE, "models: [a, b]")  # so there is no ${key}

    found = inspect(project / "dags")

    assert found["dags"] == {}
    for error in found["import_errors"].values():
        assert "failed to parse 'stages.train@a.cmd' in 'dvc.yaml': Could not find 'key'" in error
        assert f"run in {project}: .venv/bin/python -m pipeline_steps write-graph" in error
