"""Replay the last nights of the sample log through the real DAG (`make demo-nights`).

Starts Airflow on this machine; for each night lets a day or a week of the log arrive, runs
nightly_retrain and reports what the gate decided. Stops Airflow at the end, also on Ctrl-C.
"""

import json
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Literal

from diffrec_core.common.errors import DiffRecError
from pipeline_steps.nights.settings import settings
from pipeline_steps.runtime.command import Inputs, execute
from pipeline_steps.runtime.progress import progress
from pipeline_steps.sample.replay_log import PERIODS, night_ends, read_log, write_nights
from scripts.airflow_api import ENDED, AirflowApi

log = logging.getLogger("pipeline")

_DAG: Final = "nightly_retrain"
_POLL_SECONDS: Final = 2.0
_START_SECONDS: Final = 600.0
_ENDED_TASKS: Final = {"success", "skipped", "failed", "upstream_failed", "removed"}


class NightError(DiffRecError):
    """Airflow did not start, or a night failed."""


class ReplayInputs(Inputs):
    """How many nights, of which models."""

    nights: int = 3
    """How many, the last of the log."""

    every: Literal["day", "week"] = "week"
    """How much of the log arrives in a night."""

    models: tuple[str, ...] = ()
    """Of params.yaml; by default all."""

    port: int = 8080
    """Of Airflow."""

    gpu_slots: int = 2
    """Of Airflow's pool."""


def run(inputs: ReplayInputs) -> None:
    """Replay the nights one after the other.

    Raises:
        ConfigError: the number of nights is less than 1.
        DataError: there is no sample log.
        NightError: Airflow did not start, or a night failed.
    """
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that Airflow is stopped, too
    sample = read_log()
    ends = night_ends(sample, inputs.nights, PERIODS[inputs.every])
    overrides = [
        "list_raw.logs=[data/raw/nights/*.inter]",
        f"monitor.period={inputs.every}",
        "monitor.rows_ratio_low_alarm=0.3",  # the sample has few users, and its weeks differ
    ]
    with _airflow(inputs.port, inputs.gpu_slots, Path(os.environ["AIRFLOW_HOME"])) as api:
        api.unpause(_DAG)
        for night, end in enumerate(ends, 1):
            log.info("night %d of %d: the log before %s", night, len(ends), end)
            write_nights(sample, ends[:night])
            name, started = f"replay-{end}-{time.time():.0f}", time.monotonic()
            api.trigger(_DAG, name, end=str(end), models=list(inputs.models), settings=overrides)
            _follow(api, name)
            gate = json.loads(settings().published.read("gate.json"))
            log.info("gate: %s: %s", gate["decision"], gate["reason"])
            log.info("night %d took %.0f s", night, time.monotonic() - started)
    subprocess.run([sys.executable, "-m", "pipeline_steps", "history"], check=False)


@contextmanager
def _airflow(port: int, gpu_slots: int, home: Path) -> Iterator[AirflowApi]:
    """Run Airflow's services in their own session: this process forwards Ctrl-C to them.

    Scheduled runs are off: an unpaused DAG would begin with last night.
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
        _wait_until_ready(api, process, output)
        log.info("Airflow: %s", api.url)
        yield api
    except OSError as error:
        raise NightError(f"{error}: see Airflow's output, {output}") from error
    finally:
        process.send_signal(signal.SIGINT)
        process.wait()


def _wait_until_ready(api: AirflowApi, process: "subprocess.Popen[bytes]", output: Path) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while not api.knows(_DAG):
        if process.poll() is not None or time.monotonic() > deadline:
            lines = output.read_text(errors="replace").splitlines()[-20:]
            raise NightError("\n  ".join(["Airflow did not start; its last output:", *lines]))
        time.sleep(_POLL_SECONDS)


def _follow(api: AirflowApi, run: str) -> None:
    """Show the progress of a run until it ends.

    Raises:
        NightError: the run failed.
    """
    with progress("tasks", len(api.tasks(_DAG, run))) as advance:
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
    execute(run)
