"""Our sides of the speed benchmark, the limits and the synthetic catalogue, at toy size."""

import io
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.flop_counter import FlopCounterMode

from benchmarks import _authors, _catalogue, _large, _limits, _ours, _peers, _synthetic
from benchmarks._laps import Lap, Laps
from diffrec_core.evaluation.ranking import RankingTask
from diffrec_core.models.diffrec.model import DiffRec

N_USERS, N_ITEMS = 12, 120
TINY = {"kind": "diffrec", "hidden_dims": [4], "steps": 2, "precision": "float32"}
LATENT = {**TINY, "latent": True, "encoder_dims": [4]}
SHAPE = [60, 200, 400]


@pytest.fixture
def data(tmp_path: Path) -> str:
    """A split of 12 users, each with 10 of 120 items: 7 train, 1 test, 2 valid."""
    rng = np.random.default_rng(0)
    rows = np.stack([rng.permutation(N_ITEMS)[:10] for _ in range(N_USERS)])
    rows[0, 0] = N_ITEMS - 1

    def pairs(first: int, last: int) -> Any:
        items = rows[:, first:last]
        users = np.arange(N_USERS).repeat(items.shape[1])
        return np.stack([users, items.ravel()], axis=1).astype(np.int16)

    np.savez(tmp_path / "split.npz", train=pairs(0, 7), test=pairs(7, 8), valid=pairs(8, 10))
    embeddings = rng.normal(size=(rows.max() + 1, 4)).astype(np.float32)
    np.save(tmp_path / "reference_item_embeddings.npy", embeddings)
    return str(tmp_path)


def laps_of(
    side: Callable[[dict[str, Any], Laps], None], told: dict[str, Any], turns: int
) -> list[Lap]:
    """Run a side in this process; the warm-up comes first."""
    replies = io.StringIO()
    try:
        side(told, Laps(io.StringIO("go\n" * turns), replies))
    except SystemExit as end:
        assert end.code == 0
    return [Lap(*json.loads(line)) for line in replies.getvalue().splitlines()]


def test_training_is_an_epoch_a_lap(data: str) -> None:
    assert len(laps_of(_ours.train_epoch, {"data": data, "model": TINY}, 3)) == 4


@pytest.mark.parametrize("model", [TINY, LATENT], ids=["diffrec", "l_diffrec"])
def test_precisions_are_compared_with_equal_weights(
    data: str, model: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    measured: list[tuple[str, float]] = []

    def metrics(model: DiffRec, task: RankingTask) -> dict[str, float]:
        weight = float(next(model.network.parameters()).detach().sum())
        measured.append((model.network.config.precision, weight))
        return {"recall@20": float(len(measured))}

    monkeypatch.setattr(_ours, "_metrics", metrics)
    told = {"data": data, "model": {**model, "precision": "bfloat16"}, "train_epochs": 2}
    laps = laps_of(_ours.evaluate, told, 1)
    assert [precision for precision, _ in measured] == ["float32", "bfloat16", "bfloat16"]
    assert len({weight for _, weight in measured}) == 1
    assert laps[-1].facts == {"float32 recall@20": 1.0, "recall@20": 3.0}


def test_an_evaluation_tells_every_metric(data: str) -> None:
    lap = laps_of(_ours.evaluate, {"data": data, "model": TINY, "train_epochs": 1}, 1)[-1]
    assert lap.facts["ndcg@100"] == lap.facts["float32 ndcg@100"]
    assert 0 < lap.facts["recall@100"] <= 1


def test_a_schedule_is_a_lap_for_five_epochs(data: str) -> None:
    laps = laps_of(_ours.schedule, {"data": data, "model": TINY, "epochs": 15}, 9)
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


def test_lightgcn_is_trained_until_a_level(data: str) -> None:
    model = {"embedding_dim": 4, "epochs": 3}
    laps = laps_of(_ours.lightgcn, {"data": data, "model": model, "recall@20": 0.0}, 1)
    assert laps[-1].facts["epochs"] == 1
    assert 0 <= laps[-1].facts["recall@20"] <= 1


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


def test_a_stand_in_is_for_what_is_not_installed() -> None:
    _peers.stand_in_for("json", dumps=None)
    assert json.dumps([]) == "[]"
    try:
        _peers.stand_in_for("not_installed_anywhere", answer=42)
        assert _peers.module("not_installed_anywhere").answer == 42
    finally:
        sys.modules.pop("not_installed_anywhere", None)
