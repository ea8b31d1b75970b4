"""The speed benchmark: turns, rows and ratios, and its sides at toy size."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.flop_counter import FlopCounterMode

from benchmarks import speed
from benchmarks.processes import Lap, WorkError
from benchmarks.results import Results, Row, show
from benchmarks.settings import model_settings
from benchmarks.timing import limits, ours, synthetic
from benchmarks.timing.cases import (
    Available,
    all_cases,
    compare,
    epoch_sides,
    flops_per_user,
)
from diffrec_core.common.errors import ConfigError
from diffrec_core.models.kinds import create
from tests.benchmarks.conftest import LATENT, TINY


@pytest.mark.parametrize(
    ("is_limit", "target", "ratio", "met", "goal"),
    [
        (False, 2.0, 2.0, True, "≥ 2"),
        (False, 2.5, 2.0, False, "≥ 2.5"),
        (True, 0.5, 0.5, True, "≤ 0.5"),
        (True, 0.4, 0.5, False, "≤ 0.4"),
        (False, None, 2.0, None, ""),
    ],
)
def test_a_ratio_is_a_gain_or_a_multiple_of_a_limit(
    is_limit: bool, target: float | None, ratio: float, met: bool | None, goal: str
) -> None:
    row = compare("a", "it", 2.0, 4.0, is_limit=is_limit, target=target)
    assert (row["ratio"], row["met"], row["target"]) == (ratio, met, goal)
    assert (row["ours"], row["other"], row["unit"]) == (2.0, 4.0, "s")


@pytest.fixture
def laps_without_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sides are not started: each lap of one takes as many seconds as its name has letters."""

    def take_turns(sides: dict[str, Any], rounds: int) -> dict[str, list[Lap]]:
        return {name: [Lap(float(len(name)), 100.0)] * rounds for name in sides}

    monkeypatch.setattr("benchmarks.timing.cases.take_turns", take_turns)


@pytest.mark.usefixtures("laps_without_work")
def test_rows_need_data_a_checkout_and_units(monkeypatch: pytest.MonkeyPatch) -> None:
    epoch = all_cases()["diffrec.train_epoch"]
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"amx_bf16": True})
    against = ["authors", "authors, loader without workers"]
    limit = ["products, loss, AdamW, noise and masks alone"]
    everything = epoch(Available("data", "checkout", 3))
    assert [row["against"] for row in everything] == 2 * [*against, *limit]
    assert [row["case"] for row in everything][::3] == [
        "diffrec.train_epoch.float32",
        "diffrec.train_epoch.bfloat16",
    ]
    assert [row["against"] for row in epoch(Available("data"))] == 2 * limit
    assert epoch(Available()) == []
    monkeypatch.setattr(torch.cpu, "get_capabilities", dict)
    rows = epoch(Available("data", "checkout", 3))
    assert [row["against"] for row in rows] == [*against, *limit]
    assert (rows[0]["ours"], rows[0]["other"], rows[0]["ratio"]) == (7.0, 7.0, 1.0)
    evaluated = all_cases()["l_diffrec.evaluate"](Available("data", "checkout", 3))
    assert [row["case"] for row in evaluated] == ["l_diffrec.evaluate.float32"]


def test_settings_of_models_are_allowed() -> None:
    for name in ("diffrec", "l_diffrec"):
        for _, told in epoch_sides(name, Available("data")).values():
            create(told["model"], "model")


@pytest.mark.parametrize("model", [TINY, LATENT], ids=["diffrec", "l_diffrec"])
def test_an_epoch_and_an_evaluation_are_run(wide_data: str, model: dict[str, Any]) -> None:
    settings = {"data": wide_data, "model": model}
    seconds: Any = ours.train_epoch(settings)()
    assert 0.0 < seconds < 60.0
    metrics: Any = ours.evaluate({**settings, "train_epochs": 1})()
    assert 0 < metrics["recall@100"] <= 1


@pytest.mark.parametrize("model", [TINY, LATENT], ids=["diffrec", "l_diffrec"])
def test_a_catalogue_is_trained_then_scored(model: dict[str, Any]) -> None:
    section = {**model, "batch_size": 10, "epochs": 3, "validate_every_epochs": 3}
    measured = ours.catalogue(synthetic.Shape(60, 200, 400), section, 2, 7)
    assert set(measured) == {"train", "evaluate", "peak_mib"}
    assert min(measured.values()) > 0


def test_a_large_evaluation_measures_everything_beside_its_scores_alone() -> None:
    settings = {"shape": [60, 200, 400], "batch": 16}
    metrics: Any = ours.evaluate_large(settings)()
    assert metrics["users"] == 60
    assert {f"{name}@100" for name in ("recall", "map", "gini", "diversity")} <= set(metrics)
    ours.scores_and_top_k(settings)()


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_limits_are_run(wide_data: str, precision: str) -> None:
    model = {"hidden_dims": [2, 5], "batch_size": 5, "precision": precision}
    limits.train_step({"data": wide_data, "model": model})()
    scores: Any = limits.products({"model": model, "items": 6})()
    assert scores.shape == (5, 6)


