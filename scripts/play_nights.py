"""Play nights with the sample, as the Makefile's `demo-nights` sets them up.

Starts Airflow on this machine, lets a part of the log arrive for each night, runs the DAG
nightly_retrain for it, and says what the gate decided. Ends Airflow, also on Ctrl-C.
"""

import argparse
import json
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from diffrec_core.common.errors import DiffRecError
from pipeline_steps.nights.settings import settings
from pipeline_steps.runtime.command import command_line, progress
from scripts.airflow_api import ENDED, AirflowApi

log = logging.getLogger("pipeline")

_DAG = "nightly_retrain"
_POLL_SECONDS = 2.0
_START_SECONDS = 300.0
_ENDED_TASKS = {"success", "skipped", "failed", "upstream_failed", "removed"}


class NightError(DiffRecError):
    """Airflow did not start, or a night failed."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare how many nights, of what."""
    parser.add_argument("--nights", default="3", help="how many, the last of the log (%(default)s)")
    parser.add_argument("--every", choices=("day", "week"), default="week", help="(%(default)s)")
    parser.add_argument("--models", nargs="*", default=[], help="of params.yaml (default: all)")
    parser.add_argument("--port", type=int, default=8080, help="of Airflow (%(default)s)")
    parser.add_argument("--gpu-slots", type=int, default=2, help="of the pool (%(default)s)")


def main(args: argparse.Namespace) -> None:
    """Play the nights one after the other.

    Raises:
        NightError: Airflow did not start, or a night failed.
    """
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that Airflow is ended then too
    rhythm = ("--nights", args.nights, "--every", args.every)
    ends = _arrivals(*rhythm).split()
    changes = [
        "list_raw.logs=[data/raw/nights/*.inter]",
        f"monitor.period={args.every}",
        "monitor.rows_ratio_low_alarm=0.3",  # the sample has few users, and its weeks differ
    ]
    with _airflow(args.port, args.gpu_slots, Path(os.environ["AIRFLOW_HOME"])) as api:
        api.unpause(_DAG)
        for end in ends:
            log.info("the night before %s", end)
            _arrivals(*rhythm, "--until", end)
            started = time.monotonic()
            run = f"demo-{end}-{time.time():.0f}"
            api.trigger(_DAG, run, end=end, models=args.models, settings=changes)
            _follow(api, run, quiet=args.quiet)
            gate = json.loads(settings().published.read("gate.json"))
            log.info("gate: %s: %s", gate["decision"], gate["reason"])
            log.info("the night took %.0f s", time.monotonic() - started)
    subprocess.run([sys.executable, "-m", "pipeline_steps", "history"], check=False)


def _arrivals(*arguments: str) -> str:
    """What `replay-log` prints: it lists the nights, or lets their part of the log arrive."""
    command = [sys.executable, "-m", "pipeline_steps", "replay-log", *arguments]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode != 0:
        sys.exit(done.returncode)  # it has said why
    return done.stdout


@contextmanager
def _airflow(port: int, gpu_slots: int, home: Path) -> Iterator[AirflowApi]:
    """Airflow's services, in a session of their own: Ctrl-C is for this process to pass on.

    Scheduled runs are off: a DAG that is switched on would begin with the night of today.
    """
    home.mkdir(parents=True, exist_ok=True)
    output = home / "demo-nights.log"
    api = AirflowApi(f"http://127.0.0.1:{port}", home)
    with output.open("wb") as sink:
        process = subprocess.Popen(
            [".venv-airflow/bin/python", "scripts/run_airflow.py", str(port), str(gpu_slots)],
            env={**os.environ, "DIFFREC_SCHEDULE": "off"},
            stdout=sink,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        log.info("Airflow starts; its output: %s", output)
        _wait_for(lambda: api.knows(_DAG), process, output)
        log.info("Airflow: %s", api.url)
        yield api
    except OSError as error:
        raise NightError(f"{error}: what Airflow says is in {output}") from error
    finally:
        process.send_signal(signal.SIGINT)
        process.wait()


def _wait_for(
    happened: Callable[[], bool], process: "subprocess.Popen[bytes]", output: Path
) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while not happened():
        if process.poll() is not None or time.monotonic() > deadline:
            lines = output.read_text(errors="replace").splitlines()[-20:]
            raise NightError("Airflow did not start; it said:\n  " + "\n  ".join(lines))
        time.sleep(_POLL_SECONDS)


def _follow(api: AirflowApi, run: str, *, quiet: bool) -> None:
    """Show how a run gets on, until it ends."""
    with progress("tasks", len(api.tasks(_DAG, run)), quiet=quiet) as advance:
        while (state := api.state(_DAG, run)) not in ENDED:
            tasks = api.tasks(_DAG, run)
            running = [name for name, each in tasks.items() if each == "running"]
            advance(sum(each in _ENDED_TASKS for each in tasks.values()), ", ".join(running))
            time.sleep(_POLL_SECONDS)
    if state == "failed":
        failed = [name for name, each in api.tasks(_DAG, run).items() if each == "failed"]
        raise NightError(
            f"{', '.join(failed)} failed: a note with the reason is in .nightly/alerts, the logs "
            f"are in {api.home / 'logs' / f'dag_id={_DAG}' / f'run_id={run}'}"
        )


if __name__ == "__main__":
    command_line(main, add_arguments, __doc__)
