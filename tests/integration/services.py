"""Real services for tests: Airflow's scheduler and API server, MLflow's server, a webhook."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from scripts.airflow_api import ENDED, AirflowApi


def free_port() -> int:
    """A port of the loopback interface that nobody listens on."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


def wait_until(happened: Any, *, seconds: float, what: str, every: float = 0.5) -> Any:
    """Ask again and again; return the first answer that is true."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if answer := happened():
            return answer
        time.sleep(every)
    raise AssertionError(f"not within {seconds} s: {what}")


def processes(*words: str, of: Path | None = None) -> list[int]:
    """Ids of the processes whose command lines hold all the words.

    `of`: only those that work in this folder, or were started with it in their environment. Whoever
    kills what was found must give it: other tests run the same commands at the same time.
    """
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdecimal() or int(entry.name) == os.getpid():
            continue
        try:
            line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            if all(word in line for word in words) and (of is None or _belongs(entry, of)):
                found.append(int(entry.name))
        except (OSError, UnicodeDecodeError):
            continue
    return found


def children(pid: int) -> list[int]:
    """Ids of the processes that a process has started."""
    return [int(text) for text in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def _belongs(process: Path, folder: Path) -> bool:
    works_in = (process / "cwd").readlink()
    return works_in.is_relative_to(folder) or (
        os.fsencode(folder) in (process / "environ").read_bytes()
    )


@dataclass
class Airflow:
    """`make airflow` of a project.

    Attributes:
        project: the project's folder, with scripts/ and dags/.
        bin: programs of the Airflow environment.
        home: AIRFLOW_HOME.
        port: of the API server.
        variables: what the tasks are to find in their environment.
    """

    project: Path
    bin: Path
    home: Path
    port: int
    variables: Mapping[str, str]
    process: "subprocess.Popen[bytes] | None" = field(default=None, init=False)
    scheduler: "subprocess.Popen[bytes] | None" = field(default=None, init=False)

    @property
    def api(self) -> AirflowApi:
        """Its REST API."""
        return AirflowApi(f"http://127.0.0.1:{self.port}", self.home)

    def start(self, dag: str) -> None:
        """Start it and wait until its API answers and knows a DAG."""
        self.home.mkdir(parents=True, exist_ok=True)
        command = [str(self.bin / "python"), "scripts/run_airflow.py", str(self.port), "2"]
        self.process = self._begin(command, "standalone.log")
        wait_until(lambda: self.api.knows(dag), seconds=600, what="Airflow's API answers")

    def start_scheduler(self) -> None:
        """Start a scheduler beside what goes on, in place of one that was killed."""
        self.scheduler = self._begin([str(self.bin / "airflow"), "scheduler"], "scheduler.log")

    def _begin(self, command: list[str], log: str) -> "subprocess.Popen[bytes]":
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("AIRFLOW", "DIFFREC"))}
        path = f"{self.bin}{os.pathsep}{os.environ['PATH']}"
        with (self.home / log).open("ab") as output:
            return subprocess.Popen(
                command,
                cwd=self.project,
                env={**kept, **self._settings(), **self.variables, "PATH": path},
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def _settings(self) -> dict[str, str]:
        url = self.api.url
        return {
            "AIRFLOW_HOME": str(self.home),
            "AIRFLOW__CORE__DAGS_FOLDER": str(self.project / "dags"),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__CORE__PARALLELISM": "2",
            "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{url}/execution/",
            "AIRFLOW__API__HOST": "127.0.0.1",
            "AIRFLOW__API__PORT": str(self.port),
            "AIRFLOW__API__BASE_URL": url,
            "AIRFLOW__LOGGING__WORKER_LOG_SERVER_PORT": str(free_port()),
            "AIRFLOW__LOGGING__TRIGGER_LOG_SERVER_PORT": str(free_port()),
            "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "600",  # the DAGs stay as they are
            # a lost task is found in seconds, not minutes
            "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "30",
            "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "3",
            "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_SEC": "2",
            "AIRFLOW__SCHEDULER__SCHEDULER_HEALTH_CHECK_THRESHOLD": "20",
            "AIRFLOW__SCHEDULER__ORPHANED_TASKS_CHECK_INTERVAL": "5",
        }

    def stop(self) -> None:
        """What Ctrl-C in a terminal does: SIGINT to the whole foreground group."""
        assert self.process is not None
        if self.scheduler is not None:
            self.scheduler.terminate()
            self.scheduler.wait(timeout=120)
        os.killpg(self.process.pid, signal.SIGINT)
        self.process.wait(timeout=300)

    def wait(self, dag: str, run: str, *, seconds: float = 1800) -> str:
        """Wait for the end of a run; its state."""
        state: str = wait_until(
            lambda: (state := self.api.state(dag, run)) in ENDED and state,
            seconds=seconds,
            what=f"the end of {dag} {run}",
        )
        return state


@contextmanager
def mlflow_server(folder: Path, port: int) -> Iterator[str]:
    """MLflow's server on SQLite with proxied artifacts, as `make mlflow` starts it."""
    folder.mkdir(parents=True)
    uri = f"http://127.0.0.1:{port}"
    with (folder / "server.log").open("wb") as log:
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1"),
                *("--port", str(port), "--workers", "1", "--serve-artifacts"),
                *("--allowed-hosts", f"127.0.0.1:{port},localhost:{port}"),
                *("--backend-store-uri", "sqlite:///mlflow.db"),
                *("--artifacts-destination", "mlartifacts"),
            ],
            cwd=folder,
            env={**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        wait_until(lambda: _is_healthy(uri), seconds=600, what="MLflow's server answers")
        yield uri
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(timeout=120)


def _is_healthy(uri: str) -> bool:
    try:
        with urllib.request.urlopen(f"{uri}/health", timeout=5):  # noqa: S310
            return True
    except OSError:
        return False


@contextmanager
def webhook() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """A server that keeps what is posted to it: its address, and the posts."""
    posts: list[dict[str, Any]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            posts.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/hook", posts
    finally:
        server.shutdown()
        server.server_close()
