"""Three nights with real services: Airflow's scheduler and API server, MLflow's server, a webhook.

Night 1 registers a first champion. Night 2 loses to kill -9 its training process, which has left a
checkpoint, then the task that watches the next training, then the scheduler alone: it still ends,
with one new version. Night 3 gets a corrupted log: it fails, tells, and the champion stays; with
the log mended, its re-run succeeds. The tests read what the story has left.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from tests.integration.conftest import PROJECT, Project, build
from tests.integration.services import (
    Airflow,
    free_port,
    mlflow_server,
    processes,
    wait_until,
    webhook,
)
from tests.raw_logs import Event, planted_events, write_log

pytestmark = [pytest.mark.airflow, pytest.mark.integration, pytest.mark.timeout(4800)]

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
        training: what the trainings of night 2 said that were met in the middle of it.
        page: what the status page says of the corrupted log.
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
    left_behind: list[int] = field(default_factory=list)

    def run(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        """Run a command of the pipeline as somebody on call would."""
        scratch = self.project.traces.with_name("other traces")  # not what the nights have done
        scratch.mkdir(exist_ok=True)
        variables = {**self.airflow.variables, "TRACE_DIR": str(scratch)}
        return self.project.run(sys.executable, "-m", *arguments, **variables)

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
        history = self.run("pipeline_steps.history", "--json")
        assert history.returncode == 0, history.stderr
        self.champions.append(_champion(json.loads(history.stdout)))
        self.versions.append(len(_versions(self.tracking_uri)))

    def published(self, name: str) -> Any:
        """A JSON file among what is published."""
        return json.loads((self.project.root / "published" / name).read_text())


def _champion(history: Any) -> str | None:
    return str(history["records"][-1]["version"]) if history["records"] else None


def _versions(uri: str) -> list[Any]:
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


def _build(folder: Path) -> Project:
    """A project of two models on a log that arrives in three files."""
    project = build(folder)
    shutil.copytree(PROJECT / "scripts", project.root / "scripts")
    shutil.copytree(PROJECT / "presets", project.root / "presets")
    (project.root / ".venv").symlink_to(sys.prefix)
    params = project.params()
    params["models"] = {name: params["models"][name] for name in MODELS}
    params["tune"]["enabled"] = False
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


@pytest.fixture(scope="module")
def story(airflow_bin: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    folder = tmp_path_factory.mktemp("nights")
    project = _build(folder)
    events = planted_events(users_per_block=20, items_per_block=24, events_per_user=16)
    home = folder / "airflow"
    (home / "config").mkdir(parents=True)
    (home / "config" / "airflow_local_settings.py").write_text(POLICIES)
    port = free_port()
    with mlflow_server(folder / "mlflow", free_port()) as uri, webhook() as (hook, posts):
        variables = {
            "MLFLOW_TRACKING_URI": uri,
            "DIFFREC_ALERT_WEBHOOK": hook,
            "PYTHONPATH": str(PROJECT / "tests" / "tracing"),
            "TRACE_DIR": str(project.traces),
            "OMP_NUM_THREADS": "1",
        }
        airflow = Airflow(project.root, airflow_bin, home, port, variables)
        told = Story(project, airflow, uri, posts=posts)
        airflow.start(DAG)
        try:
            _night_1(told, events)
            _night_2(told, events)
            _night_3(told, events)
        finally:
            airflow.stop()
        told.left_behind = processes("airflow", str(port)) + processes(str(project.root))
        yield told


def _night_1(story: Story, events: list[Event]) -> None:
    _arrive(story.project, 0, events)
    story.airflow.api.trigger(DAG, "night-1", ENDS[0])
    story.airflow.api.unpause(DAG)
    story.airflow.wait(DAG, "night-1")
    story.note("night-1")


def _night_2(story: Story, events: list[Event]) -> None:
    """Training is killed, then the task that watches it, then the scheduler."""
    _arrive(story.project, 1, events)
    # long enough to be met in the middle of it
    slow = ["train.diffrec.epochs=400", "train.diffrec.patience_epochs=400"]
    story.airflow.api.trigger(DAG, "night-2", ENDS[1], settings=slow)
    _kill_training(story)
    training = _hold_next_training(story)
    _kill_task(story)
    workers = story.processes("airflow worker -- LocalExecutor")
    _kill(story.processes("airflow", "scheduler"))
    for pid in training:
        os.kill(pid, signal.SIGCONT)
    assert story.airflow.api.state(DAG, "night-2") == "running"  # the API server is up
    story.airflow.start_scheduler()
    story.airflow.wait(DAG, "night-2")
    _kill(workers)  # of the scheduler that was killed: nobody else ends them
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
    ti = story.airflow.api.task(DAG, "night-2", "train.diffrec")
    _kill(story.processes("airflow worker --", ti["id"]))
    _kill(story.processes("pipeline_steps.run_stage", "train@diffrec"))
    logs = story.airflow.home / "logs" / f"dag_id={DAG}/run_id=night-2/task_id=train.diffrec"
    wait_until(
        lambda: any("joining work that goes on" in log.read_text() for log in logs.glob("*.log")),
        seconds=600,
        what="the next try joins the training that goes on",
    )


def _kill(pids: list[int]) -> None:
    """`kill -9`, those that are still there."""
    assert pids, "there is nobody to kill"
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def _night_3(story: Story, events: list[Event]) -> None:
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
    story.airflow.api.clear(DAG, "night-3", "list_raw")
    wait_until(
        lambda: story.airflow.api.state(DAG, "night-3") == "running",
        seconds=600,
        what="it runs again",
    )
    story.airflow.wait(DAG, "night-3")
    story.note("night-3")


def test_nights_end_as_their_logs_allow(story: Story) -> None:
    assert story.states == ["success", "success", "failed", "success"]


def test_first_night_registers_and_promotes(story: Story) -> None:
    assert (story.versions[0], story.champions[0]) == (1, "1")
    assert story.tasks[0]["promote"] == story.tasks[0]["publish"] == "success"


def test_second_night_adds_one_version_and_decides_with_a_reason(story: Story) -> None:
    assert story.versions[1] == 2
    (second,) = [v for v in _versions(story.tracking_uri) if v.version == "2"]
    assert second.tags["gate_decision"] in {"promote", "keep"}
    assert second.tags["gate_reason"]
    promoted = second.tags["gate_decision"] == "promote"
    assert story.champions[1] == ("2" if promoted else "1")
    assert story.tasks[1]["promote"] == ("success" if promoted else "skipped")
    assert story.tasks[1]["recommend"] == story.tasks[1]["publish"] == "success"


def test_kills_make_nothing_that_was_finished_be_computed_again(story: Story) -> None:
    steps = ("ingest", "build_interactions", "split", "pretrain_item_embeddings", "cluster_items")
    models = (*(f"train@{model}" for model in MODELS), "select", "refit", "register")
    assert {step: story.computed[1][step] for step in (*steps, *models)} == dict.fromkeys(
        (*steps, *models), 1
    )


def test_a_killed_training_goes_on_from_its_checkpoint(story: Story) -> None:
    assert "resumed after epoch" in story.training


def test_a_corrupted_log_fails_at_once_and_is_told(story: Story) -> None:
    assert story.tasks[2]["ingest"] == "failed"
    assert story.tasks[2]["build_interactions"] == "upstream_failed"
    assert (story.versions[2], story.champions[2]) == (story.versions[1], story.champions[1])
    # exit code 3: bad data does not get better by trying again
    (post,) = [post for post in story.posts if post["run"] == "night-3"]
    assert (post["dag"], post["stage"]) == (DAG, "ingest")
    assert "max_rejected_share" in post["text"]
    assert "pipeline_steps.run_stage ingest --run night-3" in post["text"]
    note = story.project.root / ".nightly" / "alerts" / "night-3--ingest.md"
    assert note.read_text() == post["text"]


def test_a_corrupted_log_makes_the_page_red_with_the_reason(story: Story) -> None:
    assert story.tasks[2]["data_alarm"] == "success"
    assert story.tasks[3]["data_alarm"] == "skipped"
    assert story.page["status"] == "alarm"
    data = story.page["checks"][0]
    assert (data["name"], data["status"]) == ("data", "alarm")
    assert data["message"].startswith("ingest of run night-3 ended with exit code 3:")
    assert "max_rejected_share" in data["message"]


def test_the_mended_night_computes_each_step_once(story: Story) -> None:
    computed = story.computed[3]
    assert computed["start_run"] == 0
    assert computed["list_raw"] == computed["ingest"] == computed["train@ease"] == 1
    assert story.versions[3] == 3


def test_known_ids_keep_their_indices(story: Story) -> None:
    import mlflow  # noqa: PLC0415  # slow to import

    mlflow.set_tracking_uri(story.tracking_uri)
    vocabularies = []
    for version in ("1", "2", "3"):
        folder = mlflow.artifacts.download_artifacts(f"models:/diffrec/{version}")
        (items,) = Path(folder).rglob("interactions/items.parquet")
        import polars as pl  # noqa: PLC0415

        vocabularies.append(pl.read_parquet(items)["item_id"].to_list())
    for older, newer in pairwise(vocabularies):
        assert newer[: len(older)] == older


def test_recommendations_are_the_champions(story: Story) -> None:
    latest = story.published("recommendations/latest.json")
    assert latest["run"] == "night-3"
    assert latest["model"] == {"name": "diffrec", "version": story.champions[3]}
    table = story.project.root / "published" / latest["path"]
    assert table.is_file()
    assert story.published("gate.json")["candidate"]["version"] == "3"
    assert 'id="gate"' in (story.project.root / "published" / "report.html").read_text()


def test_workers_leave_no_workspace_of_what_succeeded(story: Story) -> None:
    left = (story.project.root / ".nightly" / "workspaces").rglob("repo")
    assert [path.parent.name for path in left] == []


def test_nothing_is_committed_by_a_night(story: Story) -> None:
    log = story.project.run("git", "log", "--oneline").stdout.splitlines()
    assert len(log) == 2
    assert story.project.run("git", "status", "--porcelain").stdout == ""


def test_ctrl_c_leaves_no_process(story: Story) -> None:
    assert story.left_behind == []


def test_an_old_version_is_restored_and_scores_the_same(story: Story) -> None:
    result = story.run("pipeline_steps.restore", "1", "--out", "old", "--verify")

    assert result.returncode == 0, result.stdout + result.stderr
    assert "metrics of evaluate@" in result.stderr
    status = story.project.run("dvc", "--cd", "old", "status", "split")
    assert "up to date" in status.stdout


def test_rollback_returns_to_the_champion_before(story: Story) -> None:
    before = story.champions[-1]
    other = "2" if before != "2" else "1"
    forced = ("--force", "--reason", "a test of the runbook")
    assert story.run("pipeline_steps.promote", other, *forced).returncode == 0

    result = story.run("pipeline_steps.rollback", "--reason", "worse than the one before")

    assert result.returncode == 0, result.stderr
    history = json.loads(story.run("pipeline_steps.history", "--json").stdout)
    assert _champion(history) == history["aliases"]["champion"] == before
    assert [record["action"] for record in history["records"][-2:]] == ["promote", "rollback"]
