"""Fixtures that several folders of tests share: the project, DVC's graph, Airflow."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from xdist.scheduler.loadscope import LoadScopeScheduling

PROJECT = Path(__file__).resolve().parent.parent
FINISHED_PROJECT = {
    *("test_failures.py", "test_pipeline.py", "test_robustness.py", "test_stage_dependencies.py")
}
"""They share a project that has run, which takes minutes to make."""

DVC_SETTINGS = (".dvc/config", ".dvc/.gitignore", ".dvcignore", ".gitignore")


def pytest_configure() -> None:
    """Ignore the developer's own registry; give no example a deadline, which a busy one misses."""
    os.environ.pop("MLFLOW_TRACKING_URI", None)
    settings.register_profile("busy", deadline=None, suppress_health_check=[HealthCheck.too_slow])
    settings.load_profile("busy")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What takes minutes begins first, so that nothing long is left for the end."""
    items.sort(key=lambda item: item.get_closest_marker("integration") is None)


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Bytes are no name for a case: gzip writes the time into them, and each worker has its own."""
    return argname if isinstance(val, bytes) else None


class FilesStayWhole(LoadScopeScheduling):
    """Side by side, the tests of a file stay in one process, with the fixtures that they share.

    pytest-xdist's `loadgroup` does not see its own marks with pytest 9.2.
    """

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        return "finished project" if Path(file).name in FINISHED_PROJECT else file


@pytest.fixture(autouse=True)
def _no_registry_is_left_behind() -> Iterator[None]:
    """MLflow keeps its store in the environment, where the next test's commands would find it."""
    before = os.environ.get("MLFLOW_TRACKING_URI")
    yield
    os.environ.pop("MLFLOW_TRACKING_URI", None)
    if before is not None:  # a fixture of the whole file has put it there
        os.environ["MLFLOW_TRACKING_URI"] = before


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> FilesStayWhole:
    """Give pytest-xdist our way to share out the tests."""
    config.option.loadscopereorder = False
    return FilesStayWhole(config, log)


@pytest.fixture(scope="session")
def project_root() -> Path:
    """The folder of the project under test."""
    return PROJECT


@pytest.fixture(scope="session")
def dvc_graph() -> Callable[[Path], tuple[set[str], set[tuple[str, str]]]]:
    """DVC's own view of a project's dvc.yaml: stage names, and (upstream, downstream) pairs."""

    def read(project: Path) -> tuple[set[str], set[tuple[str, str]]]:
        dot = subprocess.run(
            [sys.executable, "-m", "dvc", "dag", "--dot", "dvc.yaml"],
            cwd=project,
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        return (
            set(re.findall(r'^"([^"]+)";$', dot, re.MULTILINE)),
            set(re.findall(r'^"([^"]+)" -> "([^"]+)";$', dot, re.MULTILINE)),
        )

    return read


@pytest.fixture
def make_project(tmp_path: Path) -> Callable[[str, str], Path]:
    """Builds a git and DVC project with our code around a dvc.yaml and a params.yaml."""

    def make(pipeline: str, params: str) -> Path:
        project = tmp_path / "a project"  # the blank is on purpose
        for name in DVC_SETTINGS:
            (project / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(PROJECT / name, project / name)
        for name in ("dags", "pipeline_steps", "diffrec_core"):
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(PROJECT / name, project / name, ignore=ignored)
        (project / "dvc.yaml").write_text(pipeline)
        (project / "params.yaml").write_text(params)
        (project / ".venv").symlink_to(sys.prefix)
        subprocess.run(["git", "init", "--quiet"], cwd=project, check=True)
        return project

    return make


@pytest.fixture(scope="session")
def airflow_bin() -> Path:
    """The folder of programs of the Airflow environment."""
    folder = PROJECT / ".venv-airflow" / "bin"
    if not (folder / "airflow").is_file():
        pytest.skip("there is no .venv-airflow: `make test` builds it")
    return folder


@pytest.fixture(scope="session")
def airflow_environment(airflow_bin: Path) -> Callable[[Path, Path], dict[str, str]]:
    """The environment variables of an Airflow with a given home and folder of DAGs."""

    def variables(home: Path, dags: Path) -> dict[str, str]:
        # nothing of the developer's own Airflow, nor of the pipeline's environment, leaks in
        kept = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("AIRFLOW", "PYTHONPATH", "VIRTUAL_ENV", "DIFFREC_"))
        }
        return {
            **kept,
            "PATH": f"{airflow_bin}{os.pathsep}{os.defpath}",
            "AIRFLOW_HOME": str(home),
            "AIRFLOW__CORE__DAGS_FOLDER": str(dags),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        }

    return variables
