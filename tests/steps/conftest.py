"""A registry to begin with: a real MLflow database, made once and copied for each test."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from mlflow import MlflowClient

from tests.steps.registries import place


@pytest.fixture(scope="session")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Without a version in it; a file of tests may have a fixture of this name that has some."""
    folder = tmp_path_factory.mktemp("database")
    with pytest.MonkeyPatch.context() as patch, place(folder, patch):
        return folder / "mlflow.db"


@pytest.fixture
def client(
    tmp_path: Path, database: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[MlflowClient]:
    """The test's folder holds a copy of the database, an empty store and params.yaml."""
    shutil.copy(database, tmp_path / "mlflow.db")
    with place(tmp_path, monkeypatch) as client:
        yield client
