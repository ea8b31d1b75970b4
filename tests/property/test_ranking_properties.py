"""Ranking and metrics against sorting and sets, with ties everywhere."""

import math

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from diffrec_core.data.histories import Histories
from diffrec_core.evaluation.evaluator import EvaluationConfig, evaluate_task
from diffrec_core.evaluation.metrics import hits, mean_metrics, per_user_metrics
from diffrec_core.evaluation.ranking import NO_ITEM, RankingTask, Score, rank, rank_task, top_k
from tests.oracle import ranking_oracles as oracle
from tests.oracle.strategies import effort, item_lists, tied_scores

N_ITEMS = 8


def tied_model(seed: int) -> Score:
    """Scores of four values only, a function of each user's own history."""
    table = np.random.default_rng(seed).integers(0, 4, size=(N_ITEMS + 1, N_ITEMS))

    def score(histories: Histories) -> Tensor:
        rows = [histories.take(np.array([b])).items for b in range(len(histories))]
        picked = [table[(int(row.sum()) + len(row)) % (N_ITEMS + 1)] for row in rows]
        return torch.from_numpy(np.array(picked).reshape(len(rows), N_ITEMS)).to(torch.float32)

    return score


@effort(200)
@given(tied_scores(), st.integers(1, 15))
def test_top_k_is_sorting_by_score_then_index(
    scores: np.ndarray[tuple[int, int], np.dtype[np.float32]], k: int
) -> None:
    items, values = top_k(torch.from_numpy(scores), k)
    assert items.tolist() == [oracle.ranked(row, k) for row in scores.tolist()]
    for row, order, value in zip(scores, items.tolist(), values.tolist(), strict=True):
        assert value == [row[item] if item != NO_ITEM else -math.inf for item in order]


@effort(60)
@given(st.integers(0, 10**6), st.integers(2, 400), st.integers(1, 60))
def test_top_k_of_many_items_is_sorting_too(seed: int, n_items: int, k: int) -> None:
    """Long rows take other code paths in the sorting library than short ones."""
    scores = np.random.default_rng(seed).integers(0, 6, size=(3, n_items)).astype(np.float32)
    items, _ = top_k(torch.from_numpy(scores), k)
    assert items.tolist() == [oracle.ranked(row, k) for row in scores.tolist()]


@effort(80)
@given(item_lists(), st.integers(0, 99), st.integers(1, 12), st.integers(1, 7))
def test_ranking_masks_what_was_seen_in_batches_of_any_size(
    rows: list[list[int]], seed: int, k: int, batch_size: int
) -> None:
    histories, score = Histories.from_lists(rows), tied_model(seed)
    scores = score(histories).tolist()
    expected = []
    for line, seen in zip(scores, rows, strict=True):
        masked = [-math.inf if item in seen else value for item, value in enumerate(line)]
        expected.append(oracle.ranked(masked, k))
    ranked = list(rank(score, histories, k, batch_size=batch_size))
    assert [item for _, items, _ in ranked for item in items.tolist()] == expected
    assert [row for rows_, _, _ in ranked for row in rows_.tolist()] == list(range(len(rows)))
    for items, seen in zip(expected, rows, strict=True):
        real = [item for item in items if item != NO_ITEM]
        assert not set(real) & set(seen)
        assert len(real) == len(set(real)) == min(k, N_ITEMS - len(seen))


@st.composite
def tasks(draw: st.DrawFn) -> tuple[list[list[int]], list[list[int]]]:
    """Histories, and targets that are disjoint from them; somebody has a target."""
    histories = draw(item_lists(min_users=1))
    targets = []
    for row in histories:
        free = [item for item in range(N_ITEMS) if item not in row]
        targets.append(
            draw(st.lists(st.sampled_from(free), unique=True, max_size=len(free))) if free else []
        )
    return [*histories, [0]], [*targets, [1]]


@effort(80)
@given(
    tasks(),
    st.integers(0, 99),
    st.lists(st.integers(1, 12), min_size=1, max_size=3, unique=True),
    st.integers(1, 7),
)
def test_every_metric_is_the_loop_over_sets(
    task: tuple[list[list[int]], list[list[int]]], seed: int, cutoffs: list[int], batch_size: int
) -> None:
    histories, targets = task
    score, depth = tied_model(seed), max(cutoffs)
    recommended = []
    for line, seen in zip(score(Histories.from_lists(histories)).tolist(), histories, strict=True):
        masked = [-math.inf if item in seen else value for item, value in enumerate(line)]
        recommended.append(oracle.ranked(masked, depth))
    expected = oracle.mean_metrics(recommended, [set(row) for row in targets], cutoffs)
    result = evaluate_task(
        score,
        RankingTask("test", Histories.from_lists(histories), Histories.from_lists(targets)),
        EvaluationConfig(cutoffs=tuple(cutoffs), batch_size=batch_size),
    ).metrics
    assert result.pop("users") == sum(bool(row) for row in targets)
    assert expected.keys() <= result.keys()
    for name, value in expected.items():
        assert math.isclose(result[name], value, rel_tol=1e-9, abs_tol=1e-12), name


@effort(60)
@given(tasks(), st.integers(0, 99), st.randoms(use_true_random=False))
def test_users_may_come_in_any_order(
    task: tuple[list[list[int]], list[list[int]]], seed: int, random: "np.random.Generator"
) -> None:
    histories, targets = task
    order = list(range(len(histories)))
    random.shuffle(order)
    config, score = EvaluationConfig(cutoffs=(1, 3), batch_size=2), tied_model(seed)
    results = []
    for users in (range(len(histories)), order):
        past = Histories.from_lists([histories[u] for u in users])
        future = Histories.from_lists([targets[u] for u in users])
        results.append(evaluate_task(score, RankingTask("test", past, future), config))
    for name, value in results[0].metrics.items():
        assert math.isclose(results[1].metrics[name], value, rel_tol=1e-9)
    assert results[0].coverage == results[1].coverage


@effort(60)
@given(item_lists(min_users=1, min_size=1), st.integers(1, 10))
def test_recommending_the_targets_first_is_perfect(rows: list[list[int]], k: int) -> None:
    def oracle_model(histories: Histories) -> Tensor:
        scores = torch.zeros(len(histories), N_ITEMS)
        for row, items in enumerate(rows):
            scores[row, items] = 1.0
        return scores

    task = RankingTask("test", Histories.from_lists([[]] * len(rows)), Histories.from_lists(rows))
    result = mean_metrics(
        per_user_metrics(
            hits(rank_task(oracle_model, task, k), task.targets), task.targets.lengths, [k]
        )
    )
    assert math.isclose(result[f"ndcg@{k}"], 1.0, rel_tol=1e-12)
    assert result[f"mrr@{k}"] == result[f"hit_rate@{k}"] == 1.0
    recall = sum(min(k, len(row)) / len(row) for row in rows) / len(rows)
    assert math.isclose(result[f"recall@{k}"], recall, rel_tol=1e-12)


@effort(60)
@given(tied_scores(), item_lists(n_items=12, min_users=4, max_users=4), st.integers(1, 12))
def test_hits_are_membership(
    scores: np.ndarray[tuple[int, int], np.dtype[np.float32]], targets: list[list[int]], k: int
) -> None:
    top = top_k(torch.from_numpy(scores), k)[0].numpy()
    result = hits(top, Histories.from_lists(targets[: len(top)]))
    assert result.tolist() == [
        [item in wanted for item in row]
        for row, wanted in zip(top.tolist(), targets[: len(top)], strict=True)
    ]
