"""The command on a real ingest and a real registry: what it writes, and when it fails."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import polars as pl
import pytest
from ruamel.yaml import YAML

from diffrec_core.common.errors import ArtifactError
from diffrec_core.contest.config import GateConfig
from diffrec_core.contest.measures import Answers
from diffrec_core.monitoring.checks import ADVICE, Check
from diffrec_core.monitoring.config import MonitorConfig
from diffrec_core.monitoring.periods import Periods
from diffrec_core.report.status import WORDS, render_status
from pipeline_steps.monitoring import measure_champion as measuring
from pipeline_steps.monitoring import monitor as step
from pipeline_steps.monitoring.find_table import find_table
from pipeline_steps.monitoring.measure_champion import Champion, measure_champion
from pipeline_steps.nights.store import Store
from pipeline_steps.registry.versions import Version
from pipeline_steps.runtime.command import execute
from tests.planted_status import faulty_night, quiet_night
from tests.raw_logs import (
    REPOSITORY,
    ingest_section,
    planted_events,
    run_step,
    write_log,
    write_params,
)

# MLflow's tables are declared in a way that SQLAlchemy warns of
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

NOW = "2023-12-18T06:00:00Z"  # the planted log ends 47 minutes before; 24 rows a day
LAST_DAY = datetime(2023, 12, 17, tzinfo=UTC)
PLACES = "--events events --interactions interactions --ingest-report ingest.json --out status"
MONITOR = {"trailing_periods": 10, "champion_min_users": 5}
PARAMS = {
    "list_raw": {"logs": ["log.csv"], "titles": None},
    "ingest": ingest_section(max_rejected_share=0.5),
    "build_interactions": {},
    "monitor": MONITOR,
    "gate": {},
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
    """A copy of the data, to be spoilt, and a published table."""
    folder = Path(shutil.copytree(data, tmp_path / "a night"))
    publish_table(folder)
    return folder


def publish_table(folder: Path, **changes: Any) -> None:
    """The table of the newest night, as latest.json has it."""
    table = folder / "published/recommendations/night/table.parquet"
    table.parent.mkdir(parents=True, exist_ok=True)
    table.touch()
    latest = {
        "run": "night", "path": "recommendations/night/table.parquet",
        "model": {"name": "diffrec", "version": "3"}, "end": "2023-12-18T00:00:00+00:00",
        "published": "2023-12-18T01:10:00+00:00", **changes,
    }  # fmt: skip
    (table.parent.parent / "latest.json").write_text(json.dumps(latest))


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory, data: Path) -> dict[str, str]:
    """A registry whose champion has not seen the last day, as environment variables."""
    folder = tmp_path_factory.mktemp("registry")
    return register(folder, data, LAST_DAY.isoformat(), 0.6)


@pytest.fixture(scope="module")
def calm(tmp_path_factory: pytest.TempPathFactory, data: Path) -> dict[str, str]:
    """A registry whose champion has seen all, so that it is not measured."""
    return register(tmp_path_factory.mktemp("calm"), data, NOW, 0.6)


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


@dataclass(frozen=True, slots=True)
class Ended:
    """How the command ended."""

    returncode: int
    stderr: str


Monitor = Callable[..., Ended]


@pytest.fixture
def monitor(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], calm: dict[str, str]
) -> Monitor:
    """Runs the command line in this process: to import all that it needs takes seconds."""

    def run(folder: Path, *more: str, store: dict[str, str] | None = None, now: str = NOW) -> Ended:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", (store or calm)["MLFLOW_TRACKING_URI"])
        monkeypatch.setenv("DIFFREC_PUBLISH", str(folder / "published"))
        monkeypatch.chdir(folder)
        monkeypatch.setattr(sys, "argv", ["monitor", *PLACES.split(), "--now", now, *more])
        with pytest.raises(SystemExit) as ended:
            execute(step.run)
        code = ended.value.code
        return Ended(code if isinstance(code, int) else 1, capsys.readouterr().err)

    return run


def found(folder: Path) -> dict[str, Any]:
    status = json.loads((folder / "status" / "status.json").read_text())
    return {check["name"]: check for check in status["checks"]} | {"overall": status["status"]}


def change(folder: Path, **values: Any) -> None:
    write_params(folder, **{**PARAMS, "monitor": {**MONITOR, **values}})


def test_a_quiet_night_is_well_and_the_champion_is_measured(
    monitor: Monitor, night: Path, store: dict[str, str]
) -> None:
    result = monitor(night, store=store)
    assert result.returncode == 0, result.stderr
    checks = found(night)
    assert checks["overall"] == "ok", checks
    assert checks["rows"]["value"] == 1.0
    metric = checks["champion_metric"]
    assert "0.6000 that it was promoted with" in metric["message"]
    frame = pl.read_parquet(night / "interactions" / "interactions.parquet")
    day = frame.filter(pl.col("timestamp").dt.date() == LAST_DAY.date())
    assert f"over {day['user'].n_unique()} users" in metric["message"]
    # users touch items of a block of 24 alone, so 20 recommended ones hold most of the others
    assert 0.75 < (1 - metric["value"]) * 0.6 <= 1


def asked(
    folder: Path,
    expected: dict[str, float],
    until: datetime = LAST_DAY,
    tags: dict[str, str] | None = None,
) -> Check:
    version = Version("diffrec", "3", "run", {"data_last": until.isoformat(), **(tags or {})})
    return measure_champion(
        Champion(version, expected),
        folder / "interactions",
        Periods.before(datetime.fromisoformat(NOW), "day", 10),
        gate=GateConfig(),
        config=MonitorConfig(champion_min_users=5),
    )


def test_a_metric_by_hand(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first of the users is answered with what the user then did, the others with nothing."""

    def answer(cases: pl.DataFrame, uris: list[str], k: int, _: Path) -> dict[str, Any]:
        assert (uris, k) == (["models:/diffrec/3"], 20)
        right = [cases["targets"][0].to_list(), *[[] for _ in range(len(cases) - 1)]]
        return {uris[0]: SimpleNamespace(answers=Answers(right, ["history"] * len(cases)))}

    monkeypatch.setattr(measuring, "score_versions", answer)
    check = asked(data, {"test_recall_at_20": 0.5})
    users = int(re.search(r"over (\d+) users", check.message)[1])
    assert users > 10
    assert check.value == pytest.approx(1 - (1 / users) / 0.5)
    assert check.status == "alarm"
    assert asked(data, {}).status == "unknown"
    gated = {"gate_metric": "recall@20", "gate_candidate": str(1 / users)}
    assert asked(data, {"test_recall_at_20": 0.5}, tags=gated).value == pytest.approx(0)
    other = {**gated, "gate_metric": "ndcg@20"}
    assert asked(data, {"test_recall_at_20": 0.5}, tags=other).status == "alarm"


