"""What happens when a task has failed for good: a note that a person can act on, and a webhook.

The note goes to DIFFREC_ALERTS, by default `.nightly/alerts` in the project's folder, and to the
task's log; DIFFREC_ALERT_WEBHOOK, if set, is sent it as JSON, `{"text": …}`, which chat services
take as it is. An alert that cannot be sent is said so in the log and fails nothing.
"""

import json
import logging
import os
import re
from collections.abc import Mapping
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

log = logging.getLogger(__name__)
PROJECT = Path(os.environ.get("DIFFREC_PROJECT") or Path(__file__).resolve().parent.parent)
_TAIL_LINES = 30
_TIMEOUT_SECONDS = 10
_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")


def tell_about_failure(context: Mapping[str, Any]) -> None:
    """Write the note of a failed task and send it; Airflow's `on_failure_callback`."""
    ti = context["ti"]
    run = run_name(ti.run_id)
    stage = str(getattr(context.get("task"), "stage", ti.task_id))
    note = write_note(
        dag=ti.dag_id, task=ti.task_id, stage=stage, run=run, tries=ti.try_number,
        reason=str(context.get("exception") or "the task's process was lost"),
        tail=log_tail(run, stage),
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
    *, dag: str, task: str, stage: str, run: str, tries: int, reason: str, tail: str
) -> str:
    """The note: what failed, why, what it said last, and how to go on."""
    return f"""# {dag}: {stage} failed

Run `{run}`, task `{task}`, after {tries} {"try" if tries == 1 else "tries"}.

**Why**: {reason}

What it said last:

```
{tail or "(no log on this machine: see the task's log in Airflow)"}
```

**To go on**, mend the cause and clear the task in Airflow, with those after it: finished stages
are recognised, a training goes on from its checkpoint. If a raw log was mended, clear `list_raw`:
it lists the files anew. In a shell, in {PROJECT}:

    .venv/bin/python -m pipeline_steps.run_stage {stage} --run {run}

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
