"""A registry to begin with: a real MLflow database, made once and copied for each test."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from mlflow import MlflowClient

from tests.steps.registries import MODEL, add_version, place


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


@pytest.fixture(scope="module")
def three_versions(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MlflowClient]:
    """A registry of three versions, and the folder with params.yaml."""
    folder = tmp_path_factory.mktemp("registry")
    with pytest.MonkeyPatch.context() as patch, place(folder, patch) as client:
        for _ in range(3):
            add_version(client)
        yield client


@pytest.fixture
def published(
    three_versions: MlflowClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """Version 3 is champion; nothing is published."""
    three_versions.set_registered_model_alias(MODEL, "champion", "3")
    monkeypatch.setenv("DIFFREC_REMOTE", str(tmp_path / "remote"))
    monkeypatch.setenv("DIFFREC_PUBLISH", str(tmp_path / "published"))
    return tmp_path / "published"
