"""Three nights with real services: Airflow's scheduler and API server, MLflow's server, a webhook.

Night 1 registers a first champion. Night 2 loses to kill -9 its training process, which has left a
checkpoint, then the task that watches the next training, then the scheduler alone: it still ends,
with one new version. Night 3 gets a corrupted log: it fails, tells, and the champion stays; with
the log mended, its re-run succeeds. The tests read what the story has left.
"""

import json
import shutil
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import polars as pl
import pytest

from tests.integration.conftest import PROJECT
from tests.integration.nights import (
    DAG,
    MODELS,
    POLICIES,
    Story,
    build_nights,
    champion_of,
    monitor_without_a_run,
    night_1,
    night_2,
    night_3,
    versions,
)
from tests.integration.services import Airflow, free_port, mlflow_server, processes, webhook
from tests.raw_logs import planted_events

pytestmark = [pytest.mark.airflow, pytest.mark.integration, pytest.mark.timeout(4800)]


@pytest.fixture(scope="module")
def story(airflow_bin: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    folder = tmp_path_factory.mktemp("nights")
    project = build_nights(folder)
    events = planted_events(
        users_per_block=20, items_per_block=24, events_per_user=16, disliked_per_user=2
    )
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
            night_1(told, events)
            night_2(told, events)
            night_3(told, events)
            monitor_without_a_run(told)
        finally:
            airflow.stop()
        told.left_behind = processes("airflow", str(port)) + processes(str(project.root))
        yield told


def test_nights_end_as_their_logs_allow(story: Story) -> None:
    assert story.states == ["success", "success", "failed", "success"]


def test_first_night_registers_and_promotes(story: Story) -> None:
    assert (story.versions[0], story.champions[0]) == (1, "1")
    assert story.tasks[0]["promote"] == story.tasks[0]["publish"] == "success"


def test_second_night_adds_one_version_and_decides_with_a_reason(story: Story) -> None:
    assert story.versions[1] == 2
    (second,) = [v for v in versions(story.tracking_uri) if v.version == "2"]
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
    assert "pipeline_steps run-stage ingest --run night-3" in post["text"]
    note = story.project.root / ".nightly" / "alerts" / "night-3--ingest.md"
    assert note.read_text() == post["text"]


def test_a_corrupted_log_makes_the_page_red_with_the_reason(story: Story) -> None:
    assert story.tasks[2]["report_unreadable_data"] == "success"
    assert story.tasks[3]["report_unreadable_data"] == "skipped"
    assert story.page["status"] == "alarm"
    data = story.page["checks"][0]
    assert (data["name"], data["status"]) == ("data", "alarm")
    assert data["message"].startswith("ingest of run night-3 ended with exit code 3:")
    assert "max_rejected_share" in data["message"]


def test_a_run_that_cannot_be_specified_is_told_with_the_reason(story: Story) -> None:
    assert story.monitored == "failed"
    (post,) = [post for post in story.posts if post["run"] == "monitor-1"]
    assert (post["dag"], post["stage"]) == ("monitor", "start_run")
    assert "'nonsense': expected KEY=VALUE" in post["text"]
    assert "pipeline_steps start-run --run monitor-1 --end 2023-12-1" in post["text"]
    status = story.published("status/status.json")
    assert status["status"] == "alarm"
    assert status["checks"][0]["message"].startswith("a task of run monitor-1 up to")


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


def test_nobody_is_recommended_what_the_log_says_was_seen(story: Story) -> None:
    latest = story.published("recommendations/latest.json")
    table = pl.read_parquet(story.project.root / "published" / latest["path"])
    log = pl.read_csv(story.project.root / "data/raw/nights/*.csv")
    seen = log.select(pl.col("user").alias("user_id"), pl.col("item").alias("item_id")).unique()
    assert not log.filter(pl.col("rating") == 1).is_empty()  # they are of no interaction
    assert table.join(seen, on=["user_id", "item_id"]).is_empty()


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
    result = story.run("restore", "1", "--out", "old", "--verify")

    assert result.returncode == 0, result.stdout + result.stderr
    assert "metrics of evaluate@" in result.stderr
    status = story.project.run("dvc", "--cd", "old", "status", "split")
    assert "up to date" in status.stdout


def test_rollback_returns_to_the_champion_before(story: Story) -> None:
    before = story.champions[-1]
    other = "2" if before != "2" else "1"
    forced = ("--force", "--reason", "a test of the runbook")
    assert story.run("promote", other, *forced).returncode == 0

    result = story.run("rollback", "--reason", "worse than the one before")

    assert result.returncode == 0, result.stderr
    history = json.loads(story.run("history", "--json").stdout)
    assert champion_of(history) == history["aliases"]["champion"] == before
    assert [record["action"] for record in history["records"][-2:]] == ["promote", "rollback"]


def test_the_table_after_a_rollback_needs_no_log(story: Story) -> None:
    shutil.rmtree(story.project.root / "data" / "raw")
    for operation in ("recommend", "publish"):
        result = story.run("run-stage", operation, "--run", "night-3")
        assert result.returncode == 0, result.stderr
    history = json.loads(story.run("history", "--json").stdout)
    latest = story.published("recommendations/latest.json")
    assert latest["model"]["version"] == champion_of(history)
