"""Erase a user's history from registered versions.

  python -m pipeline_steps erase-user 4711                  from every version
  python -m pipeline_steps erase-user 4711 --versions 3 4   from these

Each version carries the histories of its users. The user's interactions and id are removed from the
artifact store, and so is the report of the version's run if it shows the user; the version stays
valid, with right checksums. Weights are not retrained. A process that has loaded a version keeps
its copy. Other places of a user's data: docs/operations.md.

Exit codes: 0 erased, or nothing to erase; 4 a version or its files are missing; 5 MLflow is
unavailable.
"""

import json
import logging
import tempfile
from collections.abc import Iterable
from html import unescape
from pathlib import Path
from typing import Annotated, Any

from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from mlflow.models import Model
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

from diffrec_core.common.artifacts import read_manifest, write_manifest
from diffrec_core.common.errors import ArtifactError
from diffrec_core.data.interactions import read_interactions
from diffrec_core.data.schema import INTERACTIONS_SCHEMA
from pipeline_steps.params.steps import RegisterConfig
from pipeline_steps.registry import tracking, versions
from pipeline_steps.registry.transient_errors import is_transient
from pipeline_steps.registry.versions import Version
from pipeline_steps.runtime.command import POSITIONAL, Inputs

log = logging.getLogger("pipeline")
Files = Any
"""An `ArtifactRepository`, whose methods have no types."""

_REPORT = "report.html"
_EXAMPLES = ("input_example.json", "serving_input_example.json")
_UNKNOWN_USER = "a new user"


class EraseUserInputs(Inputs):
    """The user and the versions."""

    user_id: Annotated[str, POSITIONAL]
    """External id of the user."""

    versions: tuple[str, ...] = ()
    """Numbers of versions; by default all that are registered."""


def run(inputs: EraseUserInputs, register: RegisterConfig) -> None:
    """Erase the user, version by version.

    Raises:
        ArtifactError: there is no such version, or its files cannot be read or written.
    """
    with tracking.registry():
        numbers = inputs.versions or versions.numbers(register.model_name)
        for version in [versions.get_version(register.model_name, n) for n in numbers]:
            count = erase(version, inputs.user_id)
            if count is None:
                log.info("%s version %s does not know the user", version.name, version.number)
            else:
                log.info(
                    "%s version %s: %d interactions erased", version.name, version.number, count
                )


def erase(version: Version, user_id: str) -> int | None:
    """Erase a user from a version and its run.

    The user's index stays unused, so the version is valid after each file that is written.

    Returns:
        The number of interactions; None if the version does not know the user.

    Raises:
        ArtifactError: the version's files cannot be read or written.
    """
    client = MlflowClient()
    uri = client.get_model_version_download_uri(version.name, version.number)
    files = get_artifact_repository(uri)
    run_files = get_artifact_repository(client.get_run(version.run_id).info.artifact_uri)
    with tempfile.TemporaryDirectory() as folder:
        try:
            count = _erase_history(files, user_id, Path(folder))
            _erase_examples(files, user_id, Path(folder))
            _erase_report(run_files, user_id, Path(folder))
        except (MlflowException, OSError) as error:
            if is_transient(error):
                raise
            raise ArtifactError(
                f"{version.name} version {version.number} cannot be read or written: {error}. "
                f"Is it still in the artifact store? Else delete the version"
            ) from error
    return count


def _erase_history(files: Files, user_id: str, folder: Path) -> int | None:
    model = Model.load(files.download_artifacts("MLmodel", str(folder)))
    path = str(model.flavors["python_function"]["artifacts"]["interactions"]["path"])
    directory = Path(files.download_artifacts(path, str(folder)))
    before = read_interactions(directory)
    after = before.without_user(user_id)
    if after is before:
        return None
    manifest = read_manifest(directory, INTERACTIONS_SCHEMA)
    after.write(directory)
    write_manifest(directory, **{key: manifest[key] for key in manifest.keys() - {"files"}})
    files.log_artifacts(str(directory), path)
    return len(before.frame) - len(after.frame)


def _erase_examples(files: Files, user_id: str, folder: Path) -> None:
    """Replace the user in the example request that MLflow stores with a model."""
    for path in _present(files, _EXAMPLES, folder):
        example = json.loads(path.read_text(encoding="utf-8"))
        erased = _replaced(example, user_id)
        if erased != example:
            path.write_text(json.dumps(erased), encoding="utf-8")
            files.log_artifact(str(path))


def _erase_report(files: Files, user_id: str, folder: Path) -> None:
    """Remove the run's report if it shows the user among others."""
    for path in _present(files, (_REPORT,), folder):
        if f"User {user_id}, " in unescape(path.read_text(encoding="utf-8")):
            files.delete_artifacts(path.name)
            log.info("removed %s of the version's run, which shows the user", path.name)


def _present(files: Files, names: Iterable[str], folder: Path) -> list[Path]:
    there = {file.path for file in files.list_artifacts()}
    return [Path(files.download_artifacts(name, str(folder))) for name in names if name in there]


def _replaced(value: Any, user_id: str) -> Any:
    if isinstance(value, dict):
        return {key: _replaced(inner, user_id) for key, inner in value.items()}
    if isinstance(value, list):
        return [_replaced(inner, user_id) for inner in value]
    return _UNKNOWN_USER if value == user_id else value
