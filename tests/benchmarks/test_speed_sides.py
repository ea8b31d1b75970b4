"""Our sides of the speed benchmark, the limits and the synthetic catalogue, at toy size."""

import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.flop_counter import FlopCounterMode

from benchmarks import _authors, _cases, _catalogue, _large, _limits, _ours, _peers, _synthetic
from benchmarks._laps import Lap, Laps
from benchmarks._specs import Others
from diffrec_core.evaluation.ranking import RankingTask
from diffrec_core.models.diffrec.model import DiffRec
from tests.benchmarks.conftest import laps_of

TINY = {"kind": "diffrec", "hidden_dims": [4], "steps": 2, "precision": "float32"}
LATENT = {**TINY, "latent": True, "encoder_dims": [4]}
SHAPE = [60, 200, 400]


def test_training_is_an_epoch_a_lap(wide_data: str) -> None:
    assert len(laps_of(_ours.train_epoch, {"data": wide_data, "model": TINY}, 3)) == 4


@pytest.mark.parametrize("model", [TINY, LATENT], ids=["diffrec", "l_diffrec"])
def test_precisions_are_compared_with_equal_weights(
    wide_data: str, model: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    measured: list[tuple[str, float]] = []

    def metrics(model: DiffRec, task: RankingTask) -> dict[str, float]:
        weight = float(next(model.network.parameters()).detach().sum())
        measured.append((model.network.config.precision, weight))
        return {"recall@20": float(len(measured))}

    monkeypatch.setattr(_ours, "_metrics", metrics)
    told = {"data": wide_data, "model": {**model, "precision": "bfloat16"}, "train_epochs": 2}
    laps = laps_of(_ours.evaluate, told, 1)
    assert [precision for precision, _ in measured] == ["float32", "bfloat16", "bfloat16"]
    assert len({weight for _, weight in measured}) == 1
    assert laps[-1].facts == {"float32 recall@20": 1.0, "recall@20": 3.0}


def test_an_evaluation_tells_every_metric(wide_data: str) -> None:
    lap = laps_of(_ours.evaluate, {"data": wide_data, "model": TINY, "train_epochs": 1}, 1)[-1]
    assert lap.facts["ndcg@100"] == lap.facts["float32 ndcg@100"]
    assert 0 < lap.facts["recall@100"] <= 1


def test_a_schedule_is_a_lap_for_five_epochs(wide_data: str) -> None:
    laps = laps_of(_ours.schedule, {"data": wide_data, "model": TINY, "epochs": 15}, 9)
    assert len(laps) == 1 + 3
    assert set(laps[-1].facts) >= {"best validation", "recall@20"}
    assert laps[1].facts == {}


@pytest.mark.parametrize(("model", "clusters"), [(TINY, 0), (LATENT, 2)])
def test_a_catalogue_is_trained_then_scored(model: dict[str, Any], clusters: int) -> None:
    told = {"shape": SHAPE, "model": {**model, "batch_size": 10}, "clusters": clusters}
    laps = laps_of(_ours.catalogue, {**told, "steps": 2, "epochs": 3, "users": 7}, 5)
    phases = [lap.facts["phase"] for lap in laps]
    assert phases == ["train", "train", "validate", "end", "evaluate", "evaluate"]


def test_a_large_evaluation_measures_everything_beside_its_scores_alone() -> None:
    told = {"shape": SHAPE, "batch": 16}
    laps = laps_of(_large.evaluation, told, 1)
    assert len(laps) == 2
    facts = laps[1].facts
    assert facts["users"] == 60
    assert {f"{name}@100" for name in ("recall", "map", "gini", "diversity")} <= set(facts)
    assert len(laps_of(_large.scores_and_top_k, told, 1)) == 2


def test_the_large_evaluation_is_reported_in_seconds_and_memory() -> None:
    lap = Lap(30.0, 600.0, {"recall@20": 0.125, "users": 100_000.0})
    rows = [
        comparison.row({"ours": [lap], "scores": [Lap(25.0, 500.0, {})]})
        for comparison in _large.large().comparisons
    ]
    assert [row.case for row in rows] == ["evaluation.large.seconds", "evaluation.large.memory"]
    assert [row.ratio for row in rows] == [1.2, 0.5]
    assert rows[0].note == "recall@20 0.12500 of 100,000 users"


class Peer:
    """A model that takes its time for the test; its second validation is the best."""

    def __init__(self, clock: list[float]) -> None:
        self.clock, self.validations = clock, iter([0.1, 0.3, 0.2])

    def train_epoch(self) -> None:
        self.clock[0] += 1.0

    def evaluate(self, part: str) -> dict[str, float]:
        self.clock[0] += {"valid": 2.0, "test": 10.0}[part]
        self.recall = next(self.validations) if part == "valid" else self.recall + 0.5
        return {"recall@20": self.recall}


def test_a_peers_schedule_tells_the_seconds_of_its_test(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr(time, "perf_counter", lambda: clock[0])

    def side(told: dict[str, Any], laps: Laps) -> None:
        _peers.drive(Peer(clock), told, laps)

    laps = laps_of(side, {"measure": "schedule", "epochs": 15}, 9)
    assert [lap.seconds for lap in laps[1:]] == [17.0] * 3
    assert [lap.facts["test seconds"] for lap in laps[1:]] == [10.0] * 3
    assert laps[-1].facts["recall@20"] == 0.8


def test_the_schedule_is_compared_with_the_authors_test_and_without() -> None:
    (group,) = (
        g for g in _cases.groups(Others("data", 1, 1), 1) if "30_epochs" in g.comparisons[0].case
    )
    ours = [Lap(2.0, 1.0, {}), Lap(3.0, 1.0, {"recall@20": 0.17})]
    theirs = [Lap(16.0, 1.0, {"test seconds": 6.0, "recall@20": 0.16})] * 2
    with_test, without = (
        c.row({"float32": ours, "authors": theirs})
        for c in group.comparisons
        if c.case == "diffrec.30_epochs.float32"
    )
    assert (with_test.ratio, with_test.met) == (32.0 / 5.0, True)
    assert "theirs scores test at every validation, as their code does" in with_test.note
    assert (without.ratio, without.met) == (20.0 / 5.0, None)
    assert without.note.startswith("test recall@20 0.1700, authors 0.1600; without")


def test_kmeans_and_its_peer_cluster_the_same_points(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = {"points": 50, "dim": 3, "clusters": 4, "iterations": 2}
    assert len(laps_of(_ours.kmeans, told, 2)) == 3
    (tmp_path / "kmeans_pytorch.py").write_text("def kmeans(X, num_clusters): pass\n")
    monkeypatch.setattr(sys, "path", sys.path.copy())
    with pytest.raises(ValueError, match="no iter_limit"):
        laps_of(_peers.kmeans_pytorch, {**told, "kmeans_pytorch": str(tmp_path)}, 1)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_limits_do_an_epoch_a_lap(precision: str) -> None:
    size = {"users": 7, "items": 30, "batch": 3, "hidden_dims": [2, 5], "extra": 1}
    assert len(laps_of(_limits.train_step, {**size, "precision": precision}, 1)) == 2
    assert len(laps_of(_limits.draws, size, 1)) == 2
    told = {"batch": 2, "hidden": 3, "items": 5, "precision": precision}
    assert laps_of(_limits.products, told, 1)[-1].facts == {"flops": 60}


def test_arithmetic_of_a_training_step_is_what_torch_counts() -> None:
    size = {"items": 30, "hidden_dims": [8], "extra": 0}
    network, users = _limits.mlp(size), 4
    with FlopCounterMode(display=False) as counter:
        network(torch.rand(users, 30)).sum().backward()
    training, scoring = _catalogue.diffrec_flops({"hidden_dims": [8], "steps": 3}, 30)
    assert counter.get_total_flops() == users * training
    assert scoring == 2 * 30 * 8 + 2 * 2 * 8 * 8


@given(st.integers(1, 40), st.integers(20, 60), st.integers(0, 200), st.integers(0, 5))
@settings(deadline=None, max_examples=30)
def test_synthetic_pairs_are_distinct_and_as_many_as_asked(
    users: int, items: int, more: int, seed: int
) -> None:
    shape = _synthetic.Shape(users, items, min(users + more, users * items // 3 + users))
    made = _synthetic.histories(shape, seed=seed)
    assert made.lengths.sum() == shape.interactions
    assert len(made) == users
    assert made.lengths.min() >= 1
    assert len(np.unique(made.rows * items + made.items)) == shape.interactions
    assert np.array_equal(made.items, _synthetic.histories(shape, seed=seed).items)


def test_synthetic_items_are_of_very_different_popularity() -> None:
    made = _synthetic.histories(_synthetic.Shape(2000, 1000, 40_000), seed=0)
    counts = np.sort(np.bincount(made.items, minlength=1000))[::-1]
    assert counts[:100].sum() > 0.3 * counts.sum()
    assert counts[500:].sum() > 0.1 * counts.sum()


def test_the_authors_lists_of_metrics_get_names() -> None:
    lists = [[float(10 * row + column) for column in range(4)] for row in range(4)]
    named = _authors.named(lists)
    assert (named["precision@10"], named["recall@20"], named["mrr@100"]) == (0.0, 11.0, 33.0)


def test_the_authors_temporal_inputs_are_linear_in_the_place(wide_data: str) -> None:
    recency = {"kind": "linear", "weight_min": 0.1, "weight_max": 1.0}
    peer = object.__new__(_authors._TemporalAuthors)  # without a checkout there is no network
    peer.settings, peer.model = {"data": wide_data}, {"recency": recency}
    peer.parts = _authors._matrices(Path(wide_data))
    weights = peer._inputs()
    with np.load(Path(wide_data) / "split.npz") as arrays:
        of_user_3 = arrays["train"][arrays["train"][:, 0] == 3, 1]
    found = weights[3].toarray().ravel()[of_user_3]
    np.testing.assert_allclose(found, [0.1, 0.25, 0.4, 0.55, 0.7, 0.85, 1.0])
    assert weights.nnz == peer.parts["train"].nnz


class Declining(Peer):
    """Validations fall from the second one on; the test of a validation is ten times as much."""

    def __init__(self) -> None:
        self.validations, self.epochs = iter([0.1, 0.3, 0.2, 0.2, 0.25, 0.2, 0.9]), 0

    def train_epoch(self) -> None:
        self.epochs += 1

    def evaluate(self, part: str) -> dict[str, float]:
        self.recall = next(self.validations) if part == "valid" else 10 * self.recall
        return {"recall@20": self.recall}


@pytest.mark.parametrize(("epochs", "ended"), [(1000, 30), (12, 12)])
def test_a_peer_is_trained_until_its_best_is_old(epochs: int, ended: int) -> None:
    peer = Declining()
    assert _peers.until_no_better(peer, epochs, 20) == {"recall@20": 3.0, "best_epoch": 10}
    assert peer.epochs == ended


def test_a_stand_in_is_for_what_is_not_installed() -> None:
    _peers.stand_in_for("json", dumps=None)
    assert json.dumps([]) == "[]"
    try:
        _peers.stand_in_for("not_installed_anywhere", answer=42)
        assert _peers.module("not_installed_anywhere").answer == 42
    finally:
        sys.modules.pop("not_installed_anywhere", None)
