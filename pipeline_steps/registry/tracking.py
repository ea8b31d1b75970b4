"""MLflow's runs: one parent per pipeline run, a child per model with its curves.

The winner is registered from code (`served_model`). The store is a database, `sqlite:///mlflow.db`
unless MLFLOW_TRACKING_URI says otherwise.
"""

import logging
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from importlib.metadata import version
from pathlib import Path
from typing import Any
from urllib.parse import quote

import mlflow
import pandas as pd
import polars as pl
import requests
from mlflow import MlflowClient
from mlflow.entities import Metric
from mlflow.exceptions import MlflowException
from mlflow.models import ModelSignature
from mlflow.types.schema import Array, ColSpec, DataType, ParamSchema, ParamSpec, Schema
from sqlalchemy import make_url
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from diffrec_core.common.errors import ConfigError, StorageError
from diffrec_core.data.seen import Repeats
from pipeline_steps.registry.transient_errors import is_transient
from pipeline_steps.runtime.urls import public, redacted
from pipeline_steps.shared import DEFAULT_TRACKING_URI

log = logging.getLogger("pipeline")
_REQUIREMENTS = ("torch", "numpy", "scipy", "polars", "pandas", "pydantic", "safetensors", "mlflow")

SIGNATURE = ModelSignature(
    inputs=Schema(
        [
            ColSpec(DataType.string, "user_id", required=False),
            ColSpec(Array(DataType.string), "items", required=False),
            ColSpec(Array(DataType.double), "timestamps", required=False),
            ColSpec(Array(DataType.string), "seen", required=False),
        ]
    ),
    outputs=Schema(
        [
            ColSpec(Array(DataType.string), "item_ids"),
            ColSpec(Array(DataType.double), "scores"),
            ColSpec(DataType.string, "source"),
        ]
    ),
    params=ParamSchema(
        [
            ParamSpec("k", DataType.long, 10),
            ParamSpec("exclude_seen", DataType.boolean, True),
        ]
    ),
)


@contextmanager
def tracking(experiment: str) -> Iterator[str]:
    """Point MLflow at its store and experiment; yield the store's URI.

    Raises:
        ConfigError: MLflow refuses a name or a value, or the store is the unsupported file store.
        StorageError: the store cannot be reached, or is locked.
    """
    uri = _uri()
    if not uri.startswith(("sqlite:", "postgresql", "mysql", "mssql", "http:", "https:")):
        raise ConfigError(
            f"MLFLOW_TRACKING_URI = {public(uri)!r}: use a database (sqlite:///mlflow.db) or a "
            f"server"
        )
    with _connected(uri):
        _create_experiment(uri, experiment)
        mlflow.set_experiment(experiment)
        yield uri


@contextmanager
def registry() -> Iterator[None]:
    """Point MLflow at its store to read the registry; creates nothing.

    Raises:
        ConfigError: there is no store yet.
        StorageError: it cannot be reached, or is locked.
    """
    uri = _uri()
    if uri.startswith("sqlite:") and not _sqlite_file(uri).is_file():
        raise ConfigError(
            f"MLflow's store {public(uri)} does not exist: nothing was registered yet"
        )
    with _connected(uri):
        yield


def _uri() -> str:
    return os.environ.get("MLFLOW_TRACKING_URI", DEFAULT_TRACKING_URI)


def _sqlite_file(uri: str) -> Path:
    return Path(uri.removeprefix("sqlite:///").partition("?")[0])


def _is_misread(uri: str) -> bool:
    """True if a part of a database's password would be taken for the host."""
    try:
        return not uri.startswith("http") and "@" in (make_url(uri).host or "")
    except (ArgumentError, ValueError):
        return True


@contextmanager
def _connected(uri: str) -> Iterator[None]:
    """Point MLflow at a store; its errors become StorageError if transient, else ConfigError."""
    if _is_misread(uri):
        raise ConfigError(
            f"MLFLOW_TRACKING_URI = {public(uri)!r}: not a valid address. Write special characters "
            f"of a user's name or password percent-encoded: @ as %40, : as %3A, / as %2F"
        )
    try:
        mlflow.set_tracking_uri(uri)
        yield
    except (MlflowException, SQLAlchemyError, requests.RequestException) as error:
        address, message = public(uri), redacted(str(error), uri)
        if not is_transient(error):
            raise ConfigError(f"MLflow at {address}: {message}") from error
        raise StorageError(
            f"MLflow at {address} cannot be reached, or is busy: {message}. Is its server up, is "
            f"its database there? Then run the same command again (docs/runbook.md: MLflow is down)"
        ) from error


