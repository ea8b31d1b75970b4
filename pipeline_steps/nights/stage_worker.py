"""The worker that `run_stage` starts: does one stage of one run, in a workspace of its own."""

import logging
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

from diffrec_core.common.artifacts import write_bytes
from pipeline_steps.nights.operations import Operation, operations
from pipeline_steps.nights.runs import Run
from pipeline_steps.nights.settings import Settings, settings
from pipeline_steps.nights.workers import BackgroundJob
from pipeline_steps.nights.workspace import Entries, Workspace
from pipeline_steps.runtime.command import POSITIONAL, Inputs, execute
from pipeline_steps.shared import DONE, SKIPPED, Variable

log = logging.getLogger("pipeline")
_CHECKSUMS = ".checkpoints/raw_checksums.json"
_PREVIOUS = Path(".previous")
"""Where `list_raw` finds the ids of the run before, as `start_run` tells it."""


class StageWorkerInputs(Inputs):
    """The stage, its run and the folder of the work."""

    stage: Annotated[str, POSITIONAL]
    """A stage of dvc.yaml, or an operation."""

    run: str
    """The run."""

    folder: Path
    """Folder of the work."""


def run(inputs: StageWorkerInputs) -> None:
    """Do the work, unless another worker is at it."""
    found = settings()
    run = Run.load(found.store, inputs.run)
    job = BackgroundJob(inputs.folder, run.digest)
    job.do(lambda: _run(inputs.stage, run, found, inputs.folder))


def _run(stage: str, run: Run, found: Settings, folder: Path) -> int:
    """Do the work in a workspace; remove that when it was done."""
    os.environ |= {**found.environment(), Variable.RUN: run.spec.run}
    os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    workspace = Workspace(folder / "repo", found.repository, found.dvc_remote, found.cache)
    workspace.prepare(run.spec.commit, run.params)
    os.chdir(workspace.root)
    operation = operations(run.spec).get(stage)
    if operation is None:
        code = _run_stage(stage, run, workspace, found)
    else:
        code = _run_operation(operation, run, workspace, found)
    if code in DONE:
        os.chdir(folder)
        workspace.remove()
    return code


def _run_stage(stage: str, run: Run, workspace: Workspace, found: Settings) -> int:
    """Bring what the stage reads, let DVC run it, send what it made.

    Where the run has no entry of the stage, the one of the run before is taken: if nothing that
    the stage reads has changed since, there is nothing to do.
    """
    previous = Run.load(run.store, run.spec.previous) if run.spec.previous else None
    before, entries = previous.entries() if previous else {}, run.entries()
    last = entries.get(stage) or before.get(stage)
    known = {stage: last} if last else {}
    facts = workspace.facts(stage)
    if stage == "list_raw":
        _before_listing(workspace, before, found)
    persisted = facts.persisted if known else []
    workspace.bring([*facts.inputs, *persisted], {**entries, **known})
    lock = workspace.current(entries) if facts.reads_lock else {}
    code = workspace.reproduce(stage, {**lock, **known})
    if code != 0:
        return code
    entry = workspace.entry(stage)
    if entry == last:
        log.info("%s: nothing that it reads has changed", stage)
    else:
        workspace.push(stage)
        log.info("%s: done, its outputs are in the remote", stage)
    run.leave_entry(stage, entry)
    if stage == "list_raw":
        _copy_if_there(workspace.root / _CHECKSUMS, found.workspaces.parent / "checksums.json")
    return 0


def _before_listing(workspace: Workspace, before: Entries, found: Settings) -> None:
    """`list_raw` looks at the world: what the last run knew, and what was hashed already."""
    _copy_if_there(found.workspaces.parent / "checksums.json", workspace.root / _CHECKSUMS)
    if before:
        interactions = workspace.root / "data" / "interactions"
        workspace.bring(["data/interactions"], before)
        shutil.rmtree(workspace.root / _PREVIOUS, ignore_errors=True)
        interactions.rename(workspace.root / _PREVIOUS)


def _copy_if_there(source: Path, target: Path) -> None:
    if source.is_file():
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)


def _run_operation(operation: Operation, run: Run, workspace: Workspace, found: Settings) -> int:
    """Bring what the operation reads, run its command, keep what it makes."""
    if run.spec.dry_run and operation.changes_world:
        log.info("dry run: nothing is changed")
        return SKIPPED
    workspace.bring(operation.reads, run.entries())
    for path in operation.reads_kept:
        write_bytes(workspace.root / path, run.file(path))
    command = [sys.executable, "-m", "pipeline_steps", *operation.command]
    code = subprocess.run(command, check=False).returncode
    for path in _files(workspace.root, operation.keeps):
        run.keep_file(path, (workspace.root / path).read_bytes())
    if not run.spec.dry_run:
        for source, target in operation.publishes:
            for path in _files(workspace.root, [source]):
                name = f"{target}{path.removeprefix(source)}"
                found.published.write(name, (workspace.root / path).read_bytes())
    return code if code >= 0 else 128 - code


def _files(root: Path, paths: Iterable[str]) -> list[str]:
    """The files that are there at or below some paths, relative to `root`."""
    places = [root / path for path in paths]
    found = [file for place in places for file in (place, *place.rglob("*")) if file.is_file()]
    return [file.relative_to(root).as_posix() for file in found]


if __name__ == "__main__":
    execute(run)
