"""The whole pipeline, run for real: what it leaves behind, and what a second run does."""

import hashlib
import json
import re
import shutil
from pathlib import Path

import polars as pl
import pytest

from diffrec_core.common.artifacts import read_json, read_manifest
from diffrec_core.data.schema import RECOMMENDATIONS_SCHEMA
from diffrec_core.data.tables import RECOMMENDATIONS
from diffrec_core.report.figures import FIGURES
from tests.integration.conftest import Project, copy_of
from tests.raw_logs import block_of

pytestmark = pytest.mark.integration

CONSUMER = """
import json, mlflow, pandas as pd
model = mlflow.pyfunc.load_model("models:/diffrec@champion")
known = model.predict(pd.DataFrame({"user_id": ["u0_1", "nobody"]}), params={"k": 5})
new = model.predict(
    pd.DataFrame({"items": [["i1_1", "i1_2", "i1_3"]]}), params={"k": 5, "exclude_seen": True}
)
run = mlflow.MlflowClient().get_model_version_by_alias("diffrec", "champion").run_id
files = [file.path for file in mlflow.MlflowClient().list_artifacts(run)]
answers = (known.to_json(orient="records"), new.to_json(orient="records"), json.dumps(files))
print("ANSWER", *answers, sep="\\n")
"""


TEST_PART = "data/split/test"
EVERY_ROW = "data/interactions/interactions.parquet"
"""Holds the rows of the test part, too."""
CHOOSING = (
    *("pretrain_item_embeddings", "cluster_items"),
    # one of every kind of randomness: the contract suite compares two fits of every model
    *("train@ials", "train@diffrec", "train@l_diffrec", "select"),
)
"""Stages that learn or choose: none of them may see the test part."""


def test_every_stage_wrote_what_it_declares(finished_project: Project) -> None:
    status = finished_project.run("dvc", "status")
    changed = re.findall(r"^(\S+):$", status.stdout, re.MULTILINE)
    assert status.returncode == 0, status.stderr
    nightly = [stage for stage in changed if not stage.startswith("studies/")]
    assert nightly in ([], ["list_raw"])  # list_raw looks at the outside world every time


def test_git_sees_only_the_lock_file(finished_project: Project) -> None:
    status = finished_project.run("git", "status", "--porcelain")
    assert status.stdout.split() == ["??", "dvc.lock"]


def test_the_leaderboard_names_every_model_and_its_cost(finished_project: Project) -> None:
    board = json.loads((finished_project.root / "reports/leaderboard.json").read_text())
    assert set(board["models"]) == set(finished_project.params()["models"])
    for row in board["models"].values():
        assert {"fit_seconds", "parameters", "peak_memory_mib"} < set(row)
        for part in ("validation", "test"):
            assert row[part]["users"] == 40
            for metric in ("recall", "ndcg", "precision", "mrr"):
                assert 0.0 <= row[part][f"{metric}@20"] <= 1.0
    best = max(board["models"].values(), key=lambda row: row["validation"]["recall@20"])
    assert best["validation"] == board["models"][board["selected"]]["validation"]
    assert board["protocol"]["history"]["test"] == "train and validation"


def test_the_leaderboard_says_how_sure_it_is(finished_project: Project) -> None:
    reports = finished_project.root / "reports"
    board = json.loads((reports / "leaderboard.json").read_text())
    for part in ("validation", "test"):
        groups = board["significance"]["groups"][part]
        assert sorted(name for group in groups for name in group) == sorted(board["models"])
        for name, row in board["models"].items():
            values = pl.read_parquet(reports / "evaluation" / name / f"per_user_{part}.parquet")
            assert len(values) == row[part]["users"]
            low, high = row["intervals"][part]["recall@20"]
            assert values["recall@20"].mean() == pytest.approx(row[part]["recall@20"])
            assert low <= row[part]["recall@20"] <= high
            assert ("p_holm" in row["against_winner"][part]) == (name != board["selected"])
    assert groups != [[*board["models"]]]  # popularity knows no blocks, which all others learn
    metrics = json.loads((reports / "evaluation" / "ease" / "metrics.json").read_text())
    assert {"gini@20", "diversity@20", "novelty@20"} <= set(board["models"]["ease"]["test"])
    assert sum(row["users"] for row in metrics["test"]["slices"]["history_length"]) == 40


def test_every_user_gets_recommendations_from_the_own_block_first(
    finished_project: Project,
) -> None:
    folder = finished_project.root / "data/recommendations"
    manifest = read_manifest(folder, RECOMMENDATIONS_SCHEMA)
    table = pl.read_parquet(folder / "*.parquet")
    assert manifest["model_version"] == {"name": "diffrec", "version": "1"}
    assert table.schema == RECOMMENDATIONS
    assert table["user_id"].n_unique() == 40
    first = table.filter(pl.col("rank") == 1)
    own = [
        block_of(user) == block_of(item)
        for user, item in first.select("user_id", "item_id").iter_rows()
    ]
    assert sum(own) / len(own) > 0.9


def test_no_user_is_recommended_what_the_log_says_was_seen(finished_project: Project) -> None:
    log = pl.read_csv(finished_project.root / "data/raw/small/log.csv")
    seen = set(log.select("user", "item").iter_rows())
    table = pl.read_parquet(finished_project.root / "data/recommendations/*.parquet")
    assert len(seen) == 40 * (16 + 3)  # three of them are rated 1: no interactions
    assert not seen & set(table.select("user_id", "item_id").iter_rows())
    facts = read_json(finished_project.root / "reports/stages/build_interactions.json")
    assert (facts["seen_pairs"], facts["seen_not_liked"]) == (40 * 19, 40 * 3)


