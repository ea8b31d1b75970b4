"""Run one stage of one run, in a workspace of its own, wherever this machine is.

  python -m pipeline_steps run-stage train@ease --run 2026-11-24

STAGE is a stage of dvc.yaml or an operation: gate, promote, recommend (the champion's table, not
this run's winner's), publish, monitor. The run was specified by `start_run`. Only the stage's
inputs are brought here; what it makes goes to the remote, and its entry of dvc.lock to the run. A
stage that is finished and whose inputs are the same ends at once.

The work is done by a process in a session of its own, and this command shows what it says. If the
command is killed, the work goes on, and the same command, run again, finds it and shows its log;
if the run was specified anew since, it ends that work and begins anew. If the work is killed, the
same command goes on from the last checkpoint. SIGTERM and Ctrl-C end both.

Environment: DIFFREC_REPOSITORY, DIFFREC_REMOTE, DIFFREC_WORKSPACES, DIFFREC_CACHE, DIFFREC_PUBLISH,
MLFLOW_TRACKING_URI (docs/operations.md). Exit codes: those of the stage; 99 where there was nothing
to do, as in a dry run; 143 after SIGTERM.
"""

import logging
import re
import sys
from pathlib import Path
from typing import Annotated

from diffrec_core.common.errors import StorageError
from pipeline_steps.nights.runs import End, Run, leave_end, run_name
from pipeline_steps.nights.settings import settings
from pipeline_steps.nights.workers import BackgroundJob, LostWorkError
from pipeline_steps.runtime.command import POSITIONAL, Inputs, repository_root
from pipeline_steps.shared import DONE

log = logging.getLogger("pipeline")
_TAIL_LINES = 30
_ERROR = re.compile(r"^\d\d:\d\d:\d\d ERROR +|^(?=Traceback )")


class RunStageInputs(Inputs):
    """The stage and its run."""

    stage: Annotated[str, POSITIONAL]
    """A stage of dvc.yaml, or an operation."""

    run: str
    """Name of the run, as given to start-run."""


def run(inputs: RunStageInputs) -> None:
    """Start the work, or join the one that goes on; end with the stage's exit code.

    Raises:
        ArtifactError: the run was not started.
        LostWorkError: the worker was killed.
    """
    name, config = run_name(inputs.run), settings()
    folder = config.workspaces / name / inputs.stage
    module = "pipeline_steps.nights.stage_worker"
    worker = [sys.executable, "-m", module, inputs.stage, "--run", name]
    job = BackgroundJob(folder, Run.load(config.store, name).digest)
    try:
        code = job.show([*worker, "--folder", str(folder)], cwd=repository_root())
    except LostWorkError as error:
        _note(name, inputs.stage, End(error.exit_code, str(error)))
        raise
    _note(name, inputs.stage, End(code, "" if code in DONE else last_words(folder / "stage.log")))
    if code not in DONE:
        log.error("%s of run %s ended with exit code %d", inputs.stage, name, code)
    sys.exit(code)


def _note(run: str, stage: str, end: End) -> None:
    try:
        leave_end(settings().store, run, stage, end)
    except StorageError as error:  # how the stage ended matters more
        log.warning("how %s ended could not be noted: %s", stage, error)


def last_words(path: Path) -> str:
    """The last lines of a log, from the first error among them on."""
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()[-_TAIL_LINES:]
    first = next((number for number, line in enumerate(lines) if _ERROR.match(line)), 0)
    return "\n".join(_ERROR.sub("", line) for line in lines[first:])
