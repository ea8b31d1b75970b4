"""The stages of dvc.yaml and their order, as DVC has stored them for the DAGs.

Reading them takes milliseconds. Where dvc.yaml or params.yaml has changed since, the verb
`write-graph` stores them anew, in the pipeline's environment.
"""

import fcntl
import subprocess
import time
from collections.abc import Mapping
from typing import IO

from _project import PROJECT, command, environment, shared

_PATH = PROJECT / shared.GRAPH_FILE
_PATIENCE_SECONDS = 20.0
"""Wait this long for `write-graph`; Airflow stops an import after 30 s (dagbag_import_timeout)."""
_POLL_SECONDS = 0.1


class StageGraphError(Exception):
    """The stages of dvc.yaml are not available; Airflow shows it as the DAG's import error.

    Args:
        reason: what is wrong.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(
            f"the stages of dvc.yaml cannot be read: {reason}\n"
            f"Airflow parses the DAGs again by itself. To check a correction before that, "
            f"run in {PROJECT}: .venv/bin/python -m pipeline_steps write-graph"
        )


def project_stages(up_to: str | None = None) -> dict[str, shared.Stage]:
    """The stages by name, in the order of dvc.yaml.

    Args:
        up_to: only this stage and those that it needs; None: all.

    Raises:
        StageGraphError: dvc.yaml or params.yaml is wrong, or there is no stage `up_to`.
    """
    try:
        stages = shared.read_graph(_PATH, PROJECT) or _written_graph()
    except OSError as error:
        raise StageGraphError(str(error)) from error
    return stages if up_to is None else needed_for(stages, up_to)


def needed_for(stages: Mapping[str, shared.Stage], name: str) -> dict[str, shared.Stage]:
    """A stage and all that it needs, directly or not, in their order.

    Raises:
        StageGraphError: there is no such stage.
    """
    if name not in stages:
        raise StageGraphError(f"there is no stage {name}; known: {', '.join(stages)}")
    needed = [name]
    for each in needed:  # grows as it is read
        needed += [up for up in stages[each].upstream if up not in needed]
    return {each: stage for each, stage in stages.items() if each in needed}


def _written_graph() -> dict[str, shared.Stage]:
    """Have the stages stored, by one process at a time; the others use the result.

    The lock belongs to the command, which this does not end: on a machine that is so busy that it
    takes longer, the next import of the DAG finds the result.
    """
    deadline = time.monotonic() + _PATIENCE_SECONDS
    _PATH.parent.mkdir(parents=True, exist_ok=True)
    with _PATH.with_suffix(".lock").open("w") as lock:
        _take(lock, deadline)
        if shared.read_graph(_PATH, PROJECT) is None:
            _write_graph(lock, deadline)
    stages = shared.read_graph(_PATH, PROJECT)
    if stages is None:
        raise StageGraphError("dvc.yaml or params.yaml was changed just now")
    return stages


def _take(lock: IO[str], deadline: float) -> None:
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            if time.monotonic() > deadline:
                raise StageGraphError("write-graph is still running") from error
            time.sleep(_POLL_SECONDS)
        else:
            return


def _write_graph(lock: IO[str], deadline: float) -> None:
    log = _PATH.with_suffix(".log")
    with log.open("wb") as output:
        process = subprocess.Popen(
            command("write-graph", "--quiet"), cwd=PROJECT, env=environment(),
            stdin=subprocess.DEVNULL, stdout=output, stderr=output,
            pass_fds=[lock.fileno()], start_new_session=True,
        )  # fmt: skip
    try:
        code = process.wait(max(deadline - time.monotonic(), 0))
    except subprocess.TimeoutExpired as error:
        raise StageGraphError(f"write-graph is still running, as process {process.pid}") from error
    if code != 0:
        raise StageGraphError(log.read_text(encoding="utf-8", errors="replace").strip())
