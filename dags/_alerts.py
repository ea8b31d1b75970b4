"""What happens when a task has failed for good: a note that a person can act on, and a webhook.

The note goes to DIFFREC_ALERTS, by default `.nightly/alerts` in the project's folder, and to the
task's log; DIFFREC_ALERT_WEBHOOK, if set, is sent it as JSON, `{"text": …}`, which chat services
take as it is. An alert that cannot be sent is said so in the log and fails nothing.
"""

import json
import logging
import os
import re
import shlex
import time
from collections.abc import Mapping, Sequence
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

log = logging.getLogger(__name__)
PROJECT = Path(os.environ.get("DIFFREC_PROJECT") or Path(__file__).resolve().parent.parent)
_TAIL_LINES = 30
_RUN = "{{ run_id }}"
_FLUSH_SECONDS = 3.0
_LAST_LINE = "Command exited with return code"  # of what Airflow logs of a command
_TIMEOUT_SECONDS = 10
_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")


def tell_about_failure(context: Mapping[str, Any]) -> None:
    """Write the note of a failed task and send it; Airflow's `on_failure_callback`."""
    ti = context["ti"]
    run = run_name(ti.run_id)
    stage = str(getattr(context.get("task"), "stage", ti.task_id))
    arguments = getattr(context.get("task"), "arguments", ())
    note = write_note(
        dag=ti.dag_id, task=ti.task_id, stage=stage, run=run, tries=ti.try_number,
        reason=str(context.get("exception") or "the task's process was lost"),
        tail=log_tail(run, stage) or airflow_log_tail(ti),
        command=shell_command([run if text in (ti.run_id, _RUN) else text for text in arguments]),
    )  # fmt: skip
    log.error("%s", note)
    path = _folder("DIFFREC_ALERTS", "alerts") / f"{run}--{_UNSAFE.sub('-', stage)}.md"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(note, encoding="utf-8")
    except OSError as error:  # a full disk is what there may be to tell of
        log.error("the note could not be written: %s", error)
    send(note, {"dag": ti.dag_id, "task": ti.task_id, "stage": stage, "run": run})


def run_name(text: str) -> str:
    """The run's name as `pipeline_steps` writes it.

    >>> run_name("scheduled__2026-11-24T00:00:00+00:00")
    'scheduled__2026-11-24T00-00-00-00-00'
    """
    return _UNSAFE.sub("-", text).strip("-.")


def write_note(
    *, dag: str, task: str, stage: str, run: str, tries: int, reason: str, tail: str, command: str
) -> str:
    """The note: what failed, why, what it said last, and how to go on."""
    in_a_shell = f" In a shell, in {PROJECT}:\n\n    {command}" if command else ""
    return f"""# {dag}: {stage} failed

Run `{run}`, task `{task}`, after {tries} {"try" if tries == 1 else "tries"}.

**Why**: {reason}

What it said last:

```
{tail or "(no log on this machine: see the task's log in Airflow)"}
```

**To go on**, mend the cause and clear the task in Airflow, with those after it: finished stages
are recognised, a training goes on from its checkpoint. If a raw log was mended, clear `list_raw`:
it lists the files anew.{in_a_shell}

Until then yesterday's champion and yesterday's recommendations stay. More: docs/runbook.md.
"""


def log_tail(run: str, stage: str) -> str:
    """The last lines of the stage's log, if it ran on this machine; else nothing."""
    path = _folder("DIFFREC_WORKSPACES", "workspaces") / run / stage / "stage.log"
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    return "\n".join(lines[-_TAIL_LINES:])


def airflow_log_tail(ti: Any) -> str:
    """The last lines of the task's log in Airflow, where that lies as it does by default.

    What the command said last may still be on its way to the file.
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
    """What a line of Airflow's log says: it is a JSON object, unless its form was changed."""
    try:
        return str(json.loads(line)["event"])
    except (ValueError, KeyError, TypeError):
        return line


def shell_command(arguments: Sequence[str]) -> str:
    """The task's command for a shell; empty where Airflow has not filled in its templates.

    That is so of a task that was lost: another process tells of it.

    >>> shell_command(["run-stage", "train@ease", "--run", "2026-11-24", ""])
    '.venv/bin/python -m pipeline_steps run-stage train@ease --run 2026-11-24'
    """
    words = [text for text in arguments if text]
    if not words or any(mark in text for text in words for mark in ("{{", "{%")):
        return ""
    return shlex.join([".venv/bin/python", "-m", "pipeline_steps", *words])


def send(text: str, facts: Mapping[str, str]) -> None:
    """Post an alert to DIFFREC_ALERT_WEBHOOK, if there is one."""
    url = os.environ.get("DIFFREC_ALERT_WEBHOOK", "")
    if not url:
        return
    if not url.startswith(("http://", "https://")):
        log.error("DIFFREC_ALERT_WEBHOOK must be an http or https address: nothing was sent")
        return
    body = json.dumps({"text": text, **facts}).encode()
    headers = {"Content-Type": "application/json"}
    try:
        request = Request(url, data=body, headers=headers)  # noqa: S310
        urlopen(request, timeout=_TIMEOUT_SECONDS).close()  # noqa: S310
    except (OSError, HTTPException, ValueError) as error:
        # the address may hold a secret: it is not written, nor are errors that quote it
        why = str(error) if isinstance(error, OSError) else type(error).__name__
        log.error("the alert could not be sent to DIFFREC_ALERT_WEBHOOK: %s", why)


def _folder(variable: str, name: str) -> Path:
    return Path(os.environ.get(variable) or PROJECT / ".nightly" / name)
