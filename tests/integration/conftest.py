"""A small project, run once: planted logs through every stage with `dvc repro`."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock
from ruamel.yaml import YAML

from tests.integration.small_steps import prepare
from tests.raw_logs import ingest_section, planted_events, write_log, write_titles

PROJECT = Path(__file__).resolve().parents[2]
_CODE = ("diffrec_core", "pipeline_steps", "dags")
_FILES = (
    "dvc.yaml",
    "studies/dvc.yaml",
    "params.yaml",
    ".gitignore",
    ".dvcignore",
    ".dvc/config",
    ".dvc/.gitignore",
)


@dataclass(frozen=True, slots=True)
class Project:
    """A copy of this project with a log of its own.

    Attributes:
        root: its folder, with a blank in its path.
        traces: where processes note what they imported.
    """

    root: Path
    traces: Path

    def run(self, *command: str, **variables: str) -> "subprocess.CompletedProcess[str]":
        """Run a command as a user would, in the environment that the tests run in."""
        environment = {
            **{k: v for k, v in os.environ.items() if k != "MLFLOW_TRACKING_URI"},
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": str(PROJECT / "tests" / "tracing"),
            "TRACE_DIR": str(self.traces),
            "OMP_NUM_THREADS": "1",
            **variables,
        }
        return subprocess.run(
            command, cwd=self.root, env=environment, capture_output=True, text=True, check=False
        )

    def repro(self, *arguments: str, **variables: str) -> "subprocess.CompletedProcess[str]":
        """Run `dvc repro` and require that it succeeds."""
        result = self.run("dvc", "repro", *arguments, **variables)
        assert result.returncode == 0, result.stdout + result.stderr
        return result

    def params(self) -> dict[str, Any]:
        """Read params.yaml."""
        loaded: dict[str, Any] = YAML(typ="safe").load(self.root / "params.yaml")
        return loaded

    def change(self, **sections: Mapping[str, Any]) -> None:
        """Merge values into params.yaml, section by section."""
        params = self.params()
        for name, values in sections.items():
            _merge(params.setdefault(name, {}), values)
        self.write(params)

    def write(self, params: Mapping[str, Any]) -> None:
        """Write params.yaml."""
        YAML(typ="safe").dump(dict(params), self.root / "params.yaml")


def _merge(target: dict[str, Any], values: Mapping[str, Any]) -> None:
    for key, value in values.items():
        if isinstance(value, Mapping) and isinstance(target.get(key), dict):
            _merge(target[key], value)
        else:
            target[key] = value


MODELS = ("popularity", "ease", "ials", "lightgcn", "diffrec", "l_diffrec")
"""Few, since each costs seconds for each of its stages; `test_model_code` looks at all."""
_FAMILIES = {"ease": "item_item", "ials": "factorisation", "lightgcn": "lightgcn"}
"""Of those that params.yaml has commented out."""


def small_params(params: dict[str, Any]) -> dict[str, Any]:
    """Shrink the project's own params.yaml to a log of a few hundred rows and some models."""
    epochs = {"epochs": 4, "validate_every_epochs": 2}
    others = {
        name: {"code": f"diffrec_core/models/{family}", "items": "data/interactions"}
        for name, family in _FAMILIES.items()
    }
    params["models"] = {name: (params["models"] | others)[name] for name in MODELS}
    params["list_raw"] = {"logs": ["data/raw/small/*.csv"], "titles": "data/raw/small/items.txt"}
    params["ingest"] = ingest_section()
    params["pretrain_item_embeddings"] |= {**epochs, "embedding_dim": 8}
    for section in params["train"].values():
        if "epochs" in section:
            section.update(epochs)
        if section["kind"] == "diffrec":
            section.update(hidden_dims=[8], encoder_dims=[8], steps=3)
    params["train"]["diffrec"]["recency"] = params["train"]["t_diffrec"]["recency"]
    params["evaluate"]["cutoffs"] = [5, 20]
    params["runtime"] |= {"threads": 1, "checkpoint_every_seconds": 0}
    return params


def build(folder: Path) -> Project:
    """Copy the project to a folder, with a small log, as a git repository with one commit."""
    root = folder / "a project"
    for name in _CODE:
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(PROJECT / name, root / name, ignore=ignored)
    for name in _FILES:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(PROJECT / name, root / name)
    events = planted_events(
        users_per_block=20, items_per_block=24, events_per_user=16, disliked_per_user=3
    )
    write_log(root / "data" / "raw" / "small" / "log.csv", events)
    write_titles(root / "data" / "raw" / "small" / "items.txt", events)
    params = small_params(YAML(typ="safe").load(root / "params.yaml"))
    YAML(typ="safe").dump(params, root / "params.yaml")
    traces = folder / "traces"
    traces.mkdir()
    project = Project(root, traces)
    identity = ("-c", "user.name=test", "-c", "user.email=test@example.org")
    for command in (("init", "-q"), ("add", "-A"), (*identity, "commit", "-qm", "start")):
        assert project.run("git", *command).returncode == 0
    return project


@pytest.fixture(scope="session")
def new_project(tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Project]:
    """Makes a project that has not run."""
    return lambda: build(tmp_path_factory.mktemp("project"))


@pytest.fixture(scope="session")
def finished_project(new_project: Callable[[], Project]) -> Project:
    """A project after its first whole run; tests must leave it as it is."""
    project = new_project()
    project.repro()
    return project


@pytest.fixture
def copied_project(finished_project: Project, tmp_path: Path) -> Project:
    """A project that has run, to be changed."""
    return copy_of(finished_project, tmp_path / "copy")


def copy_of(project: Project, folder: Path) -> Project:
    """Copy a project with all that it made."""
    shutil.copytree(project.root, folder, symlinks=True)
    return Project(folder, project.traces)


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What trainings read, made once for all of pytest's processes; to be left as it is."""
    own = tmp_path_factory.getbasetemp()
    folder = (own.parent if "PYTEST_XDIST_WORKER" in os.environ else own) / "prepared"
    with FileLock(f"{folder}.lock"):
        if not (folder / "clusters").exists():
            folder.mkdir()
            prepare(folder)
    return folder