def test_a_champion_that_cannot_be_loaded_raises_the_alarm(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise ArtifactError("models:/diffrec/3 cannot be scored")

    monkeypatch.setattr(measuring, "score_versions", fail)
    check = asked(data, {})
    assert check.status == "alarm"
    assert "cannot be loaded: models:/diffrec/3 cannot be scored" in check.message


@pytest.mark.parametrize(
    ("until", "words"),
    [
        (datetime(2023, 12, 18, tzinfo=UTC), "nothing new to measure it on"),
        (datetime(2023, 12, 17, 23, 30, tzinfo=UTC), "nobody with a history was active"),
        (datetime(2023, 12, 17, 20, tzinfo=UTC), "too few to judge"),
    ],
)
def test_a_champion_that_has_seen_the_newest_day_is_not_measured_on_it(
    data: Path, until: datetime, words: str
) -> None:
    check = asked(data, {}, until)
    assert (check.status, check.value) == ("ok", None)
    assert words in check.message


def test_a_champion_that_does_not_say_what_it_knows_is_not_measured(data: Path) -> None:
    check = asked(data, {}, tags={"data_last": "none"})
    assert check.status == "unknown"
    assert "does not say what it was trained on" in check.message


def test_drift_is_judged_when_there_are_rows_enough(monitor: Monitor, night: Path) -> None:
    change(night, psi_min_rows=20)  # of two dozen, which chance alone moves
    assert monitor(night).returncode == 7
    assert found(night)["popularity_drift"]["value"] > 0.25


def test_the_command_as_the_night_runs_it(data: Path, tmp_path: Path) -> None:
    places = PLACES.replace("status", str(tmp_path / "status")).split()
    away = {"DIFFREC_PUBLISH": str(tmp_path / "none")}
    moment = ("--now", "2023-12-25T00:00:00Z")
    result = run_step("monitor", *places, *moment, cwd=data, environment=away)
    assert result.returncode == 7, result.stderr
    assert "alarm by 3 of 9 checks" in result.stderr  # there is no registry either
    assert sorted(path.name for path in (tmp_path / "status").iterdir()) == [
        "status.html",
        "status.json",
    ]


def test_a_score_that_somebody_else_measured_is_taken(
    monitor: Monitor, night: Path, store: dict[str, str]
) -> None:
    score = {"metric": "ndcg@5", "value": 0.1, "users": 999, "expected": 0.5, "window": "Sunday"}
    (night / "score.json").write_text(json.dumps(score))
    assert monitor(night, "--champion-score", "score.json", store=store).returncode == 7
    assert found(night)["champion_metric"]["value"] == pytest.approx(0.8)
    (night / "score.json").write_text(json.dumps({"metric": "ndcg@5"}))
    result = monitor(night, "--champion-score", "score.json", store=store)
    assert result.returncode == 4
    assert "needs metric, value, users, expected and window" in result.stderr


@pytest.mark.parametrize(
    ("uri", "words"),
    [
        ("sqlite:///none.db", "nothing was registered yet"),
        ("http://127.0.0.1:1", "Connection refused"),
    ],
)
def test_a_registry_that_cannot_be_read_raises_the_alarm_and_is_not_made(
    monitor: Monitor, night: Path, monkeypatch: pytest.MonkeyPatch, uri: str, words: str
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    result = monitor(night, store={"MLFLOW_TRACKING_URI": uri})
    assert result.returncode == 7
    assert "alarm by 1 of 9 checks" in result.stderr
    checks = found(night)
    assert "the champion cannot be loaded" in checks["champion_metric"]["message"]
    assert words in checks["champion_metric"]["message"]
    assert checks["champion_age"]["status"] == "unknown"
    assert not list(night.rglob("*.db"))


def test_a_registry_without_a_champion_raises_the_alarm(
    monitor: Monitor, night: Path, store: dict[str, str]
) -> None:
    result = monitor(night, "--model-name", "another", store=store)
    assert result.returncode == 7
    assert "no version of another is champion" in result.stderr


def test_the_alarm_comes_after_the_status_was_written(monitor: Monitor, night: Path) -> None:
    result = monitor(night, now="2023-12-25T00:00:00Z")
    assert result.returncode == 7
    checks = found(night)
    assert [name for name, c in checks.items() if name != "overall" and c["status"] == "alarm"] == [
        "freshness",
        "rows",
        "table_age",
    ]
    assert "alarm by 3 of 9 checks" in result.stderr
    assert ADVICE["freshness"] in result.stderr
    assert "ALARM" in (night / "status" / "status.html").read_text()
    assert "Traceback" not in result.stderr


def test_the_age_of_the_table_is_shown(monitor: Monitor, night: Path) -> None:
    assert monitor(night).returncode == 0
    check = found(night)["table_age"]
    assert (check["status"], check["value"]) == ("ok", 6.0)
    assert check["message"] == (
        "the current table, of run night by diffrec version 3, is of data until 2023-12-18 00:00 "
        "UTC, 6.0 hours ago, and was published at 2023-12-18T01:10:00+00:00; warn after 24 hours, "
        "alarm after 48 hours"
    )
    page = (night / "status" / "status.html").read_text()
    assert "Age of the published table" in page
    assert "6.0 h" in page


def test_an_old_table_raises_the_alarm(monitor: Monitor, night: Path) -> None:
    publish_table(night, end="2023-12-16T05:59:00+00:00")
    result = monitor(night)
    assert result.returncode == 7
    assert "alarm by 1 of 9 checks" in result.stderr
    assert ADVICE["table_age"] in result.stderr
    change(night, table_age_warn_hours=None, table_age_alarm_hours=None)
    assert monitor(night).returncode == 0
    assert found(night)["table_age"]["status"] == "ok"


def no_table(folder: Path) -> None:
    shutil.rmtree(folder / "published")


def no_file(folder: Path) -> None:
    (folder / "published/recommendations/night/table.parquet").unlink()


def half_latest(folder: Path) -> None:
    (folder / "published/recommendations/latest.json").write_text('{"run": "ni')


def no_latest_but_a_list(folder: Path) -> None:
    (folder / "published/recommendations/latest.json").write_text("[]")


@pytest.mark.parametrize(
    ("spoil", "status", "words"),
    [
        (no_table, "unknown", "no table was published yet"),
        (no_file, "alarm", "names recommendations/night/table.parquet, which is missing"),
        (half_latest, "alarm", "latest.json is damaged"),
        (no_latest_but_a_list, "alarm", "latest.json is damaged"),
    ],
)
def test_a_table_that_consumers_cannot_read_raises_the_alarm(
    monitor: Monitor, night: Path, spoil: Callable[[Path], None], status: str, words: str
) -> None:
    spoil(night)
    assert monitor(night).returncode == {"unknown": 0, "alarm": 7}[status]
    check = found(night)["table_age"]
    assert (check["status"], check["value"]) == (status, None)
    assert words in check["message"]


def test_a_place_of_tables_that_cannot_be_read_is_not_known(
    night: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> None:
        raise PermissionError("no permission")

    monkeypatch.setattr(Store, "read_if_there", fail)
    moment = datetime.fromisoformat(NOW)
    check = find_table(Store(str(night / "published")), moment, MonitorConfig())
    assert (check.status, check.message) == (
        "unknown", "what is published cannot be read: no permission"
    )  # fmt: skip


def test_the_age_of_the_champions_weights_is_that_of_its_training_data(
    monitor: Monitor, night: Path, store: dict[str, str]
) -> None:
    assert monitor(night, store=store).returncode == 0
    check = found(night)["weights_age"]
    assert check["status"] == "ok"
    assert check["value"] == pytest.approx(1.27, abs=0.02)  # it ends a little before the last day
    change(night, weights_age_warn_days=1.0, weights_age_alarm_days=1.2)
    assert monitor(night, store=store).returncode == 7
    assert found(night)["weights_age"]["status"] == "alarm"


def test_quarantined_rows_raise_the_alarm(monitor: Monitor, night: Path) -> None:
    report = json.loads((night / "ingest.json").read_text())
    assert report["rejected"] == 0
    report |= {"rejected": 40, "rejected_by_reason": {"no user_id": 40}}
    (night / "ingest.json").write_text(json.dumps(report))
    assert monitor(night).returncode == 7
    assert found(night)["quarantined"]["value"] == 40 / report["rows_read"]


def test_the_alarm_of_quarantined_rows_comes_before_ingest_fails() -> None:
    own = YAML(typ="safe").load(REPOSITORY / "params.yaml")
    assert own["monitor"]["quarantined_alarm_share"] < own["ingest"]["max_rejected_share"]


def test_the_same_night_twice_gives_the_same_bytes(monitor: Monitor, night: Path) -> None:
    monitor(night)
    first = [path.read_bytes() for path in sorted((night / "status").iterdir())]
    monitor(night)
    assert [path.read_bytes() for path in sorted((night / "status").iterdir())] == first
    assert len(first) == 2


def test_a_week_can_be_compared(monitor: Monitor, night: Path) -> None:
    change(night, period="week", trailing_periods=2)
    assert monitor(night).returncode == 0
    assert found(night)["rows"]["message"].startswith("the newest week has 168 rows, 1.00 times")


def test_old_partitions_between_are_not_read(monitor: Monitor, night: Path) -> None:
    """Years of events cost nothing: a day that is not looked at may even be broken."""
    between = night / "events" / "date=2023-11-20" / "part-0.parquet"
    between.write_bytes(b"no parquet")
    assert monitor(night).returncode == 0


def corrupt_day(night: Path) -> None:
    newest = sorted((night / "events").glob("date=*/*.parquet"))[-1]
    newest.write_bytes(newest.read_bytes()[:100])


SPOILT = {
    "a corrupt day": (corrupt_day, 4, "cannot be read"),
    "no events": (lambda night: shutil.rmtree(night / "events"), 4, "run the stage `ingest`"),
    "no interactions": (lambda night: shutil.rmtree(night / "interactions"), 4, "is missing"),
    "no report": (lambda night: (night / "ingest.json").unlink(), 4, "is missing"),
    "half a report": (lambda night: (night / "ingest.json").write_text("{"), 4, "not valid JSON"),
    "another report": (lambda night: (night / "ingest.json").write_text("{}"), 4, "rows_read"),
    "a file for a folder": (lambda night: (night / "status").write_text("x"), 5, "status"),
    "a bad limit": (lambda night: change(night, psi_warn=0.5), 2, "must not exceed psi_alarm"),
    "an unknown key": (lambda night: change(night, psi_wrn=0.5), 2, "did you mean 'psi_warn'"),
}


@pytest.mark.parametrize("name", SPOILT)
def test_what_cannot_be_looked_at_is_said(monitor: Monitor, night: Path, name: str) -> None:
    spoil, code, words = SPOILT[name]
    spoil(night)
    result = monitor(night)
    assert result.returncode == code, result.stderr
    assert words in result.stderr
    assert "Traceback" not in result.stderr
    if code == 4:  # the page tells it too, in place of yesterday's verdict
        checks = found(night)
        assert checks["overall"] == checks["data"]["status"] == "alarm"
        assert words in checks["data"]["message"]
        assert checks["freshness"]["status"] == checks["champion_metric"]["status"] == "unknown"
        assert checks["champion_age"]["status"] == checks["table_age"]["status"] == "ok"
        assert words in unescape((night / "status" / "status.html").read_text())
    else:
        assert not (night / "status" / "status.html").exists()


def test_a_corrupt_status_is_replaced(monitor: Monitor, night: Path) -> None:
    (night / "status").mkdir()
    (night / "status" / "status.json").write_text("{")
    (night / "status" / ".status.json.1.tmp").write_text("half")
    assert monitor(night).returncode == 0
    assert found(night)["overall"] == "ok"


def test_a_time_that_is_none_is_refused(monitor: Monitor, night: Path) -> None:
    result = monitor(night, now="yesterday")
    assert result.returncode == 2
    assert "write it as 2026-11-24T00:00:00Z" in result.stderr


class Page(HTMLParser):
    """Elements in order; every one that is opened must be closed."""

    EMPTY = frozenset({"meta", "link", "path", "br"})

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
