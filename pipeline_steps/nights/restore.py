"""Restore exactly the code, parameters and data that a registered version was made from.

  python -m pipeline_steps restore 3                      into restored/diffrec-3
  python -m pipeline_steps restore 3 --verify             and score its model again

The folder is a clone at the version's commit, with its params.yaml and dvc.lock, and every output
that dvc.lock names: `dvc repro` there finds nothing to do. --verify evaluates the winner again and
compares every metric with the run's, and the model with the registered one.

Exit codes: 0 restored (and verified), 4 something is missing or differs.
"""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import pandas as pd
from ruamel.yaml import YAML

from diffrec_core.common.artifacts import fingerprint, read_json
from diffrec_core.common.errors import ArtifactError, ConfigError
from pipeline_steps.nights.settings import Settings, settings
from pipeline_steps.nights.workspace import Workspace
from pipeline_steps.params.steps import RegisterConfig
from pipeline_steps.registry import versions
from pipeline_steps.registry.tracking import tracking
from pipeline_steps.runtime.command import POSITIONAL, Inputs, repository_root

log = logging.getLogger("pipeline")
TOLERANCE = 1e-6
"""Allowed difference of a metric: other processors round differently."""


class RestoreInputs(Inputs):
    """The version and the folder."""

    version: Annotated[str, POSITIONAL]
    """Number of a registered version."""

    out: Path | None = None
    """Folder to create; by default restored/NAME-VERSION."""

    verify: bool = False
    """Evaluate its model again and compare."""


def run(inputs: RestoreInputs, register: RegisterConfig) -> None:
    """Restore, and verify if asked.

    Raises:
        ArtifactError: there is no such version, or its lock, data or code is missing.
        ConfigError: the folder exists already, or the code was never committed.
    """
    out = inputs.out or Path("restored") / f"{register.model_name}-{inputs.version}"
    if out.exists():
        raise ConfigError(f"{out} exists already: remove it, or name another with --out")
    config = settings()
    with tracking(register.experiment):
        version = versions.get_version(register.model_name, inputs.version)
        commit = _commit(version)
        lock, params = (versions.read_file(version, name) for name in ("dvc.lock", "params.yaml"))
    workspace = _workspace(out.absolute(), version, config)
    workspace.prepare(commit, params)
    entries = workspace.current(YAML(typ="safe", pure=True).load(lock)["stages"])
    workspace.fetch((out["path"] for entry in entries.values() for out in entry["outs"]), entries)
    workspace.write_lock(entries)
    log.info(
        "%s version %s: commit %.8s, restored to %s", version.name, inputs.version, commit, out
    )
    if inputs.verify:
        _verify(workspace, entries, version)


def _commit(version: versions.Version) -> str:
    commit = version.tags.get("commit", "unknown")
    if commit == "unknown" or commit.endswith("-dirty"):
        raise ConfigError(
            f"{version.name} version {version.number} was made from code that was not committed "
            f"({commit}): it cannot be restored"
        )
    return commit


def _workspace(root: Path, version: versions.Version, config: Settings) -> Workspace:
    """The data are in the remote of the nights, or in the cache that `make run` filled."""
    is_nightly = "run" in version.tags
    cache = config.cache if is_nightly else repository_root() / ".dvc" / "cache"
    return Workspace(root, config.repository, config.dvc_remote, cache)


def _verify(workspace: Workspace, entries: Mapping[str, Any], version: versions.Version) -> None:
    """Compare the model with the registered one, and its metrics with those of a second try."""
    if fingerprint(workspace.root / "models" / "final") != version.tags["model_fingerprint"]:
        raise ArtifactError("models/final is not the model that was registered")
    stage = f"evaluate@{version.tags['model']}"
    path = workspace.root / "reports" / "evaluation" / version.tags["model"] / "metrics.json"
    before = _metrics(path)
    if workspace.reproduce(stage, entries, force=True) != 0:
        raise ArtifactError(f"{stage} failed in {workspace.root}")
    again = _metrics(path)
    gaps = (before - again).abs()  # NaN where one of them is missing
    differ = [
        f"{name}: {before.get(name)} measured, {again.get(name)} now"
        for name in gaps[~(gaps <= TOLERANCE)].index
    ]
    if differ:
        raise ArtifactError(f"{len(differ)} metrics differ: {'; '.join(differ[:5])}")
    log.info("verified: %d metrics of %s are as they were measured", len(again), stage)


def _metrics(path: Path) -> "pd.Series[float]":
    """The numbers in a JSON file, by their dotted paths."""
    return pd.json_normalize(read_json(path)).select_dtypes("number").iloc[0]
