"""The worker that `run_stage` starts: runs one stage of one run in a workspace of its own."""

import logging
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated

from diffrec_core.common.artifacts import write_bytes
from pipeline_steps.nights.operations import INTERACTIONS, Operation, operations
from pipeline_steps.nights.runs import PREVIOUS_IDS, Run
from pipeline_steps.nights.settings import Settings, settings
from pipeline_steps.nights.workers import BackgroundJob
from pipeline_steps.nights.workspace import Entries, Workspace
from pipeline_steps.runtime.command import POSITIONAL, Inputs, execute
from pipeline_steps.shared import DONE, SKIPPED, Variable

log = logging.getLogger("pipeline")
_CHECKSUMS = ".checkpoints/raw_checksums.json"


class StageWorkerInputs(Inputs):
    """The stage, its run and the job's folder."""

    stage: Annotated[str, POSITIONAL]
    """A stage of dvc.yaml, or an operation."""

    run: str
    """The run."""

    folder: Path
    """Folder of the job."""


def run(inputs: StageWorkerInputs) -> None:
    """Run the stage as a background job; does nothing if another worker holds its lock."""
    config = settings()
    run = Run.load(config.store, inputs.run)
    job = BackgroundJob(inputs.folder, run.digest)
    job.do(lambda: _run(inputs.stage, run, config, inputs.folder))


def _run(stage: str, run: Run, config: Settings, folder: Path) -> int:
    """Run it in a workspace, which is removed after success."""
    os.environ |= {**config.environment(), Variable.RUN: run.spec.run}
    workspace = Workspace(folder / "repo", config.repository, config.dvc_remote, config.cache)
    workspace.prepare(run.spec.commit, run.params)
    os.chdir(workspace.root)
    if operation := operations(run.spec).get(stage):
        code = _run_operation(operation, run, workspace, config)
    else:
        code = _run_stage(stage, run, workspace, config)
    if code in DONE:
        os.chdir(folder)
        shutil.rmtree(workspace.root, ignore_errors=True)
    return code


def _run_stage(stage: str, run: Run, workspace: Workspace, config: Settings) -> int:
    """Fetch the stage's inputs, let DVC run it, upload its outputs.

    Where the run has no entry of the stage, that of the previous run is used: if none of the
    stage's inputs has changed since, there is nothing to do.
    """
    previous = Run.load(run.store, run.spec.previous) if run.spec.previous else None
    before, entries = previous.entries() if previous else {}, run.entries()
    last = entries.get(stage) or before.get(stage)
    known = {stage: last} if last else {}
    facts = workspace.facts(stage)
    if stage == "list_raw":
        _before_listing(workspace, before, config)
    persisted = facts.persisted if known else []
    workspace.fetch([*facts.inputs, *persisted], {**entries, **known})
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
    """Give `list_raw` the ids of the previous run, and checksums of files hashed already."""
    _copy_if_there(config.workspaces.parent / "checksums.json", workspace.root / _CHECKSUMS)
    if before:
        workspace.fetch([INTERACTIONS], before)
        shutil.rmtree(workspace.root / PREVIOUS_IDS, ignore_errors=True)
        (workspace.root / INTERACTIONS).rename(workspace.root / PREVIOUS_IDS)


def _copy_if_there(source: Path, target: Path) -> None:
    if source.is_file():
        write_bytes(target, source.read_bytes())


def _run_operation(operation: Operation, run: Run, workspace: Workspace, config: Settings) -> int:
    """Fetch the operation's inputs, run its command, store and publish the files it writes."""
    if run.spec.dry_run and operation.changes_world:
        log.info("dry run: nothing is changed")
        return SKIPPED
    workspace.fetch(operation.reads, run.entries())
    for path in operation.reads_stored:
        write_bytes(workspace.root / path, run.file(path))
    before = _stamps(workspace.root, operation.stores)
    command = [sys.executable, "-m", "pipeline_steps", *operation.command]
    code = subprocess.run(command, check=False).returncode
    after = _stamps(workspace.root, operation.stores)
    written = after.items() - before.items()
    files = {path: (workspace.root / path).read_bytes() for path, *_ in sorted(written)}
    run.store_files(files)
    if code in operation.publishes_after and not run.spec.dry_run:
        config.published.write_all(_published(operation, files))
    return code if code >= 0 else 128 - code


def _stamps(root: Path, paths: Iterable[str]) -> dict[str, tuple[int, int]]:
    """Inode and time of the files at or below some paths: one of them changes with each write."""
    tops = [root / path for path in paths]
    files = [file for top in tops for file in (top, *top.rglob("*")) if file.is_file()]
    stats = {file.relative_to(root).as_posix(): file.stat() for file in files}
    return {path: (stat.st_ino, stat.st_mtime_ns) for path, stat in stats.items()}


def _published(operation: Operation, written: Mapping[str, bytes]) -> dict[str, bytes]:
    """The files to publish, by name; none if the command has not written all of them."""
    published: dict[str, bytes] = {}
    for source, target in operation.publishes:
        names = [path for path in written if path == source or path.startswith(f"{source}/")]
        if not names:
            return {}
        published |= {f"{target}{name.removeprefix(source)}": written[name] for name in names}
    return published


if __name__ == "__main__":
    execute(run)
