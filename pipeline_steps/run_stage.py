"""Run one stage of one run, in a workspace of its own, wherever this machine is.

  python -m pipeline_steps.run_stage train@ease --run 2026-11-24

STAGE is a stage of dvc.yaml or an operation: gate, promote, recommend_champion, publish, monitor.
The run was specified by `start_run`. Only the stage's inputs are brought here; what it makes goes
to the remote, and its entry of dvc.lock to the run. A stage that is finished and whose inputs are
the same ends at once.

The work is done by a process in a session of its own, and this command shows what it says. If the
command is killed, the work goes on, and the same command, run again, finds it and shows its log.
If the work is killed, the same command goes on from the last checkpoint. SIGTERM and Ctrl-C end
both.

Environment: DIFFREC_REPOSITORY, DIFFREC_REMOTE, DIFFREC_WORKSPACES, DIFFREC_CACHE, DIFFREC_PUBLISH,
MLFLOW_TRACKING_URI (docs/operations.md). Exit codes: those of the stage; 143 after SIGTERM.
"""

import argparse
import logging
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

from diffrec_core.artifacts import write_bytes
from pipeline_steps._operations import Operation, operations
from pipeline_steps._runs import Run, run_name
from pipeline_steps._runtime import command_line, repository_root
from pipeline_steps._settings import Settings, settings
from pipeline_steps._workers import Work
from pipeline_steps._workspace import Entries, Workspace

log = logging.getLogger("pipeline")
_CHECKSUMS = ".checkpoints/raw_checksums.json"
_PREVIOUS = Path(".previous")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the stage and its run."""
    parser.add_argument("stage", metavar="STAGE", help="a stage of dvc.yaml, or an operation")
    parser.add_argument("--run", required=True, metavar="RUN", help="as start_run was told")
    parser.add_argument("--in-worker", action="store_true", help=argparse.SUPPRESS)


def main(args: argparse.Namespace) -> None:
    """Start the work, or join the one that goes on; or, in the worker, do it.

    Ends with the stage's exit code.

    Raises:
        LostWorkError: the worker was killed.
    """
    found, name = settings(), run_name(args.run)
    folder = found.workspaces / name / args.stage
    work = Work(folder)
    if args.in_worker:
        work.do(lambda: _run(args.stage, Run.load(found.store, args.run), found, folder))
        return
    module = ("-m", "pipeline_steps.run_stage", args.stage, "--run", name, "--in-worker")
    code = work.show([sys.executable, *module], cwd=repository_root())
    if code != 0:
        log.error("%s of run %s ended with exit code %d", args.stage, name, code)
        sys.exit(code)
    shutil.rmtree(folder, ignore_errors=True)


def _run(stage: str, run: Run, found: Settings, folder: Path) -> int:
    """Do the work in a workspace; remove that when it was done."""
    logging.getLogger("dvc").setLevel(logging.INFO)
    os.environ |= found.environment()
    os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    workspace = Workspace(folder / "repo", found.repository, found.dvc_remote, found.cache)
    workspace.prepare(run.spec.commit, run.params)
    os.chdir(workspace.root)
    operation = operations(run.spec).get(stage)
    if operation is None:
        code = _run_stage(stage, run, workspace, found)
    else:
        code = _run_operation(operation, run, workspace, found)
    if code == 0:
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
    if known:
        workspace.bring(workspace.kept_outs(stage), known)
    if stage == "list_raw":
        _before_listing(workspace, before, found)
    workspace.bring(workspace.inputs(stage), entries)
    lock = entries if workspace.meta(stage).get("reads_lock") else {}
    code = workspace.reproduce(stage, {**lock, **known})
    if code != 0:
        return code
    entry = workspace.entry(stage)
    if entry != last:
        workspace.push(stage)
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
        return 0
    workspace.bring(operation.reads, run.entries())
    for path, content in run.files().items():
        write_bytes(workspace.root / path, content)
    module, *arguments = operation.command
    command = [sys.executable, "-m", f"pipeline_steps.{module}", *arguments]
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
    command_line(main, add_arguments, __doc__)
