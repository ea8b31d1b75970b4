"""publish: the current table is switched whole, or not at all, and to the champion's alone."""

from pathlib import Path
from typing import Any

import polars as pl
import pytest
from mlflow import MlflowClient

from diffrec_core.common.errors import ArtifactError
from diffrec_core.data.tables import RECOMMENDATIONS
from pipeline_steps.champion.published_tables import check_table
from pipeline_steps.nights.runs import previous_run
from tests.steps.publishing import END, ROWS, a_run, call, cut, latest, write_table
from tests.steps.registries import MODEL


def test_publish_switches_and_ends_the_run(
    published: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("first", "second"):
        run = a_run(tmp_path, name)
        write_table(published, name)
        assert call(monkeypatch, name) == 0
        found = latest(published)
        assert (found["run"], found["users"], found["rows"]) == (name, 2, 3)
        assert (found["model"], found["end"]) == ({"name": MODEL, "version": "3"}, END)
        assert pl.read_parquet(published / found["path"]).rows() == [
            (user, rank, item, pytest.approx(score), source)
            for user, rank, item, score, source in ROWS
        ]
        assert previous_run(run.store, "new", None) == name
    assert list((published / "recommendations/first").glob("*.parquet"))


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
        [("u1", 2, "i1", 0.9, "history")],
        [("u1", 1, "i1", 0.9, "history"), ("u1", 1, "i2", 0.5, "history")],
        [("u1", 1, "i1", 0.9, "history"), ("u1", 3, "i2", 0.5, "history")],
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
        check_table(table.drop("score"), {"rows": 3}, "table")
    with pytest.raises(ArtifactError, match="its manifest says 4"):
        check_table(table, {"rows": 4}, "table")


@pytest.mark.parametrize("source", ["yesterday", None])
def test_a_table_of_another_source_is_refused(source: str | None) -> None:
    table = pl.DataFrame(ROWS, schema=RECOMMENDATIONS, orient="row")
    check_table(table, {"rows": 3}, "table")
    other = table.with_columns(pl.lit(source, pl.String).alias("source"))
    with pytest.raises(ArtifactError, match=f"the source {source!r} is none of history, popular"):
        check_table(other, {"rows": 3}, "table")


def test_a_table_that_is_not_the_champions_is_refused(
    published: Path, tmp_path: Path, three_versions: MlflowClient, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    a_run(tmp_path, "good")
    write_table(published, "good")
    assert call(monkeypatch, "good") == 0
    run = a_run(tmp_path, "late", end="2026-11-25T00:00:00+00:00")
    write_table(published, "late")
    three_versions.set_registered_model_alias(MODEL, "champion", "2")  # somebody rolls back
    assert call(monkeypatch, "late") == 2
    said = capsys.readouterr().err
    assert "made by diffrec version 3, and the champion of diffrec is version 2 now" in said
    assert "clear recommend and after" in said
    assert latest(published)["run"] == "good"
    assert previous_run(run.store, "new", None) == "good"
    three_versions.delete_registered_model_alias(MODEL, "champion")
    assert call(monkeypatch, "late") == 2


@pytest.mark.parametrize(
    ("end", "created", "version", "wins"),
    [
        ("2026-11-23T00:00:00+00:00", "2026-12-01T00:00:00+00:00", "3", False),
        ("2026-11-24T00:00:00+00:00", "", "3", True),
        ("2026-11-23T23:59:59.5+00:00", "", "3", False),
        (None, "2026-11-24T09:00:00+00:00", "3", True),
        (None, "2026-11-23T09:00:00+00:00", "3", False),
        ("2026-11-23T00:00:00+00:00", "", "2", True),  # the current one's model serves no more
    ],
)
def test_a_later_window_of_the_champion_stays(
    *, published: Path, tmp_path: Path, three_versions: MlflowClient,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str], end: str | None, created: str, version: str, wins: bool,
) -> None:  # fmt: skip
    a_run(tmp_path, "current")
    write_table(published, "current")
    assert call(monkeypatch, "current") == 0
    three_versions.set_registered_model_alias(MODEL, "champion", version)
    run = a_run(tmp_path, "other", end=end, created=created)
    write_table(published, "other", version=version)
    capsys.readouterr()
    assert call(monkeypatch, "other") == (0 if wins else 99)
    assert latest(published)["run"] == ("other" if wins else "current")
    assert ("of run current, is of data until 2026-11-24" in capsys.readouterr().err) is not wins
    assert f"--{run.spec.run}" in "".join(run.store.names("finished"))


def test_a_run_replaces_its_own_table_and_one_that_says_nothing(
    published: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    a_run(tmp_path, "night")
    write_table(published, "night")
    assert call(monkeypatch, "night") == 0
    a_run(tmp_path, "night", end="2026-11-20T00:00:00+00:00")
    assert call(monkeypatch, "night") == 0
    assert latest(published)["end"] == "2026-11-20T00:00:00+00:00"
    for content in ('{"run": "of an earlier version"}', "{"):
        (published / "recommendations/latest.json").write_text(content)
        assert call(monkeypatch, "night") == 0
        assert latest(published)["run"] == "night"
