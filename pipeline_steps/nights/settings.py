"""Locations and addresses that a worker needs: from environment variables, or their defaults.

docs/operations.md lists the variables. A relative SQLite path is resolved against the project's
folder: a database in a workspace would be lost with it.
"""

import os
from dataclasses import dataclass
from pathlib import Path

from pipeline_steps.nights.store import Store
from pipeline_steps.runtime.command import repository_root
from pipeline_steps.shared import DEFAULT_TRACKING_URI, Variable, location


@dataclass(frozen=True, slots=True)
class Settings:
    """Locations of a worker; paths are absolute.

    Attributes:
        repository: folder or URL that workspaces are cloned from.
        remote: folder or URL that workers share.
        workspaces: folder of this machine's workspaces.
        cache: folder of DVC's cache.
        publish: folder or URL of published results.
        tracking_uri: of MLflow.
    """

    repository: str
    remote: str
    workspaces: Path
    cache: Path
    publish: str
    tracking_uri: str

    @property
    def store(self) -> Store:
        """Runs and promotions, beside DVC's files in the remote."""
        return Store(f"{self.remote}/store")

    def environment(self) -> dict[str, str]:
        """The settings as variables, for the processes that a worker starts."""
        return {
            Variable.REPOSITORY: self.repository,
            Variable.REMOTE: self.remote,
            Variable.WORKSPACES: str(self.workspaces),
            Variable.CACHE: str(self.cache),
            Variable.PUBLISH: self.publish,
            "MLFLOW_TRACKING_URI": self.tracking_uri,
        }

    @property
    def dvc_remote(self) -> str:
        """URL of DVC's remote."""
        return f"{self.remote}/dvc"

    @property
    def published(self) -> Store:
        """Published results."""
        return Store(self.publish)


def settings(project: Path | None = None) -> Settings:
    """Read the environment.

    Args:
        project: the folder that defaults lie in; None: the one that holds this code.
    """
    root = (project or repository_root()).absolute()
    return Settings(
        repository=location(Variable.REPOSITORY, root),
        remote=location(Variable.REMOTE, root),
        workspaces=Path(location(Variable.WORKSPACES, root)),
        cache=Path(location(Variable.CACHE, root)),
        publish=location(Variable.PUBLISH, root),
        tracking_uri=_absolute(os.environ.get("MLFLOW_TRACKING_URI") or DEFAULT_TRACKING_URI, root),
    )


def _absolute(uri: str, root: Path) -> str:
    """The address of a SQLite file with an absolute path; any other unchanged."""
    scheme, _, path = uri.partition(":///")
    is_file = scheme.partition("+")[0] == "sqlite" and path and not path.startswith(":memory:")
    return f"{scheme}:///{root / path}" if is_file else uri
