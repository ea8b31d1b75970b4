"""Real `airflow dags test` runs of the nightly DAG: on a small pipeline, and on this project's."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from tests.integration.conftest import Project

pytestmark = [pytest.mark.airflow, pytest.mark.integration]

PIPELINE = """
stages:
  start:
    cmd: echo start >> order.log && mkdir -p data && echo 1 > data/start.txt
    always_changed: true
    outs: [data/start.txt]
  train:
    foreach: ${models}
    do:
      cmd: echo train-${key} >> order.log && sh train.sh ${item.uses[0]} models/${key}.txt
      deps: [data/start.txt, "${item.uses[0]}"]
      outs: ["models/${key}.txt"]
  select:
    cmd: echo select >> order.log && mkdir -p reports && cat models/*.txt > reports/best.txt
    deps: [models]
    outs: [reports/best.txt]
"""
PARAMS = "models: {one: {uses: [code/one.txt]}, two: {uses: [code/two.txt]}}"
TRAIN = """
if grep -q broken "$1"; then echo "$1 holds 'broken', expected a number" >&2; exit 3; fi
mkdir -p models && cat data/start.txt "$1" > "$2"
"""
# Airflow's own hook for policies: a test does not wait for the retries of a task that fails.
NO_RETRIES = """
def task_policy(task):
    task.retries = 0
"""

MakeProject = Callable[[str, str], Path]
DagTest = Callable[[Path], subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def migrated_home(
    airflow_bin: Path,
    airflow_environment: Callable[[Path, Path], dict[str, str]],
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """An Airflow home with an empty, migrated database; to be copied, not used."""
    home = tmp_path_factory.mktemp("airflow")
    (home / "config").mkdir()
    (home / "config" / "airflow_local_settings.py").write_text(NO_RETRIES)
    migration = subprocess.run(
        [airflow_bin / "airflow", "db", "migrate"],
        env=airflow_environment(home, home / "no-dags"),
        capture_output=True,
        text=True,
        check=False,
    )
    assert migration.returncode == 0, migration.stdout + migration.stderr
    return home


@pytest.fixture
def dag_test(
    airflow_bin: Path,
    airflow_environment: Callable[[Path, Path], dict[str, str]],
    migrated_home: Path,
    tmp_path: Path,
) -> DagTest:
    """Runs `airflow dags test nightly_retrain` on a project, output and errors together."""

    def run(project: Path) -> subprocess.CompletedProcess[str]:
        home = tmp_path / "airflow home"
        if not home.exists():
            # the database only: airflow.cfg, which names the first home, is written anew
            home.mkdir()
            shutil.copy(migrated_home / "airflow.db", home)
            shutil.copytree(migrated_home / "config", home / "config")
        return subprocess.run(
            [airflow_bin / "airflow", "dags", "test", "nightly_retrain"],
            env=airflow_environment(home, project / "dags"),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )

    return run


@pytest.fixture
def small_project(make_project: MakeProject) -> Path:
    project = make_project(PIPELINE, PARAMS)
    (project / "train.sh").write_text(TRAIN)
    (project / "code").mkdir()
    for name, number in {"one": "10", "two": "20"}.items():
        (project / "code" / f"{name}.txt").write_text(f"{number}\n")
    return project


def test_dag_runs_every_stage_in_order(small_project: Path, dag_test: DagTest) -> None:
    result = dag_test(small_project)

    assert result.returncode == 0, result.stdout
    assert (small_project / "reports" / "best.txt").read_text().split() == ["1", "10", "1", "20"]
    order = (small_project / "order.log").read_text().split()
    assert order[0] == "start"
    assert sorted(order[1:3]) == ["train-one", "train-two"]
    assert order[3:] == ["select"]


def test_second_run_skips_what_has_not_changed(small_project: Path, dag_test: DagTest) -> None:
    assert dag_test(small_project).returncode == 0
    (small_project / "order.log").unlink()
    (small_project / "code" / "two.txt").write_text("30\n")

    result = dag_test(small_project)

    assert result.returncode == 0, result.stdout
    # start looks at the world each time; it found nothing new, so one is left alone
    assert (small_project / "order.log").read_text().split() == ["start", "train-two", "select"]
    assert (small_project / "reports" / "best.txt").read_text().split() == ["1", "10", "1", "30"]


def test_failing_stage_fails_the_run_with_its_own_words(
    small_project: Path, dag_test: DagTest
) -> None:
    (small_project / "code" / "two.txt").write_text("broken\n")

    result = dag_test(small_project)

    assert result.returncode != 0
    assert "code/two.txt holds 'broken', expected a number" in result.stdout
    assert "DagRun failed" in result.stdout
    assert not (small_project / "reports").exists()
    assert "select" not in (small_project / "order.log").read_text()


def test_missing_environment_is_named(small_project: Path, dag_test: DagTest) -> None:
    (small_project / ".venv").unlink()

    result = dag_test(small_project)

    assert result.returncode != 0
    assert f"{small_project}/.venv/bin/dvc is missing: run 'make run'" in result.stdout


def test_this_projects_pipeline_runs_as_a_dag(
    new_project: Callable[[], Project], dag_test: DagTest
) -> None:
    project = new_project()
    models = {name: project.params()["models"][name] for name in ("popularity", "ease")}
    params = {**project.params(), "models": models}
    YAML(typ="safe").dump(params, project.root / "params.yaml")
    (project.root / ".venv").symlink_to(sys.prefix)

    result = dag_test(project.root)

    assert result.returncode == 0, result.stdout
    reports = project.root / "reports"
    assert set(json.loads((reports / "leaderboard.json").read_text())["models"]) == set(models)
    assert json.loads((reports / "registration.json").read_text())["alias"] == "champion"
    assert list((project.root / "data" / "recommendations").glob("*.parquet"))
    # `make run` finds everything done: the lock that the tasks wrote is the one it would write
    lock = (project.root / "dvc.lock").read_text()
    project.repro()
    assert (project.root / "dvc.lock").read_text() == lock
