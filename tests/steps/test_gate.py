"""The gate on real models in a real registry: first model, worse model, unfair comparison."""

import json
import os
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import ModuleType
from typing import Any

import polars as pl
import pytest
from mlflow import MlflowClient
from mlflow.artifacts import list_artifacts
from mlflow.tracking._model_registry.client import ModelRegistryClient

from diffrec_core.common.errors import ArtifactError
from diffrec_core.contest.measures import Answers
from pipeline_steps import build_interactions, ingest, list_raw, refit, register, split
from pipeline_steps.champion import comparison, gate, promote
from pipeline_steps.registry.scoring import Scored, answer, score_versions
from pipeline_steps.registry.versions import get_version
from pipeline_steps.shared import SKIPPED
from tests.raw_logs import REPOSITORY, ingest_section, planted_events, write_log, write_params
from tests.steps.registries import MODEL, REGISTER, aliases, call, place

# MLflow 3.17 logs a model by ways that pandas 3 warns of; steps run in this process here
pytestmark = pytest.mark.filterwarnings("ignore:Operation with range is deprecated")

SECTIONS: dict[str, Any] = {
    "list_raw": {"logs": ["log.csv"], "titles": None},
    "ingest": ingest_section(),
    "build_interactions": {"min_value": 4.0},
    "split": {"method": "global_time", "test_share": 0.25},
    "pretrain_item_embeddings": {},
    "cluster_items": {},
    "models": {
        "ease": {"code": "diffrec_core"},
        "popularity": {"code": "diffrec_core"},
        "item_knn": {"code": "diffrec_core"},
    },
    "refit": {"hold_out_test": True},
    "register": REGISTER,
    "recommend": {},
    "gate": {"metric": "recall@5", "min_users": 40, "resamples": 1000},
    "monitor": {},
    "runtime": {"device": "cpu", "threads": 1},
}
PAGE = "<nav><!-- gate-link --><!-- /gate-link --></nav><main><!-- gate --><!-- /gate --></main>"


class Pipeline:
    """A project's folder in which steps run, in this process."""

    def __init__(self, root: Path, client: MlflowClient) -> None:
        self.root, self.client = root, client

    def prepare(self) -> None:
        """Make interactions and parts, and what `register` wants to log."""
        write_log(self.root / "log.csv", planted_events(users_per_block=40, items_per_block=24))
        self.set_params()
        self.run(list_raw, "--out raw.json")
        self.run(
            ingest,
            "--raw-manifest raw.json --events events --quarantine quarantine --titles titles "
            "--report ingest.json",
        )
        self.run(build_interactions, "--events events --titles titles --out interactions")
        parts = "--train train --validation validation --test test"
        self.run(split, f"--interactions interactions {parts}")
        (self.root / "report.html").write_text(PAGE)
        (self.root / "curves").mkdir()

    def set_params(self, **changes: Any) -> None:
        """Write params.yaml; changes go one level into a section."""
        changed = {name: {**SECTIONS[name], **values} for name, values in changes.items()}
        write_params(self.root, **{**SECTIONS, **changed})

    def run(self, step: ModuleType, line: str) -> None:
        """Run a stage."""
        done = call(step, *line.split())
        assert done.returncode == 0, done.stderr

    def register(self, kind: str, *, seed_sd: float | None = None, **changes: Any) -> str:
        """Refit a model and register it; return its version."""
        self.set_params(**changes)
        config = {"kind": kind}
        spread = {} if seed_sd is None else {"recall@5": seed_sd}
        row = {"config": config, "validation": {}, "test": {}, "sd": {"validation": spread}}
        board = {"selected": kind, "models": {kind: row}}
        selection = {"model": kind, "config": config, "epochs": 0, "embedding_epochs": 0}
        Path("leaderboard.json").write_text(json.dumps(board))
        Path("selection.json").write_text(json.dumps(selection))
        Path("curves", f"{kind}.csv").write_text("epoch\n")
        parts = "--interactions interactions --train train --validation validation"
        self.run(refit, f"--selection selection.json {parts} --out final --report refit.json")
        self.run(
            register,
            "--model-dir final --interactions interactions --selection selection.json "
            "--leaderboard leaderboard.json --html report.html --curves curves "
            "--out registration.json",
        )
        return str(json.loads(Path("registration.json").read_text())["version"])

    def gate(self, *flags: str) -> dict[str, Any]:
        """Let the gate decide; return gate.json."""
        places = "--interactions interactions --registration registration.json --out gate.json"
        line = f"{places} --ingest-report ingest.json --html report.html {' '.join(flags)}"
        done = call(gate, *line.split())
        if done.returncode != 0:
            raise ArtifactError(done.stderr)
        content: dict[str, Any] = json.loads(Path("gate.json").read_text())
        return content

    def promote(self) -> None:
        """Do as the gate decided."""
        done = call(promote, "--gate", "gate.json")
        if done.returncode != 0:
            raise SystemExit(done.returncode)


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pipeline]:
    root = tmp_path_factory.mktemp("gate")
    here = Path.cwd()
    with pytest.MonkeyPatch.context() as patch, place(root, patch) as client:
        found = Pipeline(root, client)
        found.prepare()
        yield found
        os.chdir(here)


