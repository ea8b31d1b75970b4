"""Shared by `dags/` and this package: exit codes, variables, names, and the graph of stages.

Airflow's environment imports this module too: it needs the standard library alone.
"""

import hashlib
import json
import os
import re
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final, Literal

SKIPPED: Final = 99
"""Exit code of a command that had nothing to do; Airflow shows the task as skipped."""

DONE: Final = (0, SKIPPED)
"""Exit codes of success."""

NOT_RETRYABLE: Final = {
    2: "a value in params.yaml is not allowed",
    3: "the data cannot be used",
    4: "a stored artifact is missing or damaged",
    6: "there is not enough memory",
    7: "a check raised an alarm: of the monitor, or of the table to be published",
}
"""Exit codes of failures that a retry would repeat, and what they mean."""


class Variable(StrEnum):
    """Environment variables; docs/operations.md says what each is for."""

    PROJECT = "DIFFREC_PROJECT"
    REPOSITORY = "DIFFREC_REPOSITORY"
    REMOTE = "DIFFREC_REMOTE"
    WORKSPACES = "DIFFREC_WORKSPACES"
    CACHE = "DIFFREC_CACHE"
    PUBLISH = "DIFFREC_PUBLISH"
    ALERTS = "DIFFREC_ALERTS"
    ALERT_WEBHOOK = "DIFFREC_ALERT_WEBHOOK"
    SCHEDULE = "DIFFREC_SCHEDULE"
    RUN = "DIFFREC_RUN"


_DEFAULTS = {
    Variable.REPOSITORY: ".",
    Variable.REMOTE: ".nightly/remote",
    Variable.WORKSPACES: ".nightly/workspaces",
    Variable.CACHE: ".nightly/cache",
    Variable.ALERTS: ".nightly/alerts",
    Variable.PUBLISH: "published",
}
"""Locations below the project's folder."""


DEFAULT_TRACKING_URI: Final = "sqlite:///mlflow.db"
"""MLflow's store, below the project's folder, where MLFLOW_TRACKING_URI is not set."""


class OperationName(StrEnum):
    """Steps of a run outside the DVC graph: they read or change external state."""

    GATE = "gate"
    PROMOTE = "promote"
    RECOMMEND = "recommend"
    PUBLISH = "publish"
    MONITOR = "monitor"


def location(variable: Variable, project: Path) -> str:
    """The folder, absolute, or the URL of a variable that has a default below `project`."""
    value = os.environ.get(variable) or str(project / _DEFAULTS[variable])
    return value if "://" in value else str(Path(value).absolute())


_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")


def safe_name(text: str) -> str:
    """The text as part of a file name or URL; empty where no safe character is in it.

    >>> safe_name("scheduled__2026-11-24T00:00:00+00:00")
    'scheduled__2026-11-24T00-00-00-00-00'
    """
    return _UNSAFE.sub("-", text).strip("-.")


def model_names(text: str) -> list[str]:
    """Models named in a text, separated by commas or white space.

    >>> model_names(" ease,  diffrec slim")
    ['ease', 'diffrec', 'slim']
    """
    return text.replace(",", " ").split()


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """A stage of dvc.yaml, as DVC resolves it.

    Attributes:
        name: ``split``, or ``train@ease`` for a member of a foreach stage.
        desc: its description.
        command: its shell commands, a line each.
        upstream: names of the stages whose outputs it reads, sorted.
        inputs: outputs of other stages that it reads, each a whole output.
        persisted: own outputs that stay in place when it runs again (`persist`).
        resources: what it runs on, from `meta`, as are all below.
        queue: of the Airflow workers that may take it; None: any.
        timeout_minutes: limit of a try; None: the DAG's default.
        retries: how often it is retried; None: the DAG's default.
        reads_lock: its command reads the run's dvc.lock.
    """

    name: str
    desc: str
    command: str
    upstream: list[str]
    inputs: list[str]
    persisted: list[str]
    resources: Literal["cpu", "gpu"]
    queue: str | None
    timeout_minutes: int | None
    retries: int | None
    reads_lock: bool


GRAPH_FILE: Final = ".nightly/stage_graph.json"
"""The stored graph of the project's folder."""

GRAPH_SCHEMA: Final = "stage-graph/1"
_GRAPH_SOURCES = ("dvc.yaml", "params.yaml")


def graph_sources(project: Path) -> dict[str, str]:
    """SHA-256 of the files that DVC makes the graph from, by name.

    Raises:
        OSError: one cannot be read.
    """
    return {
        name: hashlib.sha256((project / name).read_bytes()).hexdigest() for name in _GRAPH_SOURCES
    }


def read_graph(path: Path, project: Path) -> dict[str, Stage] | None:
    """The stages stored at `path`, by name, in the order of dvc.yaml.

    Returns:
        None where there are none, or where they were made from other contents of the project's
        dvc.yaml and params.yaml.

    Raises:
        OSError: dvc.yaml or params.yaml cannot be read.
    """
    sources = graph_sources(project)
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    if not isinstance(content, dict) or content.get("schema") != GRAPH_SCHEMA:
        return None
    if content["sources"] != sources:
        return None
    return {stage["name"]: Stage(**stage) for stage in content["stages"]}
