"""The summary that ends `make run`: what it shows, and its errors."""

import io
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from rich.console import Console

from diffrec_core.common.errors import ArtifactError
from scripts import show_result

SCORES: dict[str, tuple[float, float]] = {"popularity": (0.10, 0.09), "ease": (0.31, 0.28)}

PARTS = ("validation", "test")


def _leaderboard() -> dict[str, Any]:
    def part(recall: float) -> dict[str, float]:
        return {"users": 3, "recall@20": recall, "ndcg@20": recall / 2}

    models = {
        name: {
            "validation": part(validation),
            "test": part(test),
            "fit_seconds": 1.25,
            "parameters": 1_234_567,
            "peak_memory_mib": 512.4,
            "seeds": 1,
            "sd": {"validation": {}, "test": {}},
            "against_winner": {"test": {"p_holm": 0.2} if name != "ease" else {"group": "A"}},
        }
        for name, (validation, test) in SCORES.items()
    }
    return {
        "selected": "ease",
        "selected_on": "validation recall@20",
        "protocol": {"cutoffs": [10, 20]},
        "significance": {"metric": "recall@20", "level": 0.05},
        "models": models,
        "left_out": {},
    }


@pytest.fixture
def run_folder(tmp_path: Path) -> Path:
    """A folder with the files that a finished run leaves, for three users and three items."""
    reports, recommendations = tmp_path / "reports", tmp_path / "data" / "recommendations"
    for folder in (reports, recommendations, tmp_path / "data" / "interactions"):
        folder.mkdir(parents=True)
    (reports / "leaderboard.json").write_text(json.dumps(_leaderboard()))
    registration = {
        "name": "diffrec",
        "version": "4",
        "alias": "champion",
        "run_id": "abc123",
        "tracking_uri": "sqlite:///mlflow.db",
    }
    (reports / "registration.json").write_text(json.dumps(registration))
    items = pl.DataFrame(
        {
            "index": [0, 1, 2],
            "item_id": ["10", "20", "30"],
            "title": ["Alien", "Brazil [the cut]", None],
        },
        schema={"index": pl.Int32, "item_id": pl.String, "title": pl.String},
    )
    items.write_parquet(tmp_path / "data" / "interactions" / "items.parquet")
    # two files, rows in no order: the summary may rely on neither
    rows = [("u2", 2, "10", 0.5), ("u1", 2, "30", 0.4), ("u1", 1, "20", 0.9), ("u2", 1, "20", 0.8)]
    for part, chunk in enumerate([rows[:2], rows[2:]]):
        frame = pl.DataFrame(chunk, schema=["user_id", "rank", "item_id", "score"], orient="row")
        frame.write_parquet(recommendations / f"part-{part}.parquet")
    return tmp_path


