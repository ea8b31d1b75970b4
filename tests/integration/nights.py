"""The story of `test_nights`: what happens in each night, and what it leaves to be looked at."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from tests.integration.conftest import PROJECT, Project, build
from tests.integration.services import Airflow, children, processes, wait_until
from tests.raw_logs import Event, write_log

DAG = "nightly_retrain"
MODELS = ("ease", "diffrec")
ENDS = ("2023-12-03", "2023-12-07", "2023-12-12")
"""The ends of the nights: the log has an event an hour, from the 14th of November on."""

# Airflow's own hooks for policies. A DAG that is switched on begins with the night that has just
# passed, which is none of ours: so it ends in the time of the log.
POLICIES = """
from datetime import UTC, datetime, timedelta

END = datetime(2023, 12, 31, tzinfo=UTC)


def task_policy(task):
    task.retries = 6  # night 2 kills one task again and again
    task.retry_delay, task.retry_exponential_backoff = timedelta(seconds=2), False
    task.end_date = END


def dag_policy(dag):
    dag.end_date = END
"""


@dataclass
class Story:
    """What the nights have left, to be looked at.

    Attributes:
        project: the project.
        airflow: stopped at the end.
        tracking_uri: of MLflow's server.
        states: how each run ended, in order.
        champions: number of the champion after each run; None: there was none.
        versions: how many versions there were after each run.
        computed: how often each step of the pipeline ran to its end, by run.
        tasks: the tasks' states, by run.
        posts: what the webhook was sent.
        training: what the training of night 2 said that followed the killed one.
        page: what the status page says of the corrupted log.
        monitored: how the run of `monitor` ended.
        left_behind: processes of Airflow that outlived Ctrl-C.
    """

    project: Project
    airflow: Airflow
    tracking_uri: str
    states: list[str] = field(default_factory=list)
    champions: list[str | None] = field(default_factory=list)
    versions: list[int] = field(default_factory=list)
    computed: list[Counter[str]] = field(default_factory=list)
    tasks: list[dict[str, str]] = field(default_factory=list)
    posts: list[dict[str, Any]] = field(default_factory=list)
    training: str = ""
    page: dict[str, Any] = field(default_factory=dict)
    monitored: str = ""
    left_behind: list[int] = field(default_factory=list)

    def run(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        """Run a command of the pipeline as somebody on call would."""
        scratch = self.project.traces.with_name("other traces")  # not what the nights have done
        scratch.mkdir(exist_ok=True)
        variables = {**self.airflow.variables, "TRACE_DIR": str(scratch)}
        return self.project.run(sys.executable, "-m", "pipeline_steps", *arguments, **variables)

    def processes(self, *words: str) -> list[int]:
        """Those of this story, by words of their command lines."""
        return processes(*words, of=self.project.root.parent)

    def trainings(self) -> list[int]:
        """Processes that train DiffRec."""
        return self.processes("pipeline_steps.train", "--model diffrec")

    def workspace(self, run: str) -> Path:
        """The folder of a run's training of DiffRec."""
        return self.project.root / ".nightly" / "workspaces" / run / "train@diffrec"

    def note(self, run: str) -> None:
        """Write down how a run ended."""
        self.states.append(self.airflow.api.state(DAG, run))
        self.tasks.append(self.airflow.api.tasks(DAG, run))
        self.computed.append(_computed(self.project.traces))
        history = self.run("history", "--json")
        assert history.returncode == 0, history.stderr
        self.champions.append(champion_of(json.loads(history.stdout)))
        self.versions.append(len(versions(self.tracking_uri)))

    def published(self, name: str) -> Any:
        """A JSON file among what is published."""
        return json.loads((self.project.root / "published" / name).read_text())


def champion_of(history: Any) -> str | None:
    return str(history["records"][-1]["version"]) if history["records"] else None


def versions(uri: str) -> list[Any]:
    from mlflow import MlflowClient  # noqa: PLC0415  # slow to import

    return list(MlflowClient(uri).search_model_versions("name = 'diffrec'"))


def _computed(traces: Path) -> Counter[str]:
    """How often each step has run since the last call, by module and model."""
    found: Counter[str] = Counter()
    for trace in traces.glob("*.json"):
        arguments = json.loads(trace.read_text())["arguments"]
        model = arguments[arguments.index("--model") + 1] if "--model" in arguments else ""
        found[f"{Path(arguments[0]).stem}@{model}".rstrip("@")] += 1
        trace.unlink()
    return found


def build_nights(folder: Path) -> Project:
    """A project of two models on a log that arrives in three files."""
    project = build(folder)
    shutil.copytree(PROJECT / "scripts", project.root / "scripts")
    shutil.copytree(PROJECT / "presets", project.root / "presets")
    (project.root / ".venv").symlink_to(sys.prefix)
    params = project.params()
    params["models"] = {name: params["models"][name] for name in MODELS}
    params["list_raw"]["logs"] = ["data/raw/nights/*.csv"]
    params["gate"]["min_users"] = 5
    YAML(typ="safe").dump(params, project.root / "params.yaml")
    identity = ("-c", "user.name=test", "-c", "user.email=test@example.org")
    for command in (("add", "-A"), (*identity, "commit", "-qm", "nights")):
        assert project.run("git", *command).returncode == 0
    return project


