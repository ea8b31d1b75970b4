"""erase-user: of a registered version nothing of a user is left, and it answers as before."""

from collections.abc import Iterator
from pathlib import Path

import mlflow
import pandas as pd
import polars as pl
import pytest
from mlflow import MlflowClient

from diffrec_core.common.artifacts import read_manifest, verify_files, write_manifest
from diffrec_core.data.interactions import Interactions
from diffrec_core.data.schema import INTERACTIONS_SCHEMA
from diffrec_core.data.seen import seen_of
from diffrec_core.data.tables import INTERACTIONS
from diffrec_core.data.vocabulary import Vocabulary
from diffrec_core.models.base import TrainingData
from diffrec_core.models.kinds import create
from pipeline_steps.registry import erase_user, tracking
from pipeline_steps.runtime.command import repository_root
from tests.steps.registries import MODEL, call, place

# MLflow 3.17 logs a model by ways that pandas 3 warns of
pytestmark = pytest.mark.filterwarnings("ignore:Operation with range is deprecated")
USERS = ("anna@shop", "bert&co", "carl@shop")
ITEMS = ("hat", "coat", "shoe", "glove")
PAGE = "<summary>User {}, 2 items in the history</summary>"


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MlflowClient]:
    """Version 1 has its report with the user anna, version 2 one with bert."""
    root = tmp_path_factory.mktemp("erase")
    with pytest.MonkeyPatch.context() as patch, place(root, patch) as client:
        write_version(root)
        once = pd.DataFrame({"user_id": ["anna@shop"]})  # what `register` gave as the example
        now = pd.DataFrame({"items": [["hat"]]})
        for shown, example in (("anna@shop", once), ("bert&amp;co", now)):
            (root / "report.html").write_text(PAGE.format(shown))
            with mlflow.start_run() as run:
                mlflow.log_artifact(str(root / "report.html"))
            tracking.register_model(
                run.info.run_id,
                MODEL,
                model=root / "model",
                interactions=root / "interactions",
                repeats="never",
                code=[repository_root() / "diffrec_core"],
                tags={"data_last": "2026-11-24T00:00:00+00:00"},
                example=example,
            )
        yield client


def write_version(root: Path) -> None:
    pairs = [(0, 0), (0, 1), (1, 1), (1, 2), (2, 2), (2, 0), (2, 1)]
    rows = [(user, item, number * 1_000_000, 1.0) for number, (user, item) in enumerate(pairs)]
    frame = pl.DataFrame(rows, schema=["user", "item", "timestamp", "weight"], orient="row")
    frame = frame.cast({"timestamp": pl.Datetime("us")}).with_columns(
        pl.col("timestamp").dt.replace_time_zone("UTC")
    )
    frame = frame.cast(dict(INTERACTIONS))  # type: ignore[arg-type]
    interactions = Interactions(frame, Vocabulary(USERS), Vocabulary(ITEMS), seen_of(frame))
    model = create({"kind": "ease", "l2": 1.0}, "train.ease")
    model.fit(TrainingData(histories=interactions.histories(), items=interactions.items))
    for name in ("interactions", "model"):
        (root / name).mkdir()
    interactions.write(root / "interactions")
    write_manifest(root / "interactions", schema=INTERACTIONS_SCHEMA, params={"a": 1})
    model.save(root / "model")


def ask(number: str, user: str) -> tuple[list[str], str]:
    model = mlflow.pyfunc.load_model(f"models:/{MODEL}/{number}")
    answer = model.predict(pd.DataFrame({"user_id": [user]}), params={"k": 2}).iloc[0]
    return list(answer["item_ids"]), str(answer["source"])


def files_of(client: MlflowClient, number: str, folder: Path) -> list[Path]:
    """All files of a version and its run."""
    version = client.get_model_version(MODEL, number)
    for name, uri in (("model", f"models:/{MODEL}/{number}"), ("run", f"runs:/{version.run_id}/")):
        mlflow.artifacts.download_artifacts(uri, dst_path=str(folder / name))
    return [path for path in folder.rglob("*") if path.is_file() and "code" not in path.parts]


def mentions(path: Path, text: str) -> bool:
    if path.suffix == ".parquet":
        frame = pl.read_parquet(path).cast(pl.String)
        return any(text in column for column in frame.iter_columns())
    return text in path.read_text(errors="replace")


def test_a_user_is_erased_from_every_version(client: MlflowClient, tmp_path: Path) -> None:
    others = {user: ask("1", user) for user in USERS[1:]}
    assert ask("1", "anna@shop")[1] == "history"
    assert any(mentions(p, "anna@shop") for p in files_of(client, "1", tmp_path / "before"))

    result = call(erase_user, "anna@shop")
    assert result.returncode == 0, result.stderr
    for number in ("1", "2"):
        assert f"version {number}: 2 interactions erased" in result.stderr
        files = files_of(client, number, tmp_path / number)
        assert not [path for path in files if mentions(path, "anna@shop")]
        assert ask(number, "anna@shop")[1] == "popularity"
        assert {user: ask(number, user) for user in USERS[1:]} == others
    reports = {n: list((tmp_path / n / "run").rglob("report.html")) for n in ("1", "2")}
    assert [len(found) for found in reports.values()] == [0, 1]
    (directory,) = (path.parent for path in (tmp_path / "1").rglob("interactions.parquet"))
    manifest = read_manifest(directory, INTERACTIONS_SCHEMA)
    assert manifest["params"] == {"a": 1}
    verify_files(directory, manifest["files"])

    again = call(erase_user, "anna@shop", "--versions", "1")
    assert again.returncode == 0
    assert "version 1 does not know the user" in again.stderr


def test_an_id_with_special_characters_is_found_in_the_report(
    client: MlflowClient, tmp_path: Path
) -> None:
    assert call(erase_user, "bert&co", "--versions", "2").returncode == 0
    files = files_of(client, "2", tmp_path)
    assert not [path for path in files if path.name == "report.html"]


def test_a_version_that_is_not_there(client: MlflowClient) -> None:
    result = call(erase_user, "anna@shop", "--versions", "9")
    assert result.returncode == 4
    assert "no version '9'; there are: 1, 2" in result.stderr
