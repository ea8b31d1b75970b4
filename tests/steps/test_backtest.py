"""Nights of a small log replayed: who leads, who serves, and that a killed run goes on."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ruamel.yaml import YAML

from diffrec_core.common.errors import ConfigError, DataError
from diffrec_core.contest.judging import NightTask
from diffrec_core.contest.ledger import parse_nights
from diffrec_core.data.histories import Histories
from pipeline_steps.params.root import Params
from pipeline_steps.studies import backtest, backtest_nights
from tests.integration.small_steps import SECTIONS, prepare_parts
from tests.raw_logs import REPOSITORY

NIGHTS = 14


@pytest.fixture(scope="module")
def events(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return prepare_parts(tmp_path_factory.mktemp("parts")) / "events"


def make_params(**sections: Any) -> Params:
    whole = YAML(typ="safe").load(REPOSITORY / "params.yaml")
    small = {key: SECTIONS[key] for key in ("build_interactions", "runtime", "split")}
    small["build_interactions"] = {"min_user_interactions": 1, "min_item_interactions": 1}
    small["pretrain_item_embeddings"] = SECTIONS["pretrain_item_embeddings"]
    small["train"] = {**whole["train"], **SECTIONS["train"]}
    return Params.parse_all({**whole, **small, "contest": {"min_users": 2}, **sections})


def replay(
    folder: Path, events: Path, monkeypatch: pytest.MonkeyPatch, *models: str, nights: int = NIGHTS
) -> dict[str, Any]:
    folder.mkdir(exist_ok=True)
    monkeypatch.chdir(folder)
    inputs = backtest.BacktestInputs(events=events, nights=nights, period="day", models=models)
    backtest.run(inputs, make_params())
    found: dict[str, Any] = json.loads(Path("reports/backtest/results.json").read_text())
    return found


def test_the_contest_finds_the_model_that_sees_the_blocks(
    events: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    results = replay(tmp_path, events, monkeypatch, "popularity", "ease")
    assert results["recipes"]["ease"]["mean"] > 1.5 * results["recipes"]["popularity"]["mean"]
    champions = results["champions"]
    assert champions[:9] == ["popularity"] * 9  # no switch before the ninth night is over
    assert champions[-1] == "ease"
    regret = {name: of["regret"] for name, of in results["policies"].items()}
    assert regret["best of each night"] == 0.0
    assert 0.0 <= regret["best recipe, known in advance"] <= regret["contest"]
    assert regret["contest"] < regret["never switch"]
    ledger = parse_nights(Path("reports/backtest/nights.jsonl").read_text(), "ledger")
    assert [night.champion.partition("-")[0] for night in ledger] == champions
    assert {age: of["nights"] for age, of in results["recipes"]["ease"]["older"].items()} == {
        "1": NIGHTS - 1,
        "7": NIGHTS - 7,
    }


def test_a_killed_run_goes_on_and_finds_the_same(
    events: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = replay(tmp_path / "whole", events, monkeypatch, "ease", "diffrec", nights=4)
    monkeypatch.setattr(backtest, "results_of", lambda *_, **__: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        replay(tmp_path / "cut", events, monkeypatch, "ease", "diffrec", nights=4)
    monkeypatch.undo()
    (folder,) = (tmp_path / "cut/.backtest").iterdir()
    nights = sorted((folder / "nights").iterdir())
    for path in nights[2:]:
        path.unlink()
    kept = [path.stat().st_mtime_ns for path in nights[:2]]
    again = replay(tmp_path / "cut", events, monkeypatch, "ease", "diffrec", nights=4)
    assert [path.stat().st_mtime_ns for path in nights[:2]] == kept
    for results in (whole, again):
        for recipe in results["recipes"].values():
            del recipe["seconds"]
    assert again == whole


def test_latent_models_get_clusters_of_each_night(
    events: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    results = replay(tmp_path, events, monkeypatch, "l_diffrec", nights=2)
    assert results["nights"] == 2
    (folder,) = (tmp_path / ".backtest").iterdir()
    epochs = json.loads((folder / "epochs.json").read_text())
    assert set(epochs) == {"l_diffrec", "item_embeddings"}
    assert not any((tmp_path / ".checkpoints/backtest").glob("*"))


def test_nights_without_anybody_are_left_out_and_not_all_may_be(
    events: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nobody = NightTask((), *(Histories.from_lists([]) for _ in range(3)), np.zeros(0, np.int64))
    asked = iter([True, False, False, False, False])
    task = backtest_nights.night_task
    monkeypatch.setattr(
        backtest_nights, "night_task", lambda *of: task(*of) if next(asked) else nobody
    )
    results = replay(tmp_path / "some", events, monkeypatch, "ease", nights=3)
    assert (results["nights"], len(results["left_out"])) == (1, 2)
    with pytest.raises(DataError, match="nobody with a history came in any of the 2 nights"):
        replay(tmp_path / "none", events, monkeypatch, "ease", nights=2)


def test_what_is_refused(events: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="'unheard_of' is not under `train`"):
        replay(tmp_path, events, monkeypatch, "unheard_of")
    with pytest.raises(ConfigError, match="ease and ease are one recipe"):
        replay(tmp_path, events, monkeypatch, "ease", "ease")
    with pytest.raises(DataError, match="ask for fewer --nights"):
        replay(tmp_path, events, monkeypatch, "ease", nights=400)
    with pytest.raises(ConfigError, match="--nights 0"):
        replay(tmp_path, events, monkeypatch, "ease", nights=0)