def _arrive(project: Project, night: int, events: list[Event]) -> Path:
    """The log of a night: the events before its end that are not in an earlier file."""
    begin, end = (_seconds(day) for day in ("1970-01-01", *ENDS)[night : night + 2])
    inside = [event for event in events if begin <= event.timestamp < end]
    path = project.root / "data" / "raw" / "nights" / f"night-{night + 1}.csv"
    return write_log(path, inside)


def _seconds(day: str) -> float:
    return datetime.fromisoformat(day).replace(tzinfo=UTC).timestamp()


def night_1(story: Story, events: list[Event]) -> None:
    _arrive(story.project, 0, events)
    story.airflow.api.trigger(DAG, "night-1", ENDS[0])
    story.airflow.api.unpause(DAG)
    story.airflow.wait(DAG, "night-1")
    story.note("night-1")


def night_2(story: Story, events: list[Event]) -> None:
    """Training is killed, then the task that watches it, then the scheduler."""
    _arrive(story.project, 1, events)
    # long enough to be met in the middle of it
    slow = ["train.diffrec.epochs=200", "train.diffrec.patience_epochs=200"]
    story.airflow.api.trigger(DAG, "night-2", ENDS[1], settings=slow)
    _kill_training(story)
    training = _hold_next_training(story)
    _kill_task(story)
    schedulers = story.processes("airflow", "scheduler")
    left = [child for pid in schedulers for child in children(pid)]
    _kill(schedulers)
    for pid in training:
        os.kill(pid, signal.SIGCONT)
    assert story.airflow.api.state(DAG, "night-2") == "running"  # the API server is up
    story.airflow.start_scheduler()
    story.airflow.wait(DAG, "night-2")
    # what the killed scheduler has left waits for it for ever
    _kill([pid for pid in processes("airflow") if pid in left])
    story.note("night-2")


def _kill_training(story: Story) -> None:
    """Once it has left a checkpoint."""
    checkpoint = ".checkpoints/train/diffrec/checkpoint.safetensors"
    wait_until(
        lambda: (story.workspace("night-2") / "repo" / checkpoint).is_file() and story.trainings(),
        seconds=1800,
        what="the training of night 2 leaves a checkpoint",
        every=0.02,
    )
    _kill(story.trainings())


def _hold_next_training(story: Story) -> list[int]:
    """Stop it (SIGSTOP) when it has taken up the checkpoint: it goes on, and does not end."""
    log = story.workspace("night-2") / "stage.log"

    def resumed() -> list[int]:
        found = story.trainings()
        return found if found and "resumed after epoch" in log.read_text() else []

    found: list[int] = wait_until(
        resumed, seconds=600, what="the next try takes up the checkpoint", every=0.02
    )
    for pid in found:
        os.kill(pid, signal.SIGSTOP)
    story.training = log.read_text()
    assert story.trainings() == found, "the training was over before it could be held"
    return found


def _kill_task(story: Story) -> None:
    """Airflow's process of the task, and the command that shows the work; wait for the next try."""
    task = f"/dags/{DAG}/dagRuns/night-2/taskInstances/train.diffrec"

    def of_this_try() -> list[int]:
        # by the id, which each try has of its own: Airflow hides what else would tell whose it is
        return processes("airflow worker --", story.airflow.api.call("GET", task)["id"])

    _kill(wait_until(of_this_try, seconds=600, what="Airflow's process of the task is there"))
    _kill(story.processes("pipeline_steps run-stage", "train@diffrec"))
    logs = story.airflow.home / "logs" / f"dag_id={DAG}/run_id=night-2/task_id=train.diffrec"
    wait_until(
        lambda: any("already running; attaching" in log.read_text() for log in logs.glob("*.log")),
        seconds=600,
        what="the next try attaches to the running training",
    )


def _kill(pids: list[int]) -> None:
    """`kill -9`, those that are still there."""
    assert pids, "there is nobody to kill"
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def _clear_as_in_the_ui(story: Story, run: str, task: str) -> None:
    body = {
        "dry_run": False,
        "dag_run_id": run,
        "task_ids": [task],
        "only_failed": False,
        "include_downstream": True,
        "reset_dag_runs": True,
    }
    story.airflow.api.call("POST", f"/dags/{DAG}/clearTaskInstances", body)


def night_3(story: Story, events: list[Event]) -> None:
    """A tenth of the log is broken; then it is mended."""
    log = _arrive(story.project, 2, events)
    good = log.read_text()
    lines = good.splitlines(keepends=True)
    log.write_text("".join("broken\n" if k % 5 == 1 else line for k, line in enumerate(lines)))
    story.airflow.api.trigger(DAG, "night-3", ENDS[2])
    story.airflow.wait(DAG, "night-3")
    story.note("night-3")
    story.page = story.published("status/status.json")
    log.write_text(good)
    _clear_as_in_the_ui(story, "night-3", "list_raw")
    wait_until(
        lambda: story.airflow.api.state(DAG, "night-3") == "running",
        seconds=600,
        what="it runs again",
    )
    story.airflow.wait(DAG, "night-3")
    story.note("night-3")


def monitor_without_a_run(story: Story) -> None:
    """A run of the monitor that cannot be specified."""
    story.airflow.api.unpause("monitor")
    story.airflow.api.trigger("monitor", "monitor-1", ENDS[2], settings=["nonsense"])
    story.monitored = story.airflow.wait("monitor", "monitor-1")