def _show(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    root = Path(show_result.__file__).parent.parent
    return subprocess.run(
        [sys.executable, "-m", "scripts.show_result", *options],
        cwd=folder,
        env={"PYTHONPATH": str(root), "COLUMNS": "160"},
        capture_output=True,
        text=True,
        check=False,
    )


def _text(renderable: Any) -> str:
    console = Console(width=160, file=io.StringIO())
    console.print(renderable)
    return console.file.getvalue()


def test_seeds_and_models_left_out_are_shown() -> None:
    leaderboard = _leaderboard()
    leaderboard["left_out"] = {"slim": "slim needs 12 GiB of memory"}
    leaderboard["models"]["ease"] |= {"seeds": 3, "sd": {p: {"recall@20": 0.0012} for p in PARTS}}
    assert _text(show_result.leaderboard_table(leaderboard)).count("±.0012") == 2
    line = _text(show_result.selection_line(leaderboard))
    assert "left out: slim needs 12 GiB" in line
    assert "means over seeds" in line
    assert "seeds" not in _text(show_result.selection_line(_leaderboard()))


def test_summary_shows_the_run(run_folder: Path) -> None:
    result = _show(run_folder)

    assert result.returncode == 0, result.stderr
    for expected in (
        "ease *",
        "0.3100",
        "0.2800",
        "1,234,567",
        "selected on validation recall@20",
        "diffrec version 4, alias champion: models:/diffrec@champion",
        "abc123 in sqlite:///mlflow.db",
        "reports/report.html",
        "data/recommendations/*.parquet",
        "make serve",
        "dvc exp run -S train.diffrec.steps=10",
    ):
        assert expected in result.stdout
    assert "nothing to do" not in result.stdout


def test_up_to_date_is_said(run_folder: Path) -> None:
    result = _show(run_folder, "--up-to-date")

    assert "nothing to do: everything is up to date" in result.stdout
    assert "ease *" in result.stdout


def test_leaderboard_is_sorted_by_validation_and_marks_the_selected() -> None:
    rows = _text(show_result.leaderboard_table(_leaderboard())).splitlines()

    ease = next(index for index, line in enumerate(rows) if "ease *" in line)
    popularity = next(index for index, line in enumerate(rows) if "popularity" in line)
    assert ease < popularity
    assert rows[ease].split() == [
        *("ease", "*", "0.3100", "0.1550", "0.2800", "0.1400", "1.2", "1,234,567", "512"),
    ]
    assert "*" not in rows[popularity]


def test_leaderboard_follows_the_metric_of_the_choice_and_what_was_measured() -> None:
    """The best by NDCG at 10 is not the best by recall, and nothing was measured at 20."""
    board = _leaderboard()
    board |= {"selected": "popularity", "selected_on": "validation ndcg@10"}
    board["protocol"]["cutoffs"] = [10, 50]
    board["significance"]["metric"] = "ndcg@10"
    for name, row in board["models"].items():
        ndcg = 0.4 if name == "popularity" else 0.2
        row["validation"] = row["test"] = {"recall@10": 0.7 - ndcg, "ndcg@10": ndcg}
    text = _text(show_result.leaderboard_table(board))
    assert "recall@10" in text
    assert text.index("popularity *") < text.index("ease")


def test_models_not_significantly_different_from_the_selected_are_named() -> None:
    board = _leaderboard()
    assert "by test recall@20 not significantly different from it (p > 0.05): popularity" in _text(
        show_result.selection_line(board)
    )
    board["models"]["popularity"]["against_winner"]["test"]["p_holm"] = 0.05
    assert "different" not in _text(show_result.selection_line(board))


def test_recommendations_come_by_user_and_rank_with_titles_or_ids(
    run_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(run_folder)

    table = show_result.recommendations_table()

    rows = [re.split(r"  +", line.strip()) for line in _text(table).splitlines()]
    # the title of item 30 is unknown, so its id stands for it
    assert rows[-2:] == [["u1", "Brazil [the cut]", "30"], ["u2", "Brazil [the cut]", "Alien"]]


def test_recommendations_show_a_few_users_and_ranks(
    run_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    users, ranks = show_result.SAMPLE_USERS + 2, show_result.SAMPLE_RANKS + 4
    rows = [
        (f"u{user}", rank + 1, f"i{rank + 1}", 0.5)
        for user in range(users)
        for rank in range(ranks)
    ]
    schema = ["user_id", "rank", "item_id", "score"]
    for old in (run_folder / "data" / "recommendations").iterdir():
        old.unlink()
    frame = pl.DataFrame(rows, schema=schema, orient="row")
    frame.write_parquet(run_folder / "data" / "recommendations" / "part.parquet")
    monkeypatch.chdir(run_folder)

    text = _text(show_result.recommendations_table())

    assert f"u{show_result.SAMPLE_USERS - 1} " in text
    assert f"u{show_result.SAMPLE_USERS} " not in text
    assert f"i{show_result.SAMPLE_RANKS} " in text
    assert f"i{show_result.SAMPLE_RANKS + 1} " not in text


@pytest.mark.parametrize(
    "missing",
    [
        "reports/leaderboard.json",
        "reports/registration.json",
        "data/recommendations/part-*.parquet",
        "data/interactions/items.parquet",
    ],
)
def test_a_missing_file_is_named(run_folder: Path, missing: str) -> None:
    for path in run_folder.glob(missing):
        path.unlink()

    result = _show(run_folder)

    assert result.returncode == ArtifactError.exit_code
    assert missing.replace("part-", "") in result.stderr
    assert "missing" in result.stderr
    assert "Traceback" not in result.stderr
    assert result.stdout == ""


def test_heavy_libraries_stay_out() -> None:
    code = "import json, sys, scripts.show_result; print(json.dumps(list(sys.modules)))"
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )

    modules = set(json.loads(result.stdout))
    assert "polars" in modules
    assert not modules & {"torch", "mlflow", "matplotlib"}
