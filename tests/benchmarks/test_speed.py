"""The speed benchmark: turns, rows and ratios, with sides that measure nothing."""

import argparse
import json
import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console

from benchmarks import speed
from benchmarks._cases import groups
from benchmarks._comparison import (
    Comparison,
    Group,
    Reading,
    Row,
    SideSpec,
)
from benchmarks._laps import Lap, Side, SideError
from benchmarks._specs import Others
from diffrec_core.common.config import parse
from diffrec_core.common.errors import ConfigError
from diffrec_core.models.kinds import create
from diffrec_core.models.lightgcn.network import LightGCNConfig

TOY = """
def count(settings, laps):
    laps.lap()
    for number in range(settings["laps"]):
        print("a library that prints")
        laps.lap({"number": number})

def broken(settings, laps):
    raise ValueError("as it was told")
"""


@pytest.fixture
def toy(tmp_path: Path) -> Callable[..., Side]:
    """Start a side of the module above in a process of its own."""
    (tmp_path / "toy.py").write_text(TOY)

    def start(name: str, **settings: Any) -> Side:
        paths = {"PYTHONPATH": f"{tmp_path}:{Path(speed.__file__).parents[1]}"}
        return Side(f"toy:{name}", settings, environment=paths)

    return start


def test_a_side_that_prints_and_ends_early(toy: Callable[..., Side]) -> None:
    side = toy("count", laps=2)
    assert [side.lap() for _ in range(3)] == [True, True, False]
    assert [lap.facts["number"] for lap in side.laps] == [0, 1]
    assert all(lap.seconds >= 0 and lap.peak_mib > 1 for lap in side.laps)
    side.close()


def test_a_side_that_fails_says_why(toy: Callable[..., Side]) -> None:
    with pytest.raises(SideError, match=r"(?s)toy:broken ended with 1.*as it was told"):
        toy("broken")


def test_cases_are_chosen_by_their_beginning() -> None:
    known = groups(Others(data="somewhere"), 1)
    names = {
        c.case for group in speed.choose(known, ["diffrec.train_epoch"]) for c in group.comparisons
    }
    assert names == {"diffrec.train_epoch.float32", "diffrec.train_epoch.bfloat16"}
    everything = {c.case for group in speed.choose(known, []) for c in group.comparisons}
    assert {
        "lightgcn.to_recbole",
        "lightgcn.pretraining",
        "lightgcn.convergence",
        "lightgcn.memory",
        "diffrec.30_epochs.float32",
        "kmeans",
        "catalogue.diffrec.memory",
        "evaluation.large.memory",
    } <= everything
    with pytest.raises(ConfigError, match=r"nothing begins with 'diffr'; known: .*kmeans"):
        speed.choose(known, ["diffr"])


@pytest.fixture
def bfloat16_units(monkeypatch: pytest.MonkeyPatch) -> None:
    """A CPU that has them: without, rows in bfloat16 say so and nothing else."""
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"amx_bf16": True})


@pytest.mark.usefixtures("bfloat16_units")
def test_every_comparison_knows_its_sides() -> None:
    for group in groups(Others("data", 10, 20, "reference", "recbole", "python", "kmeans"), 1):
        for comparison in group.comparisons:
            assert set(comparison.sides) <= set(group.sides)
        assert not any(spec.missing for spec in group.sides.values())


def test_settings_of_our_sides_are_allowed() -> None:
    sides = [side for group in groups(Others("data", 10, 20), 1) for side in group.sides.values()]
    ours = [side for side in sides if "_ours" in side.function and "model" in side.settings]
    assert len(ours) == 2 * 5 + 2
    for side in ours:
        create(side.settings["model"], "model")
    lightgcn = [side for side in sides if "_lightgcn" in side.function]
    assert len(lightgcn) == 1 + 1 + 1 + 3
    for side in lightgcn:
        parse(side.settings["model"], "lightgcn", LightGCNConfig)


def test_bfloat16_is_held_to_recall_and_ndcg() -> None:
    facts = {"recall@20": 0.2, "ndcg@20": 0.1, "mrr@20": 0.4}
    exact = {"float32 recall@20": 0.2001, "float32 ndcg@20": 0.1003, "float32 mrr@20": 0.41}
    group = groups(Others("data", 10, 20), 1)[1]
    (held,) = (c for c in group.comparisons if c.unit == "metric")
    row = held.row({"bfloat16": [Lap(1.0, 1.0, {**facts, **exact})]})
    assert row.ours == pytest.approx(0.0003)
    assert (row.ratio, row.met) == (pytest.approx(0.6), True)
    assert row.note.startswith("recall@20 0.20000 for 0.20010, ndcg@20 0.10000 for 0.10030;")
    assert row.note.endswith("at most 0.01000, in mrr@20")