def test_arithmetic_of_a_training_step_is_what_torch_counts() -> None:
    network, users, model = limits.mlp([8], 30, 30), 4, {"hidden_dims": [8], "steps": 3}
    with FlopCounterMode(display=False) as counter:
        network(torch.rand(users, 30)).sum().backward()
    training, scoring = flops_per_user({**model, "latent": False}, 30)
    assert counter.get_total_flops() == users * training
    assert scoring == 2 * 30 * 8 + 2 * 2 * 8 * 8


@pytest.mark.usefixtures("laps_without_work")
def test_a_catalogue_is_scaled_to_an_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    model = model_settings("diffrec", "amazon-book-clean")
    shape, batch = synthetic.AMAZON_BOOK, model["batch_size"]
    measured = {"train": 8.0, "evaluate": 3.0, "peak_mib": 950.0}
    monkeypatch.setattr("benchmarks.timing.cases.in_own_process", lambda *_: measured)
    epoch, users, memory = all_cases()["catalogue.diffrec"](Available())
    assert epoch["ours"] == pytest.approx(8.0 * -(-shape.users // batch) / 4, rel=1e-4)
    # five products of an epoch's users for one of a batch, which took as long as its name
    assert epoch["other"] == pytest.approx(5 * len("products") * shape.users / batch, rel=1e-4)
    assert users["ours"] == 3.0
    assert (memory["ours"], memory["unit"], memory["met"]) == (950.0, "MiB", True)


@given(st.integers(1, 40), st.integers(20, 60), st.integers(0, 200), st.integers(0, 5))
@settings(deadline=None, max_examples=30)
def test_synthetic_pairs_are_distinct_and_as_many_as_asked(
    users: int, items: int, more: int, seed: int
) -> None:
    shape = synthetic.Shape(users, items, min(users + more, users * items // 3 + users))
    made = synthetic.histories(shape, seed=seed)
    assert made.lengths.sum() == shape.interactions
    assert len(made) == users
    assert made.lengths.min() >= 1
    assert len(np.unique(made.rows * items + made.items)) == shape.interactions
    assert np.array_equal(made.items, synthetic.histories(shape, seed=seed).items)


def test_synthetic_items_are_of_very_different_popularity() -> None:
    made = synthetic.histories(synthetic.Shape(2000, 1000, 40_000), seed=0)
    counts = np.sort(np.bincount(made.items, minlength=1000))[::-1]
    assert counts[:100].sum() > 0.3 * counts.sum()
    assert counts[500:].sum() > 0.1 * counts.sum()


def row(case: str, ratio: float = 1.0, **more: Any) -> Row:
    numbers = {"ratio": ratio, "ours": 1.0, "other": 1.0, "met": None}
    return {"case": case, "against": "it", "target": "", "unit": "s", **numbers, **more}


@pytest.fixture
def fake_cases(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Cases of one row each; those without one fail."""

    def fake(**rows: Row | None) -> None:
        def measure(name: str) -> list[Row]:
            if (row := rows[name]) is None:
                raise WorkError("ValueError: it is broken")
            return [row]

        cases = {name: lambda available, name=name: measure(name) for name in rows}
        monkeypatch.setattr(speed, "all_cases", lambda: cases)

    return fake


def test_chosen_cases_are_measured_and_other_rows_stay(
    tmp_path: Path, fake_cases: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    results = Results(tmp_path / "speed.json", ("case", "against"))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    fake_cases(a=row("a"), b=row("b", ratio=2.0))
    speed.run(speed.SpeedInputs(out=tmp_path))
    fake_cases(a=row("a", ratio=7.0), b=row("b", ratio=7.0))
    speed.run(speed.SpeedInputs(out=tmp_path, cases=("b",), threads=3))
    assert [(row["case"], row["ratio"]) for row in results.rows()] == [("a", 1.0), ("b", 7.0)]
    assert os.environ["OMP_NUM_THREADS"] == "3"  # of the sides to come


def test_a_case_that_fails_does_not_stop_the_others(
    tmp_path: Path, fake_cases: Callable[..., None], caplog: pytest.LogCaptureFixture
) -> None:
    fake_cases(a=None, b=row("b"))
    with pytest.raises(WorkError, match="1 of 2 cases failed: a"):
        speed.run(speed.SpeedInputs(out=tmp_path))
    assert "a: ValueError: it is broken" in caplog.text
    rows = Results(tmp_path / "speed.json", ("case", "against")).rows()
    assert [row["case"] for row in rows] == ["b"]


def test_a_case_that_is_unknown_is_named(fake_cases: Callable[..., None]) -> None:
    fake_cases(a=row("a"))
    with pytest.raises(ConfigError, match="--cases: c unknown; known: a"):
        speed.run(speed.SpeedInputs(cases=("c",)))


def test_the_table_shows_the_verdict(capsys: pytest.CaptureFixture[str]) -> None:
    show(speed.table([row("a", ratio=1.154, ours=1234.5, target="≤ 1.1", met=False)]))
    line = capsys.readouterr().out.splitlines()[2]
    assert line.split() == ["a", "it", "1.154", "≤", "1.1", "no", "1,234", "1", "s"]