@pytest.fixture(scope="module")
def first(pipeline: Pipeline) -> dict[str, Any]:
    """EASE, the first model of all, is compared with what is popular, and promoted."""
    pipeline.register("ease", register={"alias": "challenger"})
    assert aliases(pipeline.client) == {"challenger": "1"}
    decided = pipeline.gate()
    pipeline.promote()
    return decided


@pytest.fixture(scope="module")
def second(pipeline: Pipeline, first: dict[str, Any]) -> dict[str, Any]:
    """Popularity, a worse model, is compared with the champion."""
    assert pipeline.register("popularity") == "2"
    return pipeline.gate()


def tags(pipeline: Pipeline, number: str) -> dict[str, str]:
    return dict(pipeline.client.get_model_version(MODEL, number).tags)


def test_a_first_model_is_promoted_over_popularity(
    pipeline: Pipeline, first: dict[str, Any]
) -> None:
    assert first["decision"] == "promote", first["reason"]
    assert first["champion"] is None
    assert first["numbers"]["against"] == "popularity"
    assert first["numbers"]["candidate"] > first["numbers"]["popularity"] + 0.1
    assert first["based_on"] == 0
    end = get_version(MODEL, "1").training_end
    assert first["window"]["start"] > end.isoformat()
    assert first["window"]["users"] >= 40
    assert all(guard["kept"] for guard in first["guards"])
    assert tags(pipeline, "1")["gate_decision"] == "promote"


def test_a_worse_model_is_kept_out_with_its_numbers(
    pipeline: Pipeline, second: dict[str, Any]
) -> None:
    assert second["decision"] == "keep"
    assert second["based_on"] == 1
    assert second["champion"]["version"] == "1"
    numbers = second["numbers"]
    assert numbers["difference"] == pytest.approx(numbers["candidate"] - numbers["champion"])
    assert numbers["lower_bound"] < numbers["difference"] < 0
    # the candidate is the popularity model: what it scores is what the baseline scores, but for
    # the order of equally popular items
    assert numbers["candidate"] == pytest.approx(numbers["popularity"], abs=0.1)
    guards = set(gate.GateConfig().guards.model_dump()) - {"min_seed_sds"}  # one seed: no spread
    assert {guard["key"] for guard in second["guards"]} == guards
    measures = second["candidate"]["measures"]
    assert measures["latency_ms"] > 0
    assert 0 < measures["size_mib"] < 1


def test_the_decision_is_in_the_tags_the_report_and_the_run(
    pipeline: Pipeline, second: dict[str, Any]
) -> None:
    found = tags(pipeline, "2")
    assert found["gate_decision"] == "keep"
    assert found["gate_reason"] == second["reason"]
    assert found["gate_against"] == "version 1"
    assert float(found["gate_lower_bound"]) == second["numbers"]["lower_bound"]
    assert found["gate_window"] == f"{second['window']['start']}/{second['window']['end']}"
    html = Path("report.html").read_text()
    assert html.count('<section id="gate">') == 1
    assert "Version 1 stays champion." in html
    logged = list_artifacts(run_id=second["candidate"]["run_id"])
    assert {"gate.json", "report.html"} <= {artifact.path for artifact in logged}


def test_register_leaves_a_promoted_champion_alone(
    pipeline: Pipeline, second: dict[str, Any]
) -> None:
    assert aliases(pipeline.client) == {"champion": "1", "challenger": "2"}
    registration = json.loads(Path("registration.json").read_text())
    assert registration["alias"] == "challenger"


def test_promote_does_nothing_when_the_champion_is_kept(
    pipeline: Pipeline, second: dict[str, Any]
) -> None:
    with pytest.raises(SystemExit) as ended:
        pipeline.promote()
    assert ended.value.code == SKIPPED
    assert aliases(pipeline.client)["champion"] == "1"


def test_a_candidate_that_has_seen_everything_is_not_compared(
    pipeline: Pipeline, second: dict[str, Any]
) -> None:
    number = pipeline.register("ease", refit={"hold_out_test": False})
    decided = pipeline.gate()
    assert decided["decision"] == "keep"
    assert (
        "no fair comparison is possible: the candidate was trained on data up to"
        in decided["reason"]
    )
    assert (decided["numbers"], decided["guards"], decided["window"]) == ({}, [], None)
    assert tags(pipeline, number)["gate_decision"] == "keep"


def test_the_spread_between_seeds_of_the_run_is_a_guard(
    pipeline: Pipeline, second: dict[str, Any]
) -> None:
    pipeline.register("popularity", seed_sd=0.25)
    (guard,) = [g for g in pipeline.gate()["guards"] if g["key"] == "min_seed_sds"]
    assert guard["detail"].endswith("against 0.25")
    assert not guard["kept"]


