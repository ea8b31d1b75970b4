"""report-unreadable-data: a page that is red with the reason, where there are no data to check."""

import json
from html import unescape
from pathlib import Path
from typing import Any

import pytest

from diffrec_core.monitoring.checks import ADVICE
from pipeline_steps.monitoring import report_unreadable_data
from pipeline_steps.nights.runs import End, Run, RunSpec, leave_end
from pipeline_steps.nights.store import Store
from pipeline_steps.runtime.command import execute
from tests.raw_logs import REPOSITORY

END = "2026-11-24T00:00:00+00:00"
STAGES = ("list_raw", "ingest", "build_interactions")
REASON = "40 of 1000 rows (4.00%) were rejected\n  for example:\n    log.csv:3: <no> user_id"


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    """What machines share, with a page of the day before; there is no registry."""
    monkeypatch.setenv("DIFFREC_REMOTE", str(tmp_path / "remote"))
    monkeypatch.setenv("DIFFREC_PUBLISH", str(tmp_path / "published"))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/none.db")
    status = tmp_path / "published" / "status"
    status.mkdir(parents=True)
    for name in ("status.json", "status.html"):
        (status / name).write_text("all was well yesterday")
    return Store(str(tmp_path / "remote" / "store"))


def specify(store: Store, **monitor: Any) -> None:
    spec = RunSpec(
        run="night", commit="c0ffee", start=None, end=END, dry_run=False, previous=None, created=""
    )
    params = {"monitor": monitor, "register": {"model_name": "shop"}}
    Run(store, spec).specify(json.dumps(params))


def call(monkeypatch: pytest.MonkeyPatch, *more: str) -> int:
    arguments = ["--run", "night", *more, "--stages", *STAGES]
    monkeypatch.setattr("sys.argv", ["report-unreadable-data", *arguments])
    with pytest.raises(SystemExit) as end:
        execute(report_unreadable_data.run)
    return int(end.value.code or 0)


def published(tmp_path: Path) -> tuple[dict[str, Any], str]:
    folder = tmp_path / "published" / "status"
    status = json.loads((folder / "status.json").read_text())
    return status, (folder / "status.html").read_text()


def test_the_page_is_red_and_says_why(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    specify(store, period="week", runbook="https://wiki.example/runbook")
    leave_end(store, "night", "list_raw", End(0, ""))
    leave_end(store, "night", "ingest", End(3, REASON))
    leave_end(store, "night", "train@ease", End(1, "a reason of another day"))

    assert call(monkeypatch) == 0

    status, page = published(tmp_path)
    assert (status["status"], status["now"]) == ("alarm", END)
    assert status["period"]["unit"] == "week"
    checks = {check["name"]: check for check in status["checks"]}
    assert list(checks) == list(ADVICE)
    assert checks["data"]["message"] == f"ingest of run night ended with exit code 3:\n{REASON}"
    assert {name for name, check in checks.items() if check["status"] == "alarm"} == {
        "data", "champion_metric"
    }  # fmt: skip
    assert {check["status"] for name, check in checks.items() if "drift" in name} == {"unknown"}
    assert "ALARM" in page
    assert REASON in unescape(page)
    assert "<no>" not in page
    assert "https://wiki.example/runbook#monitor-data" in page


def test_a_stage_that_failed_before_and_was_mended_is_no_reason(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    specify(store)
    leave_end(store, "night", "ingest", End(3, REASON))
    leave_end(store, "night", "ingest", End(0, ""))
    leave_end(store, "night", "build_interactions", End(3, "nothing is left after the filters"))

    assert call(monkeypatch) == 0

    status, _ = published(tmp_path)
    assert status["checks"][0]["message"].endswith("nothing is left after the filters")


def test_a_run_that_nobody_could_specify_makes_it_red_too(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(report_unreadable_data, "repository_root", lambda: REPOSITORY)
    assert call(monkeypatch) == 0
    status, _ = published(tmp_path)
    assert "a task of run night up to build_interactions" in status["checks"][0]["message"]

    (tmp_path / "params.yaml").write_text("monitor: {psi_warn: nonsense}\nregister: {}\n")
    monkeypatch.setattr(report_unreadable_data, "repository_root", lambda: tmp_path)
    assert call(monkeypatch) == 0
    status, _ = published(tmp_path)
    assert status["status"] == "alarm"
    assert "monitor.psi_warn" in status["checks"][0]["message"]


def test_a_dry_run_publishes_nothing(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert call(monkeypatch, "--dry-run") == 99
    page = tmp_path / "published" / "status" / "status.html"
    assert page.read_text() == "all was well yesterday"
