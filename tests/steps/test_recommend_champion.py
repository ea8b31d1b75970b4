"""recommend-champion: the champion's answers as a table, with the manifest that publish reads."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from mlflow import MlflowClient

from diffrec_core.common.artifacts import sha256_file
from diffrec_core.data.interactions import Interactions
from diffrec_core.data.seen import seen_of
from diffrec_core.data.tables import INTERACTIONS, RECOMMENDATIONS
from diffrec_core.data.vocabulary import Vocabulary
from pipeline_steps.champion import publish, recommend
from tests.raw_logs import write_params
from tests.steps.publishing import END, a_run, latest
from tests.steps.registries import MODEL, REGISTER, add_version, call

ANSWERS = {
    "user_id": ["u", "v", "w"],
    "item_ids": [["c", "d"], [], ["a"]],
    "scores": [[0.9, 0.5], [], [7.0]],
    "source": ["history", "history", "popularity"],
}


@pytest.fixture
def folder(client: MlflowClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A champion that answers as ANSWERS says, and the histories."""
    number = add_version(client, model="t_ease")
    client.set_registered_model_alias(MODEL, "champion", number)
    monkeypatch.setenv("DIFFREC_PUBLISH", str(tmp_path / "published"))
    monkeypatch.setattr(recommend, "answer", lambda *_, **__: pl.DataFrame(ANSWERS))
    write_params(tmp_path, register=REGISTER, recommend={}, publish={})
    day = datetime(2026, 11, 1, tzinfo=UTC)
    frame = pl.DataFrame([(0, 0, day, 1.0), (1, 1, day, 1.0)], schema=INTERACTIONS, orient="row")
    items, users = Vocabulary(("a", "b", "c", "d")), Vocabulary(("u", "v", "w"))
    (tmp_path / "interactions").mkdir()
    Interactions(frame, users, items, seen_of(frame)).write(tmp_path / "interactions")
    return tmp_path


def recommended(folder: Path, run: str = "night") -> dict[str, Any]:
    """Run the command; the manifest that it leaves."""
    arguments = ("--interactions", folder / "interactions", "--run", run)
    ended = call(recommend, *arguments)
    assert ended.returncode == 0, ended.stderr
    path = folder / "published/recommendations" / run / "manifest.json"
    manifest: dict[str, Any] = json.loads(path.read_text())
    return manifest


def test_the_table_says_the_source_of_each_users_list(folder: Path) -> None:
    manifest = recommended(folder)
    expected = {
        "schema": "recommendations/2", "run": "night", "model": {"name": MODEL, "version": "1"},
        "recipe": "t_ease", "users": 2, "rows": 3,
    }  # fmt: skip
    assert manifest == {**expected, "file": manifest["file"], "sha256": manifest["sha256"]}
    path = folder / "published/recommendations/night" / manifest["file"]
    assert sha256_file(path) == manifest["sha256"]
    table = pl.read_parquet(path)
    assert table.schema == RECOMMENDATIONS
    assert table.rows() == [
        ("u", 1, "c", pytest.approx(0.9), "history"),
        ("u", 2, "d", 0.5, "history"),
        ("w", 1, "a", 7.0, "popularity"),
    ]


def test_publish_takes_it_and_a_second_table_has_a_file_of_its_own(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    a_run(folder, "night", END)
    first = recommended(folder)
    assert call(publish, "--run", "night").returncode == 0
    path = folder / "published" / latest(folder / "published")["path"]
    before = path.read_bytes()
    other = {**ANSWERS, "scores": [[0.8, 0.5], [], [7.0]]}
    monkeypatch.setattr(recommend, "answer", lambda *_, **__: pl.DataFrame(other))
    second = recommended(folder)["file"]
    assert second != first["file"]
    assert path.read_bytes() == before
    assert call(publish, "--run", "night").returncode == 0
    found = latest(folder / "published")
    assert found["path"] == f"recommendations/night/{second}"
    assert found["changes"]["figures"]["overlap"] == 1.0
