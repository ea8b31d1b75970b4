"""The worker that `run_stage` starts: does one stage of one run, in a workspace of its own."""

import logging
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated

from diffrec_core.common.artifacts import sha256_file, write_bytes
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
"""Where `list_raw` finds the ids of the run before: `start_run.PREVIOUS_IDS`."""


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
    config = settings()
    run = Run.load(config.store, inputs.run)
    job = BackgroundJob(inputs.folder, run.digest)
    job.do(lambda: _run(inputs.stage, run, config, inputs.folder))


def _run(stage: str, run: Run, config: Settings, folder: Path) -> int:
    """Do the work in a workspace; remove that when it was done."""
    os.environ |= {**config.environment(), Variable.RUN: run.spec.run}
    os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    workspace = Workspace(folder / "repo", config.repository, config.dvc_remote, config.cache)
    workspace.prepare(run.spec.commit, run.params)
    os.chdir(workspace.root)
    operation = operations(run.spec).get(stage)
    if operation is None:
        code = _run_stage(stage, run, workspace, config)
    else:
        code = _run_operation(operation, run, workspace, config)
    if code in DONE:
        os.chdir(folder)
        workspace.remove()
    return code


def _run_stage(stage: str, run: Run, workspace: Workspace, config: Settings) -> int:
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
        _before_listing(workspace, before, config)
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
        _copy_if_there(workspace.root / _CHECKSUMS, config.workspaces.parent / "checksums.json")
    return 0


def _before_listing(workspace: Workspace, before: Entries, config: Settings) -> None:
    """Give `list_raw` the ids of the run before, and checksums of files hashed already."""
    _copy_if_there(config.workspaces.parent / "checksums.json", workspace.root / _CHECKSUMS)
    if before:
        interactions = workspace.root / "data" / "interactions"
        workspace.bring(["data/interactions"], before)
        shutil.rmtree(workspace.root / _PREVIOUS, ignore_errors=True)
        interactions.rename(workspace.root / _PREVIOUS)


def _copy_if_there(source: Path, target: Path) -> None:
    if source.is_file():
        write_bytes(target, source.read_bytes())


def _run_operation(operation: Operation, run: Run, workspace: Workspace, config: Settings) -> int:
    """Bring what the operation reads, run its command, store and publish what that wrote."""
    if run.spec.dry_run and operation.changes_world:
        log.info("dry run: nothing is changed")
        return SKIPPED
    workspace.bring(operation.reads, run.entries())
    for path in operation.reads_stored:
        write_bytes(workspace.root / path, run.file(path))
    paths = [*operation.stores, *(source for source, _ in operation.publishes)]
    before = _stamps(workspace.root, paths)
    command = [sys.executable, "-m", "pipeline_steps", *operation.command]
    code = subprocess.run(command, check=False).returncode
    after = _stamps(workspace.root, paths)
    written = [path for path, stamp in after.items() if before.get(path) != stamp]
    files = {path: (workspace.root / path).read_bytes() for path in written}
    run.store_files(files)
    if code in operation.publishes_after and not run.spec.dry_run:
        config.published.write_all(_published(operation, files))
    return code if code >= 0 else 128 - code


def _stamps(root: Path, paths: Iterable[str]) -> dict[str, tuple[int, int, str]]:
    """The files at or below some paths, relative to `root`, with what changes if one is written."""
    tops = [root / path for path in paths]
    files = [file for top in tops for file in (top, *sorted(top.rglob("*"))) if file.is_file()]
    return {
        file.relative_to(root).as_posix(): (
            file.stat().st_ino,
            file.stat().st_mtime_ns,
            sha256_file(file),
        )
        for file in files
    }


def _published(operation: Operation, written: Mapping[str, bytes]) -> dict[str, bytes]:
    """Files to publish of those that the command wrote, by name; none if one is missing."""
    published: dict[str, bytes] = {}
    for source, target in operation.publishes:
        names = [path for path in written if path == source or path.startswith(f"{source}/")]
        if not names:
            return {}
        published |= {f"{target}{name.removeprefix(source)}": written[name] for name in names}
    return published


if __name__ == "__main__":
    execute(run)
