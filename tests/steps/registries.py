"""A registry of a real MLflow store in SQLite, with versions that hold no model."""

import io
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from subprocess import CompletedProcess
from types import ModuleType

import mlflow
import pytest
from mlflow import MlflowClient

from pipeline_steps.registry.tracking import tracking
from pipeline_steps.runtime.command import execute
from tests.raw_logs import write_params

MODEL = "diffrec"
REGISTER = {"experiment": "diffrec", "model_name": MODEL, "alias": "champion"}


@contextmanager
def place(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[MlflowClient]:
    """A project's folder: MLflow's database, the store of small files, and params.yaml."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{folder / 'mlflow.db'}")
    monkeypatch.setenv("DIFFREC_REMOTE", str(folder / "remote"))
    monkeypatch.chdir(folder)
    write_params(folder, register=REGISTER, publish={})
    with tracking("diffrec"):
        yield MlflowClient()


def add_version(client: MlflowClient, **tags: str) -> str:
    """Register a version that holds nothing; return its number."""
    if not client.search_registered_models(f"name = '{MODEL}'"):
        client.create_registered_model(MODEL)
    with mlflow.start_run() as run:
        pass
    source = f"{run.info.artifact_uri}/model"
    version = client.create_model_version(MODEL, source, run.info.run_id, tags=tags)
    return str(version.version)


def aliases(client: MlflowClient) -> dict[str, str]:
    """Where each alias points to."""
    return {k: str(v) for k, v in client.get_registered_model(MODEL).aliases.items()}


def call(command: ModuleType, *arguments: str | Path) -> "CompletedProcess[str]":
    """Run a command here, in this process: it is the imports that take seconds."""
    out, err, handlers, code = io.StringIO(), io.StringIO(), logging.root.handlers[:], 0
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
        patch.setattr(sys, "argv", [command.__name__, *map(str, arguments)])
        try:
            execute(command.run)
        except SystemExit as ended:
            code = int(ended.code or 0)
        finally:
            logging.root.handlers[:] = handlers
    return CompletedProcess(list(arguments), code, out.getvalue(), err.getvalue())
