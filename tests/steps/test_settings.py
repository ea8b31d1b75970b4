"""Settings: the environment's answers, in a form that holds in any folder."""

from pathlib import Path

import pytest

from pipeline_steps.nights.settings import settings


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        ("", "sqlite:///{root}/mlflow.db"),
        ("sqlite:///mlflow.db", "sqlite:///{root}/mlflow.db"),
        ("sqlite:///sub/other.db?timeout=9", "sqlite:///{root}/sub/other.db?timeout=9"),
        ("sqlite+pysqlite:///other.db", "sqlite+pysqlite:///{root}/other.db"),
        ("sqlite:////var/lib/mlflow.db", "sqlite:////var/lib/mlflow.db"),
        ("sqlite:///:memory:", "sqlite:///:memory:"),
        ("sqlite://", "sqlite://"),
        ("postgresql://user@host/name", "postgresql://user@host/name"),
        ("postgresql:///name", "postgresql:///name"),
        ("http://127.0.0.1:5000", "http://127.0.0.1:5000"),
    ],
)
def test_a_relative_database_lies_in_the_projects_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, uri: str, expected: str
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    found = settings(tmp_path)
    assert found.tracking_uri == expected.format(root=tmp_path)
    assert found.environment()["MLFLOW_TRACKING_URI"] == found.tracking_uri
    monkeypatch.setenv("MLFLOW_TRACKING_URI", found.tracking_uri)  # as a stage finds it
    assert settings(tmp_path / "workspace").tracking_uri == found.tracking_uri