def test_a_consumer_of_the_registry_gets_ids_and_scores(finished_project: Project) -> None:
    result = finished_project.run("python", "-W", "ignore", "-c", CONSUMER)
    assert result.returncode == 0, result.stderr
    known, new, files = map(json.loads, result.stdout.split("ANSWER\n")[1].splitlines())
    assert {"report.html", "leaderboard.json", "selection.json"} <= set(files)
    table = pl.read_parquet(finished_project.root / "data/recommendations/*.parquet")
    expected = table.filter((pl.col("user_id") == "u0_1") & (pl.col("rank") <= 5))
    assert known[0]["item_ids"] == expected["item_id"].to_list()
    assert known[0]["scores"] == pytest.approx(expected["score"].to_list())
    assert (known[0]["source"], known[1]["source"]) == ("history", "popularity")
    assert len(new[0]["item_ids"]) == 5
    assert not {"i1_1", "i1_2", "i1_3"} & set(new[0]["item_ids"])
    assert block_of(new[0]["item_ids"][0]) == 1


def test_a_second_run_does_nothing(finished_project: Project) -> None:
    before = (finished_project.root / "dvc.lock").read_bytes()
    result = finished_project.repro()
    ran = re.findall(r"^Running stage '(\S+)'", result.stdout, re.MULTILINE)
    assert ran == ["list_raw"]
    assert (finished_project.root / "dvc.lock").read_bytes() == before


def test_metrics_plots_and_experiments_can_be_shown(finished_project: Project) -> None:
    metrics = finished_project.run("dvc", "metrics", "show", "--json")
    assert "leaderboard.json" in metrics.stdout
    assert finished_project.run("dvc", "metrics", "diff").returncode == 0
    plots = finished_project.run("dvc", "plots", "show", "--json")
    assert "reports/curves/diffrec.csv" in plots.stdout
    assert "reports/plots/metrics.csv" in plots.stdout
    for name in FIGURES:
        assert f"reports/plots/{name}.svg" in plots.stdout
    shown = finished_project.run("dvc", "exp", "show", "--csv")
    assert "reports/leaderboard.json" in shown.stdout or "recall@20" in shown.stdout


@pytest.fixture(scope="module")
def run_again(finished_project: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The project with many stages run a second time, by force, while there is no test part.

    What learns or chooses runs while its rows are nowhere at all.
    """
    copy = copy_of(finished_project, tmp_path_factory.mktemp("again") / "copy")
    shutil.rmtree(copy.root / TEST_PART)
    rows = (copy.root / EVERY_ROW).read_bytes()
    (copy.root / EVERY_ROW).unlink()
    copy.repro("--force", "--single-item", *CHOOSING)
    (copy.root / EVERY_ROW).write_bytes(rows)
    copy.repro("--force", "--single-item", "ingest", "build_interactions", "refit", "recommend")
    return copy


def test_a_second_run_with_the_same_seed_writes_the_same_bytes(
    finished_project: Project, run_again: Project
) -> None:
    first, second = _outputs(finished_project.root), _outputs(run_again.root)
    assert second == {name: sha for name, sha in first.items() if not name.startswith(TEST_PART)}
    assert any(name.endswith("weights.safetensors") for name in second)
    since = (finished_project.root / "dvc.lock").stat().st_mtime
    outs = (run_again.root / out for out in ("models/final", "data/recommendations"))
    assert all(out.stat().st_mtime > since for out in outs)


def test_evaluate_reads_the_test_part_which_nothing_else_needed(run_again: Project) -> None:
    refused = run_again.run("dvc", "repro", "--force", "--single-item", "evaluate@ease")
    assert refused.returncode != 0


def test_one_changed_parameter_reruns_only_what_depends_on_it(
    finished_project: Project, copied_project: Project
) -> None:
    copy = copied_project
    result = copy.run("dvc", "exp", "run", "-S", "train.diffrec.steps=2")
    assert result.returncode == 0, result.stdout + result.stderr
    ran = re.findall(r"^Running stage '(\S+)'", result.stdout, re.MULTILINE)
    assert [s for s in ran if s.startswith(("train", "evaluate"))] == [
        "train@diffrec",
        "evaluate@diffrec",
    ]
    assert not {"ingest", "split", "pretrain_item_embeddings"} & set(ran)
    assert "select" in ran
    report = (copy.root / "reports/report.html").read_text(encoding="utf-8")
    assert "Settings changed: diffrec." in report
    parts = report.partition("Parts of the evaluation.</span>")[2].partition("</table>")[0]
    assert re.findall(r'<th scope="row">(\w+)', parts) == ["train", "validation", "test"]
    assert '<td class="value">3 → 2</td>' in report
    before, now = json.loads((copy.root / "reports/history.json").read_text())["runs"]
    (known,) = json.loads((finished_project.root / "reports/history.json").read_text())["runs"]
    assert before == known
    assert [run["models"]["diffrec"]["config"]["steps"] for run in (before, now)] == [3, 2]
    assert copy.repro("--force", "--single-item", "select")
    assert (copy.root / "reports/report.html").read_text(encoding="utf-8") == report


def _outputs(root: Path) -> dict[str, str]:
    """SHA-256 of all tables, weights, curves and metrics; not of timings or registry numbers."""
    kept = [
        path
        for folder in ("data", "models", "reports/evaluation", "reports/curves")
        for path in (root / folder).rglob("*")
        if path.is_file()
    ]
    return {
        path.relative_to(root).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(kept)
    }
