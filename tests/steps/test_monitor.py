"""The command on a real ingest and a real registry: what it writes, and when it fails."""

import json
import os
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from diffrec_core.monitoring.checks import ADVICE
from diffrec_core.report.status import WORDS, render_status
from tests.planted_status import faulty_night, quiet_night
from tests.raw_logs import (
    REPOSITORY,
    ingest_section,
    planted_events,
    run_step,
    write_log,
    write_params,
)

NOW = "2023-12-18T06:00:00Z"  # the planted log ends 47 minutes before; 24 rows a day
LAST_DAY = "2023-12-17T00:00:00+00:00"
MONITOR = {"psi_min_rows": 20, "trailing_periods": 10, "champion_min_users": 5}
PARAMS = {
    "list_raw": {"logs": ["log.csv"], "titles": None},
    "ingest": ingest_section(max_rejected_share=0.5),
    "build_interactions": {},
    "monitor": MONITOR,
    "register": {},
}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with events, interactions and the report of ingest."""
    folder = tmp_path_factory.mktemp("night")
    write_log(folder / "log.csv", planted_events(users_per_block=50, items_per_block=24))
    write_params(folder, **PARAMS)
    for line in (
        "list_raw --out raw.json",
        "ingest --raw-manifest raw.json --events events --quarantine quarantine --titles titles "
        "--report ingest.json",
        "build_interactions --events events --titles titles --out interactions",
    ):
        result = run_step(*line.split(), cwd=folder)
        assert result.returncode == 0, result.stderr
    return folder


@pytest.fixture
def night(tmp_path: Path, data: Path) -> Path:
    """A copy of the data, to be spoilt."""
    return Path(shutil.copytree(data, tmp_path / "a night"))


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory, data: Path) -> dict[str, str]:
    """A registry whose champion has not seen the last day, as environment variables."""
    folder = tmp_path_factory.mktemp("registry")
    return register(folder, data, LAST_DAY, 0.6)


def register(folder: Path, data: Path, until: str, recall: float) -> dict[str, str]:
    uri = {"MLFLOW_TRACKING_URI": f"sqlite:///{folder / 'mlflow.db'}"}
    script = REPOSITORY / "tests" / "steps" / "register_champion.py"
    result = subprocess.run(
        [sys.executable, str(script), str(data / "interactions"), until, str(recall)],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1", **uri},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    return uri


def monitor(
    folder: Path, *more: str, store: dict[str, str] | None = None, now: str = NOW
) -> "subprocess.CompletedProcess[str]":
    environment = store or {"MLFLOW_TRACKING_URI": f"sqlite:///{folder / 'none.db'}"}
    places = "--events events --interactions interactions --ingest-report ingest.json --out status"
    return run_step(
        "monitor", *places.split(), "--now", now, *more, cwd=folder, environment=environment
    )


def found(folder: Path) -> dict[str, Any]:
    status = json.loads((folder / "status" / "status.json").read_text())
    return {check["name"]: check for check in status["checks"]} | {"overall": status["status"]}


def change(folder: Path, **values: Any) -> None:
    write_params(folder, **{**PARAMS, "monitor": {**MONITOR, **values}})


def test_a_quiet_night_is_well_and_the_champion_is_measured(
    night: Path, store: dict[str, str]
) -> None:
    later = "2026-01-01T00:00:00Z"  # versions are registered now, years after the planted log
    change(night, champion_age_alarm_days=1e6, champion_age_warn_days=1e6)
    result = monitor(night, store=store)
    assert result.returncode == 0, result.stderr
    checks = found(night)
    assert checks["overall"] == "ok", checks
    assert checks["rows"]["value"] == 1.0
    metric = checks["champion_metric"]
    assert metric["limit"] == {"warn_above": 0.2, "alarm_above": 0.5}
    assert "0.6000 that it was promoted with" in metric["message"]
    assert "from 2023-12-17 00:" in metric["message"]
    assert monitor(night, store=store, now=later).returncode == 7


def test_the_champions_metric_is_that_of_the_gate_by_hand(
    night: Path, store: dict[str, str]
) -> None:
    """A user's items all lie in the user's block of 24, so most of 20 recommended are right."""
    monitor(night, store=store)
    day = pl.read_parquet(night / "interactions" / "interactions.parquet").filter(
        pl.col("timestamp").is_between(
            pl.lit(LAST_DAY).str.to_datetime(time_unit="us"),
            pl.lit("2023-12-18T00:00:00+00:00").str.to_datetime(time_unit="us"),
            closed="left",
        )
    )
    metric = found(night)["champion_metric"]
    assert f"over {day['user'].n_unique()} users" in metric["message"]
    assert 1 - metric["value"] > 0  # of what was measured, times 0.6
    recall = (1 - metric["value"]) * 0.6
    assert 0.75 < recall <= 1


def test_a_champion_that_was_better_when_promoted_raises_the_alarm(
    night: Path, data: Path, tmp_path: Path
) -> None:
    better = register(tmp_path, data, LAST_DAY, 3.0)  # a recall that nobody can have
    result = monitor(night, store=better)
    assert result.returncode == 7
    assert found(night)["champion_metric"]["status"] == "alarm"
    assert "champion_metric" in result.stderr
    # the same store, its artifacts lost: the champion cannot be loaded, so it cannot serve
    shutil.rmtree(tmp_path / "mlruns", ignore_errors=True)
    shutil.rmtree(tmp_path / "mlartifacts", ignore_errors=True)
    assert monitor(night, store=better).returncode == 7
    assert "cannot be loaded" in found(night)["champion_metric"]["message"]


def test_a_champion_that_has_seen_the_newest_day_is_not_measured_on_it(
    night: Path, store: dict[str, str]
) -> None:
    monitor(night, store=store, now="2023-12-17T01:00:00Z")
    metric = found(night)["champion_metric"]
    assert metric["status"] == "ok"
    assert "nothing new to measure it on" in metric["message"]


def test_a_score_that_somebody_else_measured_is_taken(night: Path, store: dict[str, str]) -> None:
    score = {"metric": "ndcg@5", "value": 0.1, "users": 999, "expected": 0.5, "window": "Sunday"}
    (night / "score.json").write_text(json.dumps(score))
    assert monitor(night, "--champion-score", "score.json", store=store).returncode == 7
    assert found(night)["champion_metric"]["value"] == pytest.approx(0.8)
    (night / "score.json").write_text(json.dumps({"metric": "ndcg@5"}))
    result = monitor(night, "--champion-score", "score.json", store=store)
    assert result.returncode == 4
    assert "needs metric, value, users, expected and window" in result.stderr


def test_without_a_registry_the_champion_is_not_known_and_no_registry_is_made(night: Path) -> None:
    result = monitor(night)
    assert result.returncode == 0, result.stderr
    checks = found(night)
    assert checks["overall"] == "unknown"
    assert "nothing was registered yet" in checks["champion_age"]["message"]
    assert not list(night.rglob("*.db"))


def test_a_registry_without_a_champion_raises_the_alarm(night: Path, store: dict[str, str]) -> None:
    result = monitor(night, "--model-name", "another", store=store)
    assert result.returncode == 7
    assert "no version of another is champion" in result.stderr


def test_the_alarm_comes_after_the_status_was_written(night: Path) -> None:
    result = monitor(night, now="2023-12-25T00:00:00Z")
    assert result.returncode == 7
    checks = found(night)
    assert [name for name, c in checks.items() if name != "overall" and c["status"] == "alarm"] == [
        "freshness",
        "rows",
    ]
    assert "alarm by 2 of 7 checks" in result.stderr
    assert ADVICE["freshness"] in result.stderr
    assert "ALARM" in (night / "status" / "status.html").read_text()
    assert "Traceback" not in result.stderr


def test_quarantined_rows_raise_the_alarm(night: Path) -> None:
    report = json.loads((night / "ingest.json").read_text())
    assert report["rejected"] == 0
    report |= {"rejected": 40, "rejected_by_reason": {"no user_id": 40}}
    (night / "ingest.json").write_text(json.dumps(report))
    assert monitor(night).returncode == 7
    assert found(night)["quarantined"]["value"] == 40 / report["rows_read"]


def test_the_same_night_twice_gives_the_same_bytes(night: Path) -> None:
    monitor(night)
    first = [path.read_bytes() for path in sorted((night / "status").iterdir())]
    monitor(night)
    assert [path.read_bytes() for path in sorted((night / "status").iterdir())] == first
    assert len(first) == 2


def test_a_week_can_be_compared(night: Path) -> None:
    change(night, period="week", trailing_periods=2)
    assert monitor(night).returncode == 0
    assert found(night)["rows"]["message"].startswith("the newest week has 168 rows, 1.00 times")


def test_old_partitions_between_are_not_read(night: Path) -> None:
    """Years of events cost nothing: a day that is not looked at may even be broken."""
    between = night / "events" / "date=2023-11-20" / "part-0.parquet"
    between.write_bytes(b"no parquet")
    assert monitor(night).returncode == 0


SPOILT = {
    "a corrupt day": (lambda night: corrupt_day(night), 4, "cannot be read"),
    "no events": (lambda night: shutil.rmtree(night / "events"), 4, "run the stage `ingest`"),
    "no interactions": (lambda night: shutil.rmtree(night / "interactions"), 4, "is missing"),
    "no report": (lambda night: (night / "ingest.json").unlink(), 4, "is missing"),
    "half a report": (lambda night: (night / "ingest.json").write_text("{"), 4, "not valid JSON"),
    "another report": (lambda night: (night / "ingest.json").write_text("{}"), 4, "rows_read"),
    "a file for a folder": (lambda night: (night / "status").write_text("x"), 5, "status"),
    "a bad limit": (lambda night: change(night, psi_warn=0.5), 2, "must not exceed psi_alarm"),
    "an unknown key": (lambda night: change(night, psi_wrn=0.5), 2, "did you mean 'psi_warn'"),
}


def corrupt_day(night: Path) -> None:
    newest = sorted((night / "events").glob("date=*/*.parquet"))[-1]
    newest.write_bytes(newest.read_bytes()[:100])


@pytest.mark.parametrize("name", SPOILT)
def test_what_cannot_be_looked_at_is_said(night: Path, name: str) -> None:
    spoil, code, words = SPOILT[name]
    spoil(night)
    result = monitor(night)
    assert result.returncode == code, result.stderr
    assert words in result.stderr
    assert "Traceback" not in result.stderr


def test_a_corrupt_status_is_replaced(night: Path) -> None:
    (night / "status").mkdir()
    (night / "status" / "status.json").write_text("{")
    (night / "status" / ".status.json.1.tmp").write_text("half")
    assert monitor(night).returncode == 0
    assert found(night)["overall"] == "unknown"


def test_a_time_that_is_none_is_refused(night: Path) -> None:
    result = monitor(night, now="yesterday")
    assert result.returncode == 2
    assert "write it as 2026-11-24T00:00:00Z" in result.stderr


class Page(HTMLParser):
    """Elements in order; every one that is opened must be closed."""

    EMPTY = frozenset({"meta", "link", "rect", "polyline", "br"})

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in self.EMPTY:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.mark.parametrize("night_status", [faulty_night(), quiet_night()], ids=["faulty", "quiet"])
def test_the_page_is_well_formed_and_holds_every_check(night_status: Any) -> None:
    html = render_status(night_status, "https://wiki.example/runbook")
    page = Page(html)
    sections = {a["id"]: a["class"] for tag, a in page.elements if tag == "section"}
    assert sections == {check.name: f"check {check.status}" for check in night_status.checks}
    assert "src=" not in html
    assert "url(" not in html
    links = {a["href"] for tag, a in page.elements if tag == "a"}
    wrong = [check for check in night_status.checks if check.status != "ok"]
    anchors = {check.name.replace("_", "-") for check in wrong}
    assert links == {f"https://wiki.example/runbook#monitor-{anchor}" for anchor in anchors}
    drawings = [a for tag, a in page.elements if tag == "svg"]
    assert len(drawings) == 3
    assert all(a["role"] == "img" and a["aria-label"] for a in drawings)
    for check in night_status.checks:
        assert WORDS[check.status][1] in html


def test_what_a_log_says_is_escaped() -> None:
    night_status = faulty_night()
    quarantined = night_status.checks[2]
    object.__setattr__(quarantined, "message", "<script>alert(1)</script>")
    assert "<script" not in render_status(night_status, "x")
