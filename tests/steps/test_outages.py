"""MLflow is away, busy or locked: exit code 5, which is tried again; what is wrong stays 2 or 4."""

import sqlite3
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

import polars as pl
import pytest
import requests
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from mlflow.protos import databricks_pb2
from sqlalchemy import event
from sqlalchemy.engine import Engine
from sqlalchemy.exc import OperationalError

from diffrec_core.common.errors import ConfigError, StorageError
from diffrec_core.monitoring.checks import Check
from diffrec_core.monitoring.config import MonitorConfig
from pipeline_steps.champion import history
from pipeline_steps.monitoring import measure_champion, monitor
from pipeline_steps.registry import versions
from pipeline_steps.registry.scoring import score_versions
from pipeline_steps.registry.tracking import tracking
from pipeline_steps.registry.transient_errors import is_transient
from tests.steps.registries import call

NOBODY = "http://127.0.0.1:1"
"""Nothing listens there."""


@pytest.fixture
def away(client: MlflowClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", NOBODY)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")


@pytest.fixture
def impatient() -> Iterator[None]:
    """MLflow waits for a lock for 20 seconds."""

    def ask(*given: object) -> tuple[object, object]:
        statement, parameters = given[2], given[3]
        return str(statement).replace("busy_timeout = 20000", "busy_timeout = 1"), parameters

    event.listen(Engine, "before_cursor_execute", ask, retval=True)
    yield
    event.remove(Engine, "before_cursor_execute", ask)


def test_a_server_that_is_away(away: None) -> None:
    result = call(history)
    assert result.returncode == 5
    assert f"MLflow at {NOBODY} cannot be reached, or is busy" in result.stderr
    assert "run the same command again" in result.stderr
    assert "Traceback" not in result.stderr


def test_a_locked_database(client: MlflowClient, impatient: None, tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "mlflow.db", isolation_level=None) as other:
        other.execute("BEGIN EXCLUSIVE")
        result = call(history)
        other.execute("ROLLBACK")
    other.close()
    assert result.returncode == 5
    assert "database is locked" in result.stderr
    assert call(history).returncode == 0


def test_a_wrong_name_is_no_outage(client: MlflowClient) -> None:
    client.delete_experiment(client.create_experiment("gone"))
    with pytest.raises(ConfigError, match="gone"), tracking("gone"):
        pass


def test_a_version_cannot_be_scored_where_mlflow_is_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", NOBODY)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    cases = pl.DataFrame({"user_id": ["u"], "items": [["i"]], "timestamps": [[1.0]], "seen": [[]]})
    with pytest.raises(StorageError, match=r"models:/diffrec/1 cannot be scored \(exit code 5\)"):
        score_versions(cases, ["models:/diffrec/1"], 3, tmp_path)


def test_a_registry_that_is_away_is_an_alarm_of_the_monitor(away: None) -> None:
    now = datetime(2026, 11, 24, tzinfo=UTC)
    ages, metric = measure_champion.find_champion("diffrec", now, MonitorConfig())
    assert isinstance(metric, Check)
    assert [check.status for check in ages] == ["unknown", "unknown"]
    assert metric.status == "alarm"
    assert "cannot be reached" in metric.message


def test_the_monitor_does_not_take_an_outage_for_a_champion_that_is_damaged(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise StorageError("MLflow is away")

    monkeypatch.setattr(measure_champion, "score_versions", fail)
    monkeypatch.setattr(measure_champion, "_cases", lambda *_: (None, range(1000)))
    version = versions.Version("m", "1", "r", {"data_last": "2026-11-01T00:00:00+00:00"})
    end = datetime(2026, 11, 24, tzinfo=UTC)
    periods = SimpleNamespace(start=lambda _: datetime(2026, 11, 23, tzinfo=UTC), end=end)
    check = measure_champion.measure_champion(
        measure_champion.Champion(version, {}),
        Path(),
        periods,  # type: ignore[arg-type]
        monitor.GateConfig(),
        MonitorConfig(),
    )
    assert check.status == "unknown"
    assert "MLflow is away" in check.message


def http_error(status: int) -> requests.HTTPError:
    response = requests.Response()
    response.status_code = status
    return requests.HTTPError(response=response)


@pytest.mark.parametrize(
    ("error", "passes"),
    [
        (MlflowException("connection refused"), True),
        (MlflowException("locked", databricks_pb2.TEMPORARILY_UNAVAILABLE), True),
        (MlflowException("slow", databricks_pb2.DEADLINE_EXCEEDED), True),
        (MlflowException("busy", databricks_pb2.REQUEST_LIMIT_EXCEEDED), True),
        (MlflowException("name", databricks_pb2.INVALID_PARAMETER_VALUE), False),
        (MlflowException("absent", databricks_pb2.RESOURCE_DOES_NOT_EXIST), False),
        (MlflowException("who are you", databricks_pb2.PERMISSION_DENIED), False),
        (OperationalError("SELECT", {}, Exception("the database is away")), True),
        (requests.ConnectionError("reset"), True),
        (requests.Timeout("slow"), True),
        (http_error(503), True),
        (http_error(429), True),
        (http_error(404), False),
        (FileNotFoundError("weights.safetensors"), False),
    ],
)
def test_which_errors_pass(error: Exception, passes: bool) -> None:
    assert is_transient(error) is passes