def test_a_tag_that_lies_about_the_training_does_not_help(
    pipeline: Pipeline, second: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def scored(asked: pl.DataFrame, uris: Sequence[str], *_: Any) -> dict[str, Scored]:
        answers = Answers([["i0_1"]] * len(asked), ["history"] * len(asked), 0.001, 9)
        return {uri: Scored(answers, datetime(2024, 1, 1, tzinfo=UTC)) for uri in uris}

    monkeypatch.setattr(comparison, "score_versions", scored)
    pipeline.register("popularity")
    decided = pipeline.gate()
    assert decided["decision"] == "keep"
    assert "by its own model.json" in decided["reason"]


def test_alarms_of_the_data_are_flags(pipeline: Pipeline, first: dict[str, Any]) -> None:
    assert first["quality"] == {"rejected_share": 0.0, "flags": [], "checks": []}  # nobody looked
    interactions = pl.read_parquet("interactions/interactions.parquet")
    last: datetime = interactions["timestamp"].sort()[-1]
    statuses = {}
    for days in (0, 10):
        midnight = (last + timedelta(days=days)).strftime("%Y-%m-%dT23:59:59.999999Z")
        quality = pipeline.gate(f"--now {midnight}")["quality"]
        statuses[days] = {check["name"]: check["status"] for check in quality["checks"]}
        assert quality["flags"] == [n for n, s in statuses[days].items() if s == "alarm"]
    assert statuses[0]["freshness"] == "ok"
    assert statuses[10]["freshness"] == statuses[10]["rows"] == "alarm"


def test_a_version_is_scored_by_its_own_code(pipeline: Pipeline, first: dict[str, Any]) -> None:
    cases = pl.DataFrame(
        {
            "user_id": ["known", "unknown"],
            "items": [["i0_1", "i0_2"], ["never seen"]],
            "timestamps": [[1.0, 2.0], [3.0]],
            "seen": [[f"i0_{number}" for number in range(3, 20)], []],
        }
    )
    folder = pipeline.root / "scoring"
    (found,) = score_versions(cases, [f"models:/{MODEL}/1"], 3, folder).values()
    assert found.answers.sources == ["history", "popularity"]
    assert [len(items) for items in found.answers.item_ids] == [3, 3]
    shown = {"i0_1", "i0_2", *cases["seen"][0]}
    assert not shown & set(found.answers.item_ids[0])
    again = cases.with_columns(seen=pl.lit([], pl.List(pl.String)))
    answers = answer(again, f"models:/{MODEL}/1", 30, folder, exclude_history=False)
    assert {"i0_1", "i0_2"} <= set(answers["item_ids"][0])
    assert found.training_last == get_version(MODEL, "1").training_end
    code = Path(json.loads((folder / "0" / "facts.json").read_text())["code"])
    assert not code.is_relative_to(REPOSITORY)
    with pytest.raises(ArtifactError, match=r"models:/diffrec/99 cannot be scored"):
        score_versions(cases, [f"models:/{MODEL}/99"], 3, folder)


def test_the_champion_itself_is_not_compared(pipeline: Pipeline, second: dict[str, Any]) -> None:
    assert pipeline.register("ease") == "1"  # the same model again
    assert json.loads(Path("registration.json").read_text())["alias"] == "champion"
    decided = pipeline.gate("--flag late")
    assert decided["decision"] == "keep"
    assert "champion already" in decided["reason"]
    assert decided["quality"]["flags"] == ["late"]
    assert tags(pipeline, "1")["gate_decision"] == "promote"  # as it was


class Killed(BaseException):
    """Stands for a kill: nothing of ours or of MLflow's catches it."""


def test_a_registration_that_is_killed_leaves_one_version_with_all_its_tags(
    pipeline: Pipeline, second: dict[str, Any]
) -> None:
    create = ModelRegistryClient.create_model_version
    before = len(pipeline.client.search_model_versions(f"name = '{MODEL}'"))

    def killed(*arguments: Any, **options: Any) -> None:
        create(*arguments, **options)
        raise Killed

    with pytest.MonkeyPatch.context() as patch, pytest.raises(Killed):
        patch.setattr(ModelRegistryClient, "create_model_version", killed)
        pipeline.register("item_knn", register={"alias": "challenger"})
    number = pipeline.register("item_knn", register={"alias": "challenger"})
    assert len(pipeline.client.search_model_versions(f"name = '{MODEL}'")) == before + 1
    assert int(number) == before + 1
    assert {"model_fingerprint", "data_last", "commit", "model"} <= set(tags(pipeline, number))
    assert aliases(pipeline.client)["challenger"] == number


def test_held_out_data_change_what_is_trained_on_but_not_the_vocabulary(
    pipeline: Pipeline, first: dict[str, Any]
) -> None:
    run: Callable[..., str] = pipeline.register
    all_data = tags(pipeline, run("popularity", refit={"hold_out_test": False}))
    held_out = tags(pipeline, run("popularity"))
    assert all_data["vocabulary"] == held_out["vocabulary"]
    assert held_out["data_last"] < all_data["data_last"]