def arguments(tmp_path: Path, **given: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    speed.add_arguments(parser)
    args = parser.parse_args(["--out", str(tmp_path), "--cases", "kmeans"])
    return argparse.Namespace(**{**vars(args), **given})


@pytest.fixture
def no_checkouts(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("REFERENCE", "RECBOLE", "KMEANS_PYTORCH", "THREADS", "REPEATS", "CASES"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.usefixtures("no_checkouts")
def test_without_data_the_synthetic_cases_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("DIFFREC_BENCH_DATA", str(tmp_path / "nothing"))
    (tmp_path / "speed.json").write_text(
        json.dumps([{"case": "lightgcn.memory", "against": "a straight line"}])
    )
    row = Row("kmeans", "target", 0.5, 1.0, 0.5, peak_mib=300.123456, target="≤ 1", met=True)
    asked: list[dict[str, str]] = []

    def measure(group: Group, environment: dict[str, str]) -> list[Row]:
        asked.append(environment)
        return [row]

    monkeypatch.setattr(speed, "measure", measure)
    with caplog.at_level(logging.WARNING):
        speed.main(arguments(tmp_path, threads="3"))
    assert "DIFFREC_BENCH_DATA must name a folder with split.npz" in caplog.text
    assert asked[0]["OMP_WAIT_POLICY"] == "PASSIVE"
    assert asked[0]["GOMP_SPINCOUNT"] == os.environ["GOMP_SPINCOUNT"]  # as in our steps
    assert asked[0]["OMP_NUM_THREADS"] == "3"
    earlier, written = json.loads((tmp_path / "speed.json").read_text())
    assert earlier["case"] == "lightgcn.memory"
    assert {"case", "ours", "other", "ratio", "unit", "peak_mib"} <= set(written)
    assert (written["ratio"], written["peak_mib"]) == (0.5, 300.12)


@pytest.mark.usefixtures("bfloat16_units")
def test_without_data_rows_say_so_and_nothing_is_started() -> None:
    on_ml1m = [
        *groups(Others(), 1)[:6],
        *speed.choose(groups(Others(), 1), ["lightgcn.convergence"]),
    ]
    for group in on_ml1m:
        for row in group.run(lambda spec: pytest.fail(f"started {spec}")):
            assert row.note == "not measured: DIFFREC_BENCH_DATA names no data"


def test_rows_of_cases_that_were_not_chosen_stay(tmp_path: Path) -> None:
    path = tmp_path / "speed.json"
    order = [("a", "limit"), ("a", "them"), ("b", "them")]
    first = [Row("b", "them", 1.0, 2.0, 2.0), Row("a", "limit", 3.0, 3.0, 1.0)]
    speed.write_rows(path, [*first, Row("renamed", "them", 1.0, 1.0, 1.0)], order)
    later = [Row("a", "them", 5.0, 5.0, 1.0), Row("a", "limit", 4.0, 4.0, 1.0)]
    speed.write_rows(path, later, order)
    written = json.loads(path.read_text())
    assert [(row["case"], row["against"], row["ours"]) for row in written] == [
        ("a", "limit", 4.0),
        ("a", "them", 5.0),
        ("b", "them", 1.0),
    ]


def test_a_row_is_replaced_by_a_failure_but_not_by_one_that_was_not_measured(
    tmp_path: Path,
) -> None:
    path, order = tmp_path / "speed.json", [("a", "them"), ("b", "them")]
    speed.write_rows(path, [Row("a", "them", 1.0, 2.0, 2.0), Row("b", "them", 1.0)], order)
    nobody, broken = "not measured: REFERENCE names no checkout", "failed: it is broken"
    speed.write_rows(path, [Row("a", "them", note=nobody), Row("b", "them", note=broken)], order)
    assert [(row["ours"], row["note"]) for row in json.loads(path.read_text())] == [
        (1.0, ""),
        (None, broken),
    ]
    speed.write_rows(path, [Row("b", "them", note=nobody)], order)
    assert json.loads(path.read_text())[1]["note"] == nobody


@pytest.mark.usefixtures("no_checkouts")
@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"reference": "nowhere"}, "REFERENCE: nowhere is no checkout of it: DiffRec/main.py"),
        ({"threads": "0"}, "THREADS: '0' is not a whole number, 1 or more"),
        ({"repeats": "many"}, "REPEATS: 'many' is not a whole number"),
        ({"wait_policy": "LAZY"}, "WAIT_POLICY: 'LAZY' is neither PASSIVE nor ACTIVE"),
    ],
)
def test_wrong_choices(given: dict[str, str], message: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=message):
        speed.main(arguments(tmp_path, **given))


def test_a_failed_group_becomes_rows() -> None:
    sides = {"ours": SideSpec("benchmarks._laps:nothing_of_that_name")}
    (row,) = speed.measure(
        Group(sides, [Comparison("a", "it", Reading("ours"), 1.0, target=2.0)], 1), {}
    )
    assert (row.ratio, row.target) == (None, "≥ 2")
    assert row.note.startswith("failed: AttributeError")


def test_the_table_shows_the_verdict() -> None:
    rows = [
        Row("a", "limit", 1.15, 1.0, 1.15, peak_mib=1234.5, target="≤ 1.1", met=False),
        Row("b", "them", note="not measured: [none] given"),
    ]
    console = Console(width=160, record=True, file=None, quiet=False)
    with console.capture() as capture:
        console.print(speed.table(rows))
    first, second = capture.get().splitlines()[2:4]
    assert first.split() == ["a", "limit", "1.15", "≤", "1.1", "no", "1.15", "1", "s", "1,234"]
    assert "not measured: [none] given" in second
