"""publish: a table that is too far from the current one is held until somebody accepts it."""

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from mlflow import MlflowClient

from diffrec_core.common.artifacts import sha256_file
from pipeline_steps.nights.runs import previous_run
from pipeline_steps.shared import NOT_RETRYABLE
from tests.raw_logs import write_params
from tests.steps.publishing import a_run, call, cut, latest, users, write_table
from tests.steps.registries import MODEL, REGISTER

TOMORROW = "2026-11-25T00:00:00+00:00"
TEN = [f"u{n}" for n in range(10)]
WIDE = users(*TEN)


@pytest.fixture
def yesterday(published: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The table of ten users, of the champion, is the current one."""
    a_run(tmp_path, "yesterday")
    write_table(published, "yesterday", WIDE)
    assert call(monkeypatch, "yesterday") == 0
    return published


def stored_changes(published: Path, run: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(
        (published / "recommendations" / run / "changes.json").read_text()
    )
    return found


def test_the_first_table_has_nothing_to_be_compared_with(yesterday: Path) -> None:
    found = latest(yesterday)
    assert found["changes"] is found["accepted"] is None
    assert (found["schema"], found["recipe"]) == ("recommendations/2", "ease")
    assert not (yesterday / "recommendations/yesterday/changes.json").exists()


def test_what_a_table_changes_is_said(
    yesterday: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    a_run(tmp_path, "today", end=TOMORROW)
    write_table(yesterday, "today", users(*TEN[1:], "new", items="abce"))
    assert call(monkeypatch, "today") == 0
    found = latest(yesterday)
    assert (found["run"], found["accepted"]) == ("today", None)
    figures = found["changes"]["figures"]
    assert (figures["users_lost"], figures["users_new"], figures["overlap"]) == (1, 1, 0.75)
    assert found["changes"]["compared_with"]["run"] == "yesterday"
    bounds = {bound["key"]: bound for bound in found["changes"]["bounds"]}
    assert (bounds["max_lost_share"]["value"], bounds["max_lost_share"]["kept"]) == (0.1, True)
    assert stored_changes(yesterday, "today") == {**found["changes"], "path": found["path"]}
    said = capsys.readouterr().err
    assert "of run yesterday: 10 → 10 users (1 lost, 1 new), 40 → 40 rows" in said
    assert "overlap of the top 4 0.750" in said


OUTSIDE = {
    "max_lost_share": (users(*TEN[2:]), "users lost 0.2 (2 against 10), at most 0.1 is allowed"),
    "max_new_share": (
        users(*TEN, *[f"bot{n}" for n in range(11)]),
        "users new 1.1 (11 against 10), at most 1 is allowed",
    ),
    "min_rows_ratio": (
        [*users(*TEN, items="abc"), ("u0", 4, "d", 0.1, "history")],
        "rows 0.775 (31 against 40), at least 0.8 is allowed",
    ),
    "min_overlap": (
        users(*TEN, items="aefg"),
        "overlap 0.25 (of the top 4), at least 0.5 is allowed",
    ),
    "min_coverage_ratio": (
        users(*TEN, items="ab"),
        "different items 0.5 (2 against 4), at least 0.7 is allowed",
    ),
    "max_popularity_rise": (
        users(*TEN[:8]) + users(*TEN[8:], source="popularity"),
        "more users answered by popularity 0.2 (0.0 % before, 20.0 % now), at most 0.1 is allowed",
    ),
}


@pytest.mark.parametrize("key", OUTSIDE)
def test_a_table_outside_of_a_bound_is_held_until_somebody_accepts_it(
    yesterday: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str], key: str,
) -> None:  # fmt: skip
    rows, words = OUTSIDE[key]
    before = (yesterday / "recommendations/latest.json").read_bytes()
    run = a_run(tmp_path, "today", end=TOMORROW)
    write_table(yesterday, "today", rows)
    assert call(monkeypatch, "today") == 7
    assert 7 in NOT_RETRYABLE
    assert (yesterday / "recommendations/latest.json").read_bytes() == before
    assert previous_run(run.store, "new", None) == "yesterday"
    broken = [b["key"] for b in stored_changes(yesterday, "today")["bounds"] if not b["kept"]]
    assert key in broken
    said = capsys.readouterr().err
    assert f"publish.{key}: {words}" in said
    assert "the current table, of run yesterday, which stays" in said
    assert 'python -m pipeline_steps publish --run today --accept "why"' in said
    assert "Traceback" not in said

    assert call(monkeypatch, "today", "--accept", "a new catalogue") == 0
    found = latest(yesterday)
    assert found["run"] == "today"
    assert found["accepted"]["reason"] == "a new catalogue"
    assert f"publish.{key}: {words}" in found["accepted"]["outside"]
    assert len(found["accepted"]["outside"]) == len(broken)
    assert previous_run(run.store, "new", None) == "today"

    assert call(monkeypatch, "today") == 0  # a retry: it is the current one
    again = latest(yesterday)
    assert (again["accepted"], again["changes"]) == (found["accepted"], found["changes"])


def test_a_bound_may_be_switched_off(
    yesterday: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_params(tmp_path, register=REGISTER, publish={"max_lost_share": None, "min_overlap": 0.2})
    a_run(tmp_path, "today", end=TOMORROW)
    write_table(yesterday, "today", users(*TEN[:5], "v", "w", "x", items="aefg"))
    assert call(monkeypatch, "today") == 0


@pytest.mark.parametrize(
    ("recipe", "version", "current", "code"),
    [
        ("ease", "3", "3", 7),  # the same weights
        ("ease", "3", "2", 7),  # the same recipe, fitted again
        ("t_diffrec", "3", "2", 0),  # a switch
        ("ease", "2", "3", 0),  # a rollback
        (None, "3", "2", 7),  # a version that does not say its recipe
    ],
)
def test_the_overlap_has_a_bound_within_a_recipe(
    *, published: Path, tmp_path: Path, three_versions: MlflowClient,
    monkeypatch: pytest.MonkeyPatch,
    recipe: str | None, version: str, current: str, code: int,
) -> None:  # fmt: skip
    three_versions.set_registered_model_alias(MODEL, "champion", current)
    a_run(tmp_path, "yesterday")
    write_table(published, "yesterday", WIDE, current)
    assert call(monkeypatch, "yesterday") == 0
    three_versions.set_registered_model_alias(MODEL, "champion", version)
    a_run(tmp_path, "today", end=TOMORROW)
    write_table(published, "today", users(*TEN, items="aefg"), version, recipe)
    assert call(monkeypatch, "today") == code
    figures = stored_changes(published, "today")["figures"]
    assert figures["overlap"] == 0.25  # noted in any case


def test_a_run_that_recommends_again_leaves_its_current_table_until_it_is_published(
    yesterday: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = latest(yesterday)
    write_table(yesterday, "yesterday", users(*TEN[5:]))
    assert call(monkeypatch, "yesterday") == 7
    assert latest(yesterday) == before
    assert pl.read_parquet(yesterday / before["path"])["user_id"].n_unique() == 10


def test_a_table_of_the_older_schema_is_refused_with_what_to_do(
    yesterday: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    a_run(tmp_path, "interrupted")
    path = write_table(yesterday, "interrupted", WIDE)
    manifest = json.loads(path.with_name("manifest.json").read_text())
    del manifest["file"], manifest["recipe"]
    manifest["schema"] = "recommendations/1"
    path.with_name("manifest.json").write_text(json.dumps(manifest))
    path.rename(path.with_name("recommendations.parquet"))
    assert call(monkeypatch, "interrupted") == 4
    said = capsys.readouterr().err
    assert "has the schema recommendations/1, this version of publish reads recommend" in said
    assert "clear start_run and after" in said
    assert latest(yesterday)["run"] == "yesterday"


def older_schema(published: Path, path: Path) -> None:
    """The current table as an earlier version has left it."""
    pl.read_parquet(path).drop("source").write_parquet(path)
    found = latest(published) | {"schema": "recommendations/1", "sha256": sha256_file(path)}
    for key in ("file", "recipe", "changes", "accepted"):
        del found[key]
    (published / "recommendations/latest.json").write_text(json.dumps(found))


def test_the_current_table_of_the_older_schema_is_compared_by_what_it_has(
    yesterday: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    older_schema(yesterday, yesterday / latest(yesterday)["path"])
    a_run(tmp_path, "today", end=TOMORROW)
    write_table(yesterday, "today", users(*TEN[2:]))
    assert call(monkeypatch, "today") == 7
    write_table(yesterday, "today", users(*TEN, source="popularity"))
    assert call(monkeypatch, "today") == 0
    figures = latest(yesterday)["changes"]["figures"]
    assert (figures["popularity_before"], figures["popularity"]) == (None, 1.0)


@pytest.mark.parametrize("damage", [cut, Path.unlink])
def test_a_current_table_that_nobody_can_read_is_replaced(
    yesterday: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str], damage: Any,
) -> None:  # fmt: skip
    damage(yesterday / latest(yesterday)["path"])
    a_run(tmp_path, "today", end=TOMORROW)
    write_table(yesterday, "today", users("somebody"))
    assert call(monkeypatch, "today") == 0
    assert latest(yesterday)["changes"] is None
    assert "nothing to compare with: the current table" in capsys.readouterr().err


def test_accepting_needs_a_reason_and_excuses_bounds_alone(
    yesterday: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    a_run(tmp_path, "today", end=TOMORROW)
    path = write_table(yesterday, "today", WIDE)
    assert call(monkeypatch, "today", "--accept", "") == 2
    assert "accept" in capsys.readouterr().err
    assert call(monkeypatch, "today", "--accept", "to be sure") == 0
    assert latest(yesterday)["accepted"] == {"reason": "to be sure", "outside": []}
    cut(path)
    assert call(monkeypatch, "today", "--accept", "it looks good") == 4
