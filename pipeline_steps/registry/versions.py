"""MLflow's registry: versions of the model, their tags, and the aliases that point to them.

champion     the version that serves
challenger   a candidate that the gate has not yet decided on, or has not promoted
previous     the champion before; `rollback` returns to it
"""

import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from diffrec_core.common.errors import ArtifactError

CHAMPION, CHALLENGER, PREVIOUS = "champion", "challenger", "previous"

GATE_DECISION = "gate_decision"
"""Tag of a version that the gate has compared: promote or keep."""

GATE_REASON = "gate_reason"
"""Tag beside it: why, in plain words."""

PROMOTION = "promotion"
"""Tag of a version that was promoted: its number in the log of promotions."""

_LONGEST_TAG = 4900
_ABSENT = {"RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE", "NOT_FOUND"}


@dataclass(frozen=True, slots=True)
class Version:
    """A registered version.

    Attributes:
        name: of the registered model.
        number: as MLflow writes it.
        run_id: the MLflow run that registered it.
        tags: refer to its data, parameters and code.
    """

    name: str
    number: str
    run_id: str
    tags: Mapping[str, str]

    @property
    def uri(self) -> str:
        """Its address for MLflow."""
        return f"models:/{self.name}/{self.number}"

    @property
    def training_end(self) -> datetime:
        """Time of the last interaction that it was trained on.

        Raises:
            ArtifactError: its tags do not have it.
        """
        try:
            return datetime.fromisoformat(self.tags["data_last"])
        except (KeyError, ValueError) as error:
            raise ArtifactError(
                f"{self.name} version {self.number} does not say what it was trained on (tag "
                f"data_last: {self.tags.get('data_last')!r}): register it with "
                f"pipeline_steps.register"
            ) from error

    @property
    def is_promoted(self) -> bool:
        """True if the gate or a person has decided about it."""
        return GATE_DECISION in self.tags or PROMOTION in self.tags


def find_version(name: str, fingerprint: str) -> Version | None:
    """The first version that was registered from this very model, if any."""
    known = MlflowClient().search_model_versions(f"name = '{name}'")
    same = [v for v in known if v.tags.get("model_fingerprint") == fingerprint]
    first = min(same, key=lambda v: int(v.version), default=None)
    return None if first is None else _version(first)


def keep_first(name: str, fingerprint: str, number: str) -> Version:
    """Of the versions of one model that several machines registered at once, keep the first.

    Each machine calls this after it has registered `number`, and its own version is deleted if
    another has a lower number: so all agree on which one stays.
    """
    first = find_version(name, fingerprint)
    if first is None or int(first.number) >= int(number):
        return get_version(name, number)
    MlflowClient().delete_model_version(name, number)
    return first


def get_version(name: str, number: str) -> Version:
    """A version by its number.

    Raises:
        ArtifactError: there is none.
    """
    try:
        return _version(MlflowClient().get_model_version(name, number))
    except MlflowException as error:
        if error.error_code not in _ABSENT:
            raise
        raise ArtifactError(
            f"{name} has no version {number!r}; there are: {', '.join(numbers(name)) or 'none'}"
        ) from error


def numbers(name: str) -> list[str]:
    """Numbers of all versions, ascending; empty if there is no such model."""
    known = MlflowClient().search_model_versions(f"name = '{name}'")
    return sorted((str(version.version) for version in known), key=int)


def aliases(name: str) -> dict[str, str]:
    """Number of each alias's version; empty if there is no such model."""
    try:
        model = MlflowClient().get_registered_model(name)
    except MlflowException as error:
        if error.error_code not in _ABSENT:
            raise
        return {}
    return {alias: str(number) for alias, number in model.aliases.items()}


def by_alias(name: str, alias: str) -> Version | None:
    """The version that an alias points to, if any."""
    number = aliases(name).get(alias)
    return None if number is None else get_version(name, number)


def created(version: Version) -> datetime:
    """When a version was registered, UTC."""
    registered = MlflowClient().get_model_version(version.name, version.number)
    return datetime.fromtimestamp(registered.creation_timestamp / 1000, UTC)


def run_metrics(version: Version) -> dict[str, float]:
    """Metrics of the run that registered a version, by names such as `test_recall_at_20`."""
    return dict(MlflowClient().get_run(version.run_id).data.metrics)


def move_alias(name: str, alias: str, number: str) -> None:
    """Point an alias at a version."""
    MlflowClient().set_registered_model_alias(name, alias, number)


def remove_alias(name: str, alias: str) -> None:
    """Delete an alias."""
    MlflowClient().delete_registered_model_alias(name, alias)


def tag_version(version: Version, tags: Mapping[str, str]) -> None:
    """Write tags to a version; long values are truncated."""
    client = MlflowClient()
    for key, value in tags.items():
        client.set_model_version_tag(version.name, version.number, key, value[:_LONGEST_TAG])


def log_files(run_id: str, paths: Iterable[Path]) -> None:
    """Log files to a run; one of the same name is replaced."""
    client = MlflowClient()
    for path in paths:
        client.log_artifact(run_id, str(path))


def read_file(version: Version, path: str) -> str:
    """The text of a file of the version's run.

    Raises:
        ArtifactError: there is none.
    """
    with tempfile.TemporaryDirectory() as folder:
        try:
            downloaded = MlflowClient().download_artifacts(version.run_id, path, folder)
        except (MlflowException, OSError) as error:
            raise ArtifactError(
                f"{version.name} version {version.number}: its run {version.run_id} has no {path} "
                f"({error})"
            ) from error
        return Path(downloaded).read_text(encoding="utf-8")


def _version(registered: Any) -> Version:
    return Version(
        name=str(registered.name),
        number=str(registered.version),
        run_id=str(registered.run_id),
        tags=dict(registered.tags),
    )
