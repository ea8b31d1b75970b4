"""Run one stage of one run in a workspace of its own, on any machine.

  python -m pipeline_steps run-stage train@ease --run 2026-11-24

STAGE is a stage of dvc.yaml or an operation: gate, promote, recommend (the champion's table, not
that of this run's winner), publish, monitor. The run was specified by `start-run`. Only the stage's
inputs are fetched; its outputs go to the remote, and its entry of dvc.lock to the run. A stage that
is finished and whose inputs are the same ends at once.

The stage runs as a background job, a process in a session of its own, and this command shows its
log. If the command is killed, the job continues, and the same command, run again, attaches to it;
if the run was specified again since, it ends the job and starts a new one. If the job is killed,
the same command resumes from the last checkpoint. SIGTERM and Ctrl-C end both.

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
    """Start the job or attach to the running one; exit with the stage's exit code.

    Raises:
        ArtifactError: the run was not specified.
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
        log.warning("the end of %s could not be stored: %s", stage, error)


def last_words(path: Path) -> str:
    """The last 30 lines of a log, from the first error among them on."""
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()[-_TAIL_LINES:]
    first = next((number for number, line in enumerate(lines) if _ERROR.match(line)), 0)
    return "\n".join(_ERROR.sub("", line) for line in lines[first:])
