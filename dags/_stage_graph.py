"""The stages of dvc.yaml and their order, as DVC has stored them for the DAGs.

Reading them takes milliseconds. Where dvc.yaml or params.yaml has changed since, the verb
`write-graph` stores them anew, in the pipeline's environment.
"""

import fcntl
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from _project import PROJECT, command, environment, shared

_PATH = PROJECT / shared.GRAPH_FILE
_TIMEOUT_SECONDS = 25.0
"""For `write-graph`; Airflow gives up importing a DAG after 30 s (core.dagbag_import_timeout)."""
_POLL_SECONDS = 0.1


class StageGraphError(Exception):
    """The stages of dvc.yaml are not available; Airflow shows it as the DAG's import error.

    Args:
        reason: what is wrong.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(
            f"the stages of dvc.yaml cannot be read: {reason}\n"
            f"Correct that; Airflow parses the DAGs again by itself. To check it before that, "
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
    except (OSError, subprocess.SubprocessError) as error:
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
    """Have the stages stored; one process at a time, the others take what it has stored."""
    deadline = time.monotonic() + _TIMEOUT_SECONDS
    _PATH.parent.mkdir(parents=True, exist_ok=True)
    with _locked(_PATH.with_suffix(".lock"), deadline):
        stages = shared.read_graph(_PATH, PROJECT)
        if stages is None:
            _write_graph(deadline - time.monotonic())
            stages = shared.read_graph(_PATH, PROJECT)
    if stages is None:
        raise StageGraphError("dvc.yaml or params.yaml was changed just now")
    return stages


@contextmanager
def _locked(path: Path, deadline: float) -> Iterator[None]:
    with path.open("w") as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError as error:
                if time.monotonic() > deadline:
                    raise TimeoutError("another process is storing them") from error
                time.sleep(_POLL_SECONDS)
        yield


def _write_graph(timeout: float) -> None:
    result = subprocess.run(
        command("write-graph", "--quiet"), cwd=PROJECT, env=environment(), timeout=timeout,
        stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if result.returncode != 0:
        raise StageGraphError(result.stderr.strip())
