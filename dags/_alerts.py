"""Alerts for tasks that have failed after their last retry: a note to act on, and a webhook.

The note goes to DIFFREC_ALERTS, by default `.nightly/alerts` in the project's folder, and to the
task's log; DIFFREC_ALERT_WEBHOOK, if set, receives it as JSON, `{"text": …}`, the form that chat
services expect. An alert that fails is logged and does not fail anything else.
"""

import json
import logging
import os
import shlex
import time
from collections.abc import Mapping, Sequence
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

from _project import PROJECT, shared

log = logging.getLogger(__name__)
_TAIL_LINES = 30
_RUN = "{{ run_id }}"
_FLUSH_SECONDS = 3.0
_LAST_LINE = "Command exited with return code"
"""Start of what Airflow logs at the end of a command."""
_TIMEOUT_SECONDS = 10


_NOTE = """# {dag}: {stage} failed

Run `{run}`, task `{task}`, after {tries}.

**Why**: {reason}

Last lines of its log:

```
{tail}
```

**To continue**, fix the cause and clear the task in Airflow, with its downstream tasks: finished
stages are not run again, a training resumes from its checkpoint. If a raw log was corrected, clear
`list_raw`: it lists the files again.{in_a_shell}

Until `promote` and `publish` of this run succeed, the champion and the published recommendations
stay as they are. More: docs/runbook.md#exit-codes.
"""


def alert_on_failure(context: Mapping[str, Any]) -> None:
    """Write and send the note of a failed task; Airflow's `on_failure_callback`."""
    ti, task = context["ti"], context.get("task")
    run = shared.safe_name(ti.run_id)
    stage = str(getattr(task, "stage", ti.task_id))
    arguments = getattr(task, "arguments", ())
    command = shell_command([run if text in (ti.run_id, _RUN) else text for text in arguments])
    note = _NOTE.format(
        dag=ti.dag_id, stage=stage, run=run, task=ti.task_id,
        tries=f"{ti.try_number} {'try' if ti.try_number == 1 else 'tries'}",
        reason=context.get("exception") or "the task's process was lost",
        tail=log_tail(run, stage) or airflow_log_tail(ti)
        or "(no log on this machine: see the task's log in Airflow)",
        in_a_shell=f" In a shell, in {PROJECT}:\n\n    {command}" if command else "",
    )  # fmt: skip
    log.error("%s", note)
    path = _folder(shared.Variable.ALERTS) / f"{run}--{shared.safe_name(stage)}.md"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(note, encoding="utf-8")
    except OSError as error:  # the disk may be full, and the alert about that
        log.error("the note could not be written: %s", error)
    send(note, {"dag": ti.dag_id, "task": ti.task_id, "stage": stage, "run": run})


def log_tail(run: str, stage: str) -> str:
    """The last lines of the stage's log; empty if it ran on another machine."""
    path = _folder(shared.Variable.WORKSPACES) / run / stage / "stage.log"
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    return "\n".join(lines[-_TAIL_LINES:])


def airflow_log_tail(ti: Any) -> str:
    """The last lines of the task's log, where Airflow writes it by default.

    Waits a little for the end of the command's output, which Airflow writes with a delay.
    """
    home = Path(os.environ.get("AIRFLOW_HOME") or Path.home() / "airflow")
    folder = Path(os.environ.get("AIRFLOW__LOGGING__BASE_LOG_FOLDER") or home / "logs")
    task = folder / f"dag_id={ti.dag_id}" / f"run_id={ti.run_id}" / f"task_id={ti.task_id}"
    path = task / f"attempt={ti.try_number}.log"
    deadline = time.monotonic() + _FLUSH_SECONDS
    while True:
        events = _events(path)
        if _LAST_LINE in "\n".join(events[-_TAIL_LINES:]) or time.monotonic() > deadline:
            return "\n".join(events[-_TAIL_LINES:])
        time.sleep(0.2)


def _events(path: Path) -> list[str]:
    try:
        return [_event(line) for line in path.read_text("utf-8", "replace").splitlines()]
    except OSError:
        return []


def _event(line: str) -> str:
    """The message of a line of Airflow's log: a JSON object, unless logging was reconfigured."""
    try:
        return str(json.loads(line)["event"])
    except (ValueError, KeyError, TypeError):
        return line


def shell_command(arguments: Sequence[str]) -> str:
    """The task's command for a shell; empty where its templates are not rendered.

    They are not in the alert of a lost task, which comes from another process.

    >>> shell_command(["run-stage", "train@ease", "--run", "2026-11-24", ""])
    '.venv/bin/python -m pipeline_steps run-stage train@ease --run 2026-11-24'
    """
    words = [text for text in arguments if text]
    if not words or any(mark in text for text in words for mark in ("{{", "{%")):
        return ""
    return shlex.join([".venv/bin/python", "-m", "pipeline_steps", *words])


def send(text: str, facts: Mapping[str, str]) -> None:
    """Post an alert to DIFFREC_ALERT_WEBHOOK, if that is set."""
    variable = shared.Variable.ALERT_WEBHOOK
    url = os.environ.get(variable, "")
    if not url:
        return
    if not url.startswith(("http://", "https://")):
        log.error("%s must be an http or https address: nothing was sent", variable)
        return
    body = json.dumps({"text": text, **facts}).encode()
    headers = {"Content-Type": "application/json"}
    try:
        request = Request(url, data=body, headers=headers)  # noqa: S310
        urlopen(request, timeout=_TIMEOUT_SECONDS).close()  # noqa: S310
    except (OSError, HTTPException, ValueError) as error:
        # the address may contain a secret: it is not logged, nor are errors that quote it
        why = str(error) if isinstance(error, OSError) else type(error).__name__
        log.error("the alert could not be sent to %s: %s", variable, why)


def _folder(variable: shared.Variable) -> Path:
    return Path(shared.location(variable, PROJECT))
