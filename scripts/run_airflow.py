"""Airflow on this machine, as the Makefile's `airflow` sets it up: run_airflow.py PORT GPU_SLOTS.

Migrates the database, creates the pool `gpu`, prints the address and the login, and on Ctrl-C or
SIGTERM stops everything that it started. Run by the Airflow environment's Python.
"""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from types import FrameType

_GRACE_SECONDS = 45.0
_HEAD_START_SECONDS = 1.0
_PASSWORDS = "simple_auth_manager_passwords.json.generated"


def main(port: int, gpu_slots: str) -> int:
    """Run Airflow until it ends or is stopped; return the exit code."""
    home = Path(os.environ["AIRFLOW_HOME"])
    home.mkdir(parents=True, exist_ok=True)
    if _is_taken(port):
        sys.stderr.write(f"port {port} is taken: choose another, make airflow AIRFLOW_PORT=...\n")
        return 1
    log, program = home / "setup.log", str(Path(sys.executable).with_name("airflow"))
    for command in (["db", "migrate"], ["pools", "set", "gpu", gpu_slots, "stages that train"]):
        with log.open("ab") as output:
            done = subprocess.run([program, *command], stdout=output, stderr=output, check=False)
        if done.returncode != 0:
            sys.stderr.write(log.read_text())
            return 1
    # A background job of a shell ignores SIGINT, and Airflow would inherit that.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    # In its own session: Ctrl-C in a terminal reaches this process alone, which signals Airflow
    # once. Signalled twice, its components would exit without waiting for their tasks.
    airflow = subprocess.Popen([program, "standalone"], start_new_session=True)
    stopping = threading.Event()

    def stop(number: int, frame: FrameType | None) -> None:
        if not stopping.is_set():
            stopping.set()
            sys.stderr.write("Airflow: stopping, tasks end first\n")
            with suppress(ProcessLookupError):
                os.kill(airflow.pid, signal.SIGINT)
            threading.Thread(target=_end, args=(airflow.pid,), daemon=True).start()

    signal.signal(signal.SIGINT, stop)
    signal.signal(signal.SIGTERM, stop)
    threading.Thread(target=_print_login, args=(home / _PASSWORDS, port), daemon=True).start()
    code = airflow.wait()
    if stopping.is_set():
        _end(airflow.pid)
        return 0
    return code


def _is_taken(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _print_login(passwords: Path, port: int) -> None:
    while not (passwords.is_file() and passwords.stat().st_size and _is_taken(port)):
        time.sleep(0.5)
    where = f"http://127.0.0.1:{port}"
    sys.stderr.write(f"Airflow: {where}  login: {passwords.read_text().strip()}  Ctrl-C stops it\n")


def _end(session: int) -> None:
    """Stop the tasks' workers, which would outlive them; then wait for every process of Airflow.

    Airflow would wait for its tasks, and a training may take hours: it resumes from its checkpoint
    when Airflow is started again. Processes that do not stop in time are killed.
    """
    time.sleep(_HEAD_START_SECONDS)  # in which the scheduler stops starting tasks
    end_work = [".venv/bin/python", "-m", "pipeline_steps", "end-work", "--quiet"]
    subprocess.run(end_work, check=False)
    deadline = time.monotonic() + _GRACE_SECONDS
    with suppress(ProcessLookupError):
        while time.monotonic() < deadline:
            os.killpg(session, 0)  # raises when all are gone
            time.sleep(0.2)
        os.killpg(session, signal.SIGKILL)


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), sys.argv[2]))
