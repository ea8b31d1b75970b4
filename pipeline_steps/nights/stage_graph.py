"""Write the stages of dvc.yaml and their order as JSON, for the DAGs to read.

  python -m pipeline_steps write-graph

DVC takes a second to resolve dvc.yaml with params.yaml, so the result is stored, with digests of
the two files, in .nightly/stage_graph.json. The DAGs call this themselves if that is missing or
outdated: Airflow's environment has no DVC. Workspaces store graphs of their own.

Exit codes: 0 up to date; 2 dvc.yaml or params.yaml is missing or wrong; 5 cannot write.
"""

import logging
import os
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal

from dvc.exceptions import DvcException
from dvc.repo import Repo
from dvc.repo.index import Index
from pydantic import Field

from diffrec_core.common.artifacts import write_json
from diffrec_core.common.config import Config
from diffrec_core.common.errors import ConfigError
from pipeline_steps.runtime.command import Inputs, repository_root
from pipeline_steps.shared import GRAPH_FILE, GRAPH_SCHEMA, Stage, graph_sources, read_graph

log = logging.getLogger("pipeline")


def run(inputs: Inputs) -> None:  # the frame's signature
    """Bring the project's stored graph up to date."""
    project = repository_root()
    stages = load_graph(project, project / GRAPH_FILE)
    log.info("%s is up to date: %d stages", GRAPH_FILE, len(stages))


class StageMeta(Config):
    """`meta` of a stage; `shared.Stage` says what the keys mean."""

    resources: Literal["cpu", "gpu"] = "cpu"
    queue: str | None = None
    timeout_minutes: Annotated[int, Field(ge=1)] | None = None
    retries: Annotated[int, Field(ge=0)] | None = None
    reads_lock: bool = False


def load_graph(project: Path, path: Path) -> dict[str, Stage]:
    """The stages by name, in the order of dvc.yaml; asks DVC only if the stored ones are outdated.

    Args:
        project: the folder of dvc.yaml, params.yaml and `.dvc`.
        path: where they are stored; written atomically.

    Raises:
        ConfigError: dvc.yaml or params.yaml is missing, wrong, or changes at this moment.
        StorageError: `path` cannot be written.
    """
    try:
        stages = read_graph(path, project)
        sources = graph_sources(project)
        if stages is None:
            stages = {stage.name: stage for stage in stages_from_dvc(project)}
            if graph_sources(project) != sources:
                raise ConfigError("dvc.yaml or params.yaml was changed just now: try again")
            listed = [asdict(stage) for stage in stages.values()]
            write_json(path, {"schema": GRAPH_SCHEMA, "sources": sources, "stages": listed})
    except FileNotFoundError as error:
        raise ConfigError(f"{error.filename} is missing: is this the project's folder?") from error
    return stages


def stages_from_dvc(project: Path) -> list[Stage]:
    """Ask DVC for the stages of the project's dvc.yaml; of no other dvc.yaml below it.

    Raises:
        ConfigError: DVC cannot resolve them, or a stage's `meta` has a key or value not allowed.
    """
    try:
        with Repo(str(project)) as repo:
            index = Index.from_file(repo, str(project / "dvc.yaml"))
            root, graph = repo.root_dir, index.graph
            return [_stage(stage, list(graph.successors(stage)), root) for stage in index.stages]
    except DvcException as error:
        details = f": {error.__cause__}" if error.__cause__ else ""
        raise ConfigError(f"dvc.yaml or params.yaml: {error}{details}") from error


def _stage(stage: Any, upstream: list[Any], root: str) -> Stage:
    """A stage of DVC's, with the stages whose outputs it reads, as plain values."""
    deps = [_relative(dep, root) for dep in stage.deps]
    outs = [_relative(out, root) for other in upstream for out in other.outs]
    commands = [stage.cmd] if isinstance(stage.cmd, str) else stage.cmd
    meta = StageMeta.parse(stage.meta or {}, f"stages.{stage.name}.meta", file="dvc.yaml")
    return Stage(
        name=stage.name,
        desc=stage.desc or "",
        command="\n".join(commands),
        upstream=sorted(other.name for other in upstream),
        inputs=sorted(out for out in outs if _is_read(out, deps)),
        persisted=[_relative(out, root) for out in stage.outs if out.persist],
        **meta.model_dump(),
    )


def _relative(item: Any, root: str) -> str:
    """Path of a dependency or output, relative to the project."""
    return PurePosixPath(os.path.relpath(item.fs_path, root)).as_posix()


def _is_read(out: str, deps: Iterable[str]) -> bool:
    """A dependency is an output, a path inside one, or a folder around some."""
    path = PurePosixPath(out)
    return any(path.is_relative_to(dep) or PurePosixPath(dep).is_relative_to(path) for dep in deps)
