"""publish: the current table is switched whole, or not at all."""

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from diffrec_core.artifacts import sha256_file
from diffrec_core.data.schema import RECOMMENDATIONS
from diffrec_core.errors import ArtifactError
from pipeline_steps import publish
from pipeline_steps._runs import Run, RunSpec, previous_run
from pipeline_steps._store import Store

ROWS = [("u1", 1, "i1", 0.9), ("u1", 2, "i2", 0.5), ("u2", 1, "i2", 0.7)]


@pytest.fixture
def published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DIFFREC_REMOTE", str(tmp_path / "remote"))
    monkeypatch.setenv("DIFFREC_PUBLISH", str(tmp_path / "published"))
    return tmp_path / "published"


def a_run(tmp_path: Path, name: str) -> Run:
    spec = RunSpec(
        run=name, commit="c0ffee", start=None, end="2026-11-24T00:00:00+00:00", dry_run=False,
        previous=None, created="",
    )  # fmt: skip
    run = Run(Store(str(tmp_path / "remote" / "store")), spec)
    run.specify("")
    run.leave_entry("register", {"cmd": "register"})
    return run


def write_table(published: Path, run: str, rows: list[tuple[Any, ...]] = ROWS) -> Path:
    """What recommend_champion leaves."""
    folder = published / "recommendations" / run
    folder.mkdir(parents=True)
    path = folder / "recommendations.parquet"
    table = pl.DataFrame(rows, schema=RECOMMENDATIONS, orient="row")
    table.write_parquet(path)
    manifest = {
        "schema": "recommendations/1", "run": run, "model": {"name": "m", "version": 3},
        "users": table["user_id"].n_unique(), "rows": len(table), "sha256": sha256_file(path),
    }  # fmt: skip
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return path


def call(monkeypatch: pytest.MonkeyPatch, run: str) -> int:
    monkeypatch.setattr("sys.argv", ["publish", "--run", run])
    with pytest.raises(SystemExit) as end:
        publish.command_line(publish.main, publish.add_arguments, "")
    return int(end.value.code or 0)


def latest(published: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((published / "recommendations/latest.json").read_text())
    return found


def test_publish_switches_and_ends_the_run(
    published: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("first", "second"):
        run = a_run(tmp_path, name)
        write_table(published, name)
        assert call(monkeypatch, name) == 0
        found = latest(published)
        assert (found["run"], found["users"], found["rows"]) == (name, 2, 3)
        assert found["model"] == {"name": "m", "version": 3}
        assert pl.read_parquet(published / found["path"]).rows() == [
            (user, rank, item, pytest.approx(score)) for user, rank, item, score in ROWS
        ]
        assert previous_run(run.store, "new", None) == name
    assert (published / "recommendations/first/recommendations.parquet").is_file()


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-40])


def one_bit(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 3] ^= 1
    path.write_bytes(bytes(data))


def no_manifest(path: Path) -> None:
    path.with_name("manifest.json").unlink()


def half_manifest(path: Path) -> None:
    manifest = path.with_name("manifest.json")
    manifest.write_text(manifest.read_text()[:-10])


@pytest.mark.parametrize("damage", [cut, one_bit, Path.unlink, no_manifest, half_manifest])
def test_a_damaged_table_leaves_the_current_one(
    published: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damage: Any
) -> None:
    a_run(tmp_path, "good")
    write_table(published, "good")
    assert call(monkeypatch, "good") == 0
    before = (published / "recommendations/latest.json").read_bytes()
    run = a_run(tmp_path, "bad")
    damage(write_table(published, "bad"))
    assert call(monkeypatch, "bad") == 4
    assert (published / "recommendations/latest.json").read_bytes() == before
    assert previous_run(run.store, "new", None) == "good"


@pytest.mark.parametrize(
    "rows",
    [
        [],
        [("u1", 2, "i1", 0.9)],
        [("u1", 1, "i1", 0.9), ("u1", 1, "i2", 0.5)],
        [("u1", 1, "i1", 0.9), ("u1", 3, "i2", 0.5)],
    ],
)
def test_an_empty_or_ill_ranked_table_is_refused(
    published: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rows: list[tuple[Any, ...]]
) -> None:
    a_run(tmp_path, "bad")
    write_table(published, "bad", rows)
    assert call(monkeypatch, "bad") == 4
    assert not (published / "recommendations/latest.json").exists()


def test_a_table_of_other_columns_is_refused() -> None:
    table = pl.DataFrame(ROWS, schema=RECOMMENDATIONS, orient="row")
    with pytest.raises(ArtifactError, match="its manifest says 3"):
        publish.check_table(table.drop("score"), {"rows": 3}, "table")
    with pytest.raises(ArtifactError, match="its manifest says 4"):
        publish.check_table(table, {"rows": 4}, "table")
