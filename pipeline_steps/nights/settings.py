"""Where a worker finds what it needs: the environment's answers, with defaults on this machine.

| Variable | What | Default |
|---|---|---|
| DIFFREC_REPOSITORY | git repository that workspaces are cloned from | the project's folder |
| DIFFREC_REMOTE | what workers share: DVC's remote and the runs | .nightly/remote |
| DIFFREC_WORKSPACES | where this machine's workspaces lie | .nightly/workspaces |
| DIFFREC_CACHE | DVC's cache on this machine, shared by its workspaces | .nightly/cache |
| DIFFREC_PUBLISH | where recommendations, report and status appear | published |
| MLFLOW_TRACKING_URI | the registry | mlflow.db in the project's folder |

A relative path of SQLite is one of the project's folder: in a workspace it would be lost with that.
"""

import os
from dataclasses import dataclass
from pathlib import Path

from pipeline_steps.nights.store import Store
from pipeline_steps.runtime.command import repository_root

_DEFAULT_REGISTRY = "sqlite:///mlflow.db"


@dataclass(frozen=True, slots=True)
class Settings:
    """The answers; paths are absolute.

    Attributes:
        repository: what workspaces are cloned from: a folder or a URL.
        remote: folder or URL of what workers share.
        workspaces: folder of this machine's workspaces.
        cache: folder of DVC's cache.
        publish: folder or URL where results appear.
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
        """The same answers as variables, for the processes that a worker starts."""
        return {
            "DIFFREC_REPOSITORY": self.repository,
            "DIFFREC_REMOTE": self.remote,
            "DIFFREC_WORKSPACES": str(self.workspaces),
            "DIFFREC_CACHE": str(self.cache),
            "DIFFREC_PUBLISH": self.publish,
            "MLFLOW_TRACKING_URI": self.tracking_uri,
        }

    @property
    def dvc_remote(self) -> str:
        """URL of DVC's remote."""
        return f"{self.remote}/dvc"

    @property
    def published(self) -> Store:
        """Where results appear."""
        return Store(self.publish)


def settings(project: Path | None = None) -> Settings:
    """Read the environment.

    Args:
        project: the folder that defaults lie in; None: the one that holds this code.
    """
    root = (project or repository_root()).absolute()

    def setting(name: str, default: Path) -> str:
        value = os.environ.get(name) or str(default)
        return value if "://" in value else str(Path(value).absolute())

    state = root / ".nightly"
    return Settings(
        repository=setting("DIFFREC_REPOSITORY", root),
        remote=setting("DIFFREC_REMOTE", state / "remote"),
        workspaces=Path(setting("DIFFREC_WORKSPACES", state / "workspaces")),
        cache=Path(setting("DIFFREC_CACHE", state / "cache")),
        publish=setting("DIFFREC_PUBLISH", root / "published"),
        tracking_uri=_absolute(os.environ.get("MLFLOW_TRACKING_URI") or _DEFAULT_REGISTRY, root),
    )


def _absolute(uri: str, root: Path) -> str:
    """The address of a database in a file with the whole path; any other as it is.

    >>> _absolute("sqlite:///other.db?timeout=9", Path("/project"))
    'sqlite:////project/other.db?timeout=9'
    >>> _absolute("sqlite:////var/mlflow.db", Path("/project"))
    'sqlite:////var/mlflow.db'
    """
    scheme, _, path = uri.partition(":///")
    is_file = scheme.partition("+")[0] == "sqlite" and path and not path.startswith(":memory:")
    return f"{scheme}:///{root / path}" if is_file else uri