def _create_experiment(uri: str, name: str) -> None:
    """Keep the files of an experiment beside its SQLite database.

    MLflow's default is `mlruns` in the current folder, and a workspace is removed when its stage
    is done. A server decides for itself.
    """
    client = MlflowClient()
    if not uri.startswith("sqlite:///") or client.get_experiment_by_name(name) is not None:
        return
    folder = _sqlite_file(uri).absolute().parent / "mlruns"
    try:
        client.create_experiment(name, artifact_location=str(folder / quote(name, safe="")))
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":  # by another process
            raise


def log_run(
    leaderboard: Mapping[str, Any], curves: Path, tags: Mapping[str, str], files: Iterable[Path]
) -> str:
    """Log the parent run and a child per model; return the parent's id.

    Args:
        leaderboard: all results, with each model's parameters.
        curves: folder with a CSV file of each model's training.
        tags: commit, lock hash, data window and the like.
        files: further artifacts.
    """
    models, winner = leaderboard["models"], leaderboard["selected"]
    with mlflow.start_run(run_name=f"pipeline {tags['commit'][:8]}") as run:
        mlflow.set_tags({**tags, "selected": winner})
        mlflow.log_metrics(_flat(models[winner]))
        for path in files:
            mlflow.log_artifact(str(path))
        for name, row in models.items():
            with mlflow.start_run(run_name=name, nested=True) as child:
                mlflow.set_tag("model", name)
                mlflow.log_params(_flat_params(row["config"]))
                mlflow.log_metrics(_flat(row))
                _log_curve(child.info.run_id, curves / f"{name}.csv")
        run_id: str = run.info.run_id
    return run_id


LogTrial = Callable[[Mapping[str, Any], Mapping[str, float | None], Mapping[str, str]], None]


@contextmanager
def tuning_run(experiment: str, model: str, tags: Mapping[str, str]) -> Iterator[LogTrial]:
    """Open a run for a study; yield what logs a trial's settings, metrics and tags as its child."""

    def log_trial(
        settings: Mapping[str, Any], metrics: Mapping[str, float | None], tags: Mapping[str, str]
    ) -> None:
        with mlflow.start_run(run_name=f"{model} trial", nested=True):
            mlflow.set_tags({"model": model, **tags})
            mlflow.log_params(_flat_params(settings))
            mlflow.log_metrics(_flat(metrics))

    with tracking(experiment), mlflow.start_run(run_name=f"tune {model}"):
        mlflow.set_tags({"model": model, **tags})
        yield log_trial


def register_model(
    run_id: str,
    name: str,
    *,
    model: Path,
    interactions: Path,
    repeats: Repeats,
    code: Sequence[Path],
    tags: Mapping[str, str],
    example: pd.DataFrame,
) -> str:
    """Log the model from code under a run and register it; return the version's number.

    The tags are there as soon as the version is: after a kill, `find_version` finds it by them.
    """
    requirements = [f"{package}=={version(package).split('+')[0]}" for package in _REQUIREMENTS]
    # MLflow announces versions on stdout; a step's stdout is for results
    with mlflow.start_run(run_id=run_id), redirect_stdout(sys.stderr):
        info = mlflow.pyfunc.log_model(
            name="model",
            python_model=str(Path(__file__).with_name("served_model.py")),
            artifacts={"model": str(model), "interactions": str(interactions)},
            model_config={"repeats": repeats},
            code_paths=[str(path) for path in code],
            signature=SIGNATURE,
            input_example=example,
            pip_requirements=requirements,
            registered_model_name=name,
            tags=dict(tags),
        )
    number = str(info.registered_model_version)
    log.info(
        "%s version %s carries every user's history, %.1f MiB, and its model, %.1f MiB "
        "(docs/operations.md: Personal data)",
        *(name, number, _mebibytes(interactions), _mebibytes(model)),
    )
    return number


def _mebibytes(folder: Path) -> float:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 2**20


def _flat(row: Mapping[str, Any]) -> dict[str, float]:
    """`validation.recall@20` becomes `validation_recall_at_20`, which MLflow accepts."""
    flat: dict[str, float] = {}
    for key, value in row.items():
        if key == "config":
            continue  # logged as parameters
        if isinstance(value, Mapping):
            flat |= {f"{key}_{name}": number for name, number in _flat(value).items()}
        elif isinstance(value, int | float):
            flat[key.replace("@", "_at_")] = float(value)
    return flat


def _flat_params(params: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in params.items():
        if isinstance(value, Mapping):
            flat |= _flat_params(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def _log_curve(run_id: str, path: Path) -> None:
    curve = pl.read_csv(path, infer_schema=False).unpivot(index="epoch").drop_nulls()
    metrics = [
        Metric(f"training_{name}", float(value), 0, int(epoch))
        for epoch, name, value in curve.iter_rows()
    ]
    client = MlflowClient()
    for start in range(0, len(metrics), 1000):  # the most that one batch may hold
        client.log_batch(run_id, metrics=metrics[start : start + 1000])
