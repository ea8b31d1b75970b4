"""The note of a failed task: what it holds, where it lies, and the webhook that may not work."""

import json
import logging
import threading
from collections.abc import Iterator, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import _alerts
import pytest

RUN_ID = "scheduled__2026-11-24T00:00:00+00:00"
RUN = "scheduled__2026-11-24T00-00-00-00-00"
HIDDEN = "T0PSECRET"


class Hook(BaseHTTPRequestHandler):
    """Keeps what it is sent; answers with the status in the path's last part."""

    received: list[dict[str, Any]]

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.received.append({"type": self.headers["Content-Type"], **json.loads(body)})
        status = int(self.path.rpartition("/")[2])
        if status == 0:
            self.wfile.write(b"nonsense\r\n\r\n")
            return
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def hook() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Address of a webhook, without its last part, and what it receives."""
    received: list[dict[str, Any]] = []
    handler = type("OneHook", (Hook,), {"received": received})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/{HIDDEN}", received
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(autouse=True)
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("AIRFLOW_HOME", str(tmp_path / "airflow"))
    monkeypatch.delenv("AIRFLOW__LOGGING__BASE_LOG_FOLDER", raising=False)
    monkeypatch.setattr(_alerts, "_FLUSH_SECONDS", 0.0)
    monkeypatch.setenv("DIFFREC_ALERTS", str(tmp_path / "alerts"))
    monkeypatch.setenv("DIFFREC_WORKSPACES", str(tmp_path / "workspaces"))
    monkeypatch.delenv("DIFFREC_ALERT_WEBHOOK", raising=False)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    return tmp_path


def fail(
    stage: str = "train@ease",
    exception: Exception | None = None,
    arguments: Sequence[str] = ("run-stage", "train@ease", "--run", RUN_ID),
) -> None:
    ti = SimpleNamespace(run_id=RUN_ID, task_id="train.ease", dag_id="nightly", try_number=3)
    task = SimpleNamespace(stage=stage, arguments=arguments)
    _alerts.alert_on_failure({"ti": ti, "task": task, "exception": exception})


def note(places: Path) -> str:
    (path,) = (places / "alerts").iterdir()
    return path.read_text()


def test_the_note_says_what_failed_why_and_what_to_do(places: Path) -> None:
    log = places / "workspaces" / RUN / "train@ease" / "stage.log"
    log.parent.mkdir(parents=True)
    log.write_text("".join(f"line {n}\n" for n in range(100)))
    fail(exception=RuntimeError("train@ease: exit code 3: the data cannot be used"))
    text = note(places)
    assert (places / "alerts" / f"{RUN}--train-ease.md").is_file()
    assert text.startswith("# nightly: train@ease failed\n")
    assert f"Run `{RUN}`, task `train.ease`, after 3 tries." in text
    assert "**Why**: train@ease: exit code 3: the data cannot be used" in text
    assert [line for line in text.splitlines() if line.startswith("line ")] == [
        f"line {n}" for n in range(70, 100)
    ]
    assert f"python -m pipeline_steps run-stage train@ease --run {RUN}\n" in text
    assert "docs/runbook.md" in text


def test_a_stage_that_ran_elsewhere_and_a_task_that_was_lost(places: Path) -> None:
    fail()
    assert "**Why**: the task's process was lost" in note(places)
    assert "(no log on this machine: see the task's log in Airflow)" in note(places)


def test_a_task_of_no_stage_is_named_by_its_id(places: Path) -> None:
    ti = SimpleNamespace(run_id="r", task_id="check", dag_id="d", try_number=1)
    _alerts.alert_on_failure({"ti": ti})
    assert note(places).startswith("# d: check failed\n\nRun `r`, task `check`, after 1 try.")
    assert "In a shell" not in note(places)


START = ("start-run", "--run", RUN_ID, "--end", "2026-11-24", "", "--set=a=1\nb=2", "--dry-run")


def airflow_log(places: Path, *lines: str) -> Path:
    folder = places / "airflow/logs/dag_id=nightly" / f"run_id={RUN_ID}" / "task_id=train.ease"
    folder.mkdir(parents=True)
    path = folder / "attempt=3.log"
    path.write_text("".join(f"{line}\n" for line in lines))
    return path


def test_a_command_that_is_no_stage_is_repeated_as_it_was(places: Path) -> None:
    fail("start_run", arguments=START)
    assert (
        f".venv/bin/python -m pipeline_steps start-run --run {RUN} --end 2026-11-24 "
        "'--set=a=1\nb=2' --dry-run\n"
    ) in note(places)
    assert "run-stage" not in note(places)


def test_a_lost_task_has_templates_for_arguments(places: Path) -> None:
    fail(arguments=("run-stage", "train@ease", "--run", "{{ run_id }}"))
    assert f"python -m pipeline_steps run-stage train@ease --run {RUN}\n" in note(places)
    fail(arguments=("start-run", "--run", "{{ run_id }}", "{% if params.models %}x{% endif %}"))
    assert "In a shell" not in note(places)


def test_where_there_is_no_log_of_a_stage_airflows_own_is_shown(places: Path) -> None:
    said = [f"row {n}" for n in range(40)]
    lines = [json.dumps({"level": "info", "event": event}) for event in said]
    airflow_log(places, *lines, '{"event": "cut o')
    fail("start_run", arguments=START)
    shown = note(places).partition("Last lines of its log:\n\n```\n")[2].partition("\n```\n")[0]
    assert shown.splitlines() == [*said[-29:], '{"event": "cut o']


def test_what_is_on_its_way_to_airflows_log_is_waited_for(
    places: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_alerts, "_FLUSH_SECONDS", 20.0)
    path = airflow_log(places, json.dumps({"event": "begun"}))
    late = [json.dumps({"event": event}) for event in ("why", "Command exited with return code 2")]
    writer = threading.Timer(0.5, path.write_text, ["\n".join(late)])
    writer.start()
    fail("start_run", arguments=START)
    writer.join()
    assert "```\nwhy\nCommand exited with return code 2\n```" in note(places)


def test_a_later_failure_of_the_same_task_replaces_the_note(places: Path) -> None:
    fail(exception=RuntimeError("first"))
    fail(exception=RuntimeError("second"))
    assert "second" in note(places)
    assert "first" not in note(places)


def test_the_webhook_gets_the_note_as_json(
    hook: tuple[str, list[dict[str, Any]]], places: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    address, received = hook
    monkeypatch.setenv("DIFFREC_ALERT_WEBHOOK", f"{address}/200")
    fail(exception=RuntimeError("no space"))
    assert received == [
        {
            "type": "application/json", "text": note(places), "dag": "nightly",
            "task": "train.ease", "stage": "train@ease", "run": RUN,
        }
    ]  # fmt: skip


def test_without_a_webhook_nothing_is_sent(hook: tuple[str, list[dict[str, Any]]]) -> None:
    fail()
    assert hook[1] == []


@pytest.mark.parametrize(
    "address",
    [
        f"file:///{HIDDEN}",
        f"{HIDDEN}.example.org/hook",
        f"http://127.0.0.1:1/{HIDDEN}",
        f"http://127.0.0.1:{HIDDEN}/x",
        f"http://[127.0.0.1/{HIDDEN}",
        f"http://127.0.0.1/{HIDDEN} with blanks\n",
        f"http:///{HIDDEN}",
        f"http://no-such-host.invalid/{HIDDEN}",
    ],
)
def test_an_address_that_does_not_work_is_said_and_never_shown(
    places: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, address: str
) -> None:
    monkeypatch.setenv("DIFFREC_ALERT_WEBHOOK", address)
    fail()
    assert note(places)
    assert "DIFFREC_ALERT_WEBHOOK" in caplog.records[-1].getMessage()
    assert caplog.records[-1].levelno == logging.ERROR
    assert HIDDEN not in caplog.text
    assert HIDDEN not in note(places)


@pytest.mark.parametrize("status", [0, 404, 500])
def test_a_webhook_that_refuses_fails_nothing(
    hook: tuple[str, list[dict[str, Any]]],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    status: int,
) -> None:
    monkeypatch.setenv("DIFFREC_ALERT_WEBHOOK", f"{hook[0]}/{status}")
    fail()
    assert len(hook[1]) == 1
    assert "could not be sent to DIFFREC_ALERT_WEBHOOK" in caplog.records[-1].getMessage()
    assert HIDDEN not in caplog.text


def test_a_note_that_cannot_be_written_is_sent_all_the_same(
    hook: tuple[str, list[dict[str, Any]]],
    places: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    (places / "alerts").write_text("a file is in the way, or the disk is full")
    monkeypatch.setenv("DIFFREC_ALERT_WEBHOOK", f"{hook[0]}/200")
    fail(exception=RuntimeError("no space is left"))
    (sent,) = hook[1]
    assert "no space is left" in sent["text"]
    assert "the note could not be written" in caplog.text
