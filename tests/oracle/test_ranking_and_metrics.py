"""Ranking, metrics and the evaluator: hand-computed cases and the loop over sets."""

import math
import weakref

import numpy as np
import polars as pl
import pytest
import torch
from torch import Tensor

from diffrec_core.common.errors import DataError
from diffrec_core.data.histories import Histories
from diffrec_core.evaluation import ranking
from diffrec_core.evaluation.evaluator import EvaluationConfig, evaluate_task, recall_at
from diffrec_core.evaluation.metrics import (
    hits,
    mean_metrics,
    per_user_metrics,
)
from diffrec_core.evaluation.ranking import NO_ITEM, RankingTask, masked, rank, rank_task, top_k
from tests.oracle import ranking_oracles as oracle

HISTORIES = [[0, 1], [2], [], [3, 4, 5], [0]]
TARGETS = [[5, 2], [0, 6], [1], [], [6]]
N_ITEMS = 7


def task(order: tuple[int, ...] = (0, 1, 2, 3, 4)) -> RankingTask:
    return RankingTask(
        "test",
        Histories.from_lists([HISTORIES[u] for u in order]),
        Histories.from_lists([TARGETS[u] for u in order]),
    )


def by_content(histories: Histories) -> Tensor:
    """Scores that depend on the user's items alone, with ties."""
    rows = [histories.take(np.array([b])).items.sum() for b in range(len(histories))]
    return torch.tensor([[float((i * 3 + r) % 4) for i in range(N_ITEMS)] for r in rows])


def expected_top(k: int) -> list[list[int]]:
    scores = by_content(task().histories).tolist()
    for row, seen in zip(scores, HISTORIES, strict=True):
        for item in seen:
            row[item] = -math.inf
    return [oracle.ranked(row, k) for row in scores]


def test_excluded_items_are_masked_with_the_history() -> None:
    plain, k = task((0, 1, 3, 4)), 3  # user 3 has no targets: rows are of those who have
    excluded = Histories.from_lists([[6, 1], [], [0, 1, 2], [1, 2, 3]])
    strict = RankingTask("test", plain.histories, plain.targets, excluded)
    expected = []
    for row, user in enumerate((0, 1, 4)):
        scores = by_content(plain.histories.take(plain.users)).tolist()[row]
        for item in [*HISTORIES[user], *[[6, 1], [], [1, 2, 3]][row]]:
            scores[item] = -math.inf
        expected.append(oracle.ranked(scores, k))
    for size in (1, 2, 9):
        assert rank_task(by_content, strict, k, batch_size=size).tolist() == expected
    config = EvaluationConfig(cutoffs=(k,), batch_size=2)
    found = evaluate_task(by_content, strict, config).metrics[f"recall@{k}"]
    hit = [
        len({*top} & {*TARGETS[u]}) / len(TARGETS[u])
        for top, u in zip(expected, (0, 1, 4), strict=True)
    ]
    assert found == pytest.approx(sum(hit) / 3)
    assert rank_task(by_content, plain, k).tolist() != expected


def test_top_k_by_hand() -> None:
    scores = torch.tensor([[0.5, 2.0, 2.0, -torch.inf], [-torch.inf] * 4])
    items, values = top_k(scores, 5)
    assert items.tolist() == [[1, 2, 0, NO_ITEM, NO_ITEM], [NO_ITEM] * 5]
    assert items.dtype == torch.int64
    assert values[0, :3].tolist() == [2.0, 2.0, 0.5]
    assert values[0, 3:].tolist() == [-torch.inf] * 2


def test_a_tie_across_the_cut_keeps_the_lower_index() -> None:
    scores = torch.zeros(3, 1000)
    scores[1, 700] = 1.0
    assert top_k(scores, 3)[0].tolist() == [[0, 1, 2], [700, 0, 1], [0, 1, 2]]


def test_a_user_who_has_seen_everything_is_recommended_nothing() -> None:
    histories = Histories.from_lists([list(range(N_ITEMS)), [1]])
    ((rows, items, scores),) = rank(by_content, histories, 2)
    assert rows.tolist() == [0, 1]
    assert items[0].tolist() == [NO_ITEM, NO_ITEM]
    assert np.isneginf(scores[0]).all()
    assert (items[1] != NO_ITEM).all()


def test_masking_is_by_the_interaction_and_not_by_its_weight() -> None:
    seen = Histories(
        np.array([0, 2]), np.array([1, 3], np.int32), np.zeros(2, np.int64), np.zeros(2, np.float32)
    )
    scores = torch.ones(1, 4)
    with masked(scores, seen):
        assert scores.tolist() == [[1.0, -torch.inf, 1.0, -torch.inf]]


def test_ranking_leaves_the_models_scores_alone() -> None:
    scores = torch.arange(2.0 * N_ITEMS).view(2, N_ITEMS)
    before = scores.tolist()
    ((_, items, _),) = rank(lambda _: scores, Histories.from_lists([[5, 6], [6, 0, 6]]), 3)
    assert items.tolist() == [[4, 3, 2], [5, 4, 3]]
    assert scores.tolist() == before


def test_ranking_leaves_them_alone_when_it_is_broken_off(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(scores: Tensor, k: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(ranking, "top_k", broken)
    scores = torch.ones(1, N_ITEMS)
    with pytest.raises(KeyboardInterrupt):
        list(rank(lambda _: scores, Histories.from_lists([[0, 1]]), 3))
    assert scores.tolist() == [[1.0] * N_ITEMS]


def test_users_whose_scores_are_one_row_in_memory_are_masked_apart() -> None:
    scores = torch.arange(float(N_ITEMS)).expand(2, -1)
    ((_, items, _),) = rank(lambda _: scores, Histories.from_lists([[6], [5]]), 2)
    assert items.tolist() == [[5, 4], [6, 4]]


def test_one_chunk_of_scores_is_in_memory_at_a_time() -> None:
    alive: list[int] = []
    made: list[weakref.ref[Tensor]] = []

    def score(histories: Histories) -> Tensor:
        alive.append(sum(ref() is not None for ref in made))
        scores = by_content(histories)
        made.append(weakref.ref(scores))
        return scores

    list(rank(score, Histories.from_lists([[0]] * 5), 2, batch_size=2))
    assert alive == [0, 0, 0]


@pytest.mark.parametrize("k", [1, 3, 20, 64])
def test_groups_of_items_change_nothing(monkeypatch: pytest.MonkeyPatch, k: int) -> None:
    """Few distinct scores and many items, so that groups, what is left over and ties all matter."""
    generator = torch.Generator().manual_seed(k)
    scores = torch.randint(0, 40, (20, 16 * 70 + 5), generator=generator).to(torch.float32)
    scores[3] = -torch.inf
    scores[4, 9:] = -torch.inf
    scores[5, -3:] = 100.0  # not in any group
    monkeypatch.setattr(ranking, "_LEAST_GROUPS", 1)
    items, values = top_k(scores, k)
    assert items.tolist() == [oracle.ranked(row, k) for row in scores.tolist()]
    real = items != NO_ITEM
    assert torch.equal(values[real], scores.gather(1, items.clamp(min=0))[real])


def test_groups_are_used_where_there_are_many_items(monkeypatch: pytest.MonkeyPatch) -> None:
    widths: list[int] = []
    original = torch.topk

    def topk(scores: Tensor, *arguments: int, **options: int) -> tuple[Tensor, Tensor]:
        widths.append(scores.shape[1])
        return original(scores, *arguments, **options)

    monkeypatch.setattr(torch, "topk", topk)
    top_k(torch.rand(1, 100), 20)
    assert widths == [100]
    widths.clear()
    top_k(torch.rand(1, 5000), 20)
    assert 5000 not in widths


def test_seen_items_can_be_asked_for() -> None:
    ((_, items, _),) = rank(by_content, Histories.from_lists([[0]]), N_ITEMS, exclude_seen=False)
    assert set(items[0].tolist()) == set(range(N_ITEMS))


def test_progress_counts_users() -> None:
    done: list[int] = []
    histories = Histories.from_lists([[0]] * 5)
    list(rank(by_content, histories, 1, batch_size=2, on_batch=done.append))
    assert done == [2, 4, 5]


@pytest.mark.parametrize("exclude_seen", [True, False])
def test_nan_scores_are_refused(exclude_seen: bool) -> None:
    def broken(histories: Histories) -> Tensor:
        scores = by_content(histories)
        scores[0, 0] = torch.nan  # of a seen item: masking must not hide it
        return scores

    with pytest.raises(DataError, match="NaN"):
        list(rank(broken, Histories.from_lists([[0]]), 2, exclude_seen=exclude_seen))


def test_only_users_with_targets_are_ranked() -> None:
    top = rank_task(by_content, task(), 4)
    assert task().users.tolist() == [0, 1, 2, 4]
    assert top.tolist() == [expected_top(4)[user] for user in (0, 1, 2, 4)]


def test_tasks_of_different_users_are_refused() -> None:
    with pytest.raises(DataError, match="2 histories, 1 targets"):
        RankingTask("test", Histories.from_lists([[], []]), Histories.from_lists([[1]]))
    one = Histories.from_lists([[1]])
    with pytest.raises(DataError, match="2 rows of excluded items, 1"):
        RankingTask("test", one, one, Histories.from_lists([[], []]))


def test_hits_are_the_recommended_targets() -> None:
    top = np.array([[3, 1], [1, 0], [0, 5], [5, 1]])
    targets = Histories.from_lists([[1], [], [5, 0], [3, 1]])
    expected = [[False, True], [False, False], [True, True], [False, True]]
    assert hits(top, targets).tolist() == expected


def test_hits_ignore_empty_places() -> None:
    top = np.array([[3, NO_ITEM], [NO_ITEM, NO_ITEM], [0, 5]])
    targets = Histories.from_lists([[5], [0, 3], [5]])  # item 5 of row 0 lies before row 1's -1
    assert hits(top, targets).tolist() == [[False, False], [False, False], [False, True]]


def test_metrics_by_hand() -> None:
    """Hits at ranks 1 and 3 of three targets; then a late hit of a single target."""
    hit = np.array([[True, False, True, False], [False, False, False, True]])
    result = per_user_metrics(hit, np.array([3, 1]), [2, 4])
    ideal = 1 + 1 / math.log2(3) + 1 / 2
    expected = {
        "recall@2": [1 / 3, 0],
        "precision@2": [1 / 2, 0],
        "ndcg@2": [1 / (1 + 1 / math.log2(3)), 0],
        "map@2": [(1 / 1) / 2, 0],
        "mrr@2": [1, 0],
        "hit_rate@2": [1, 0],
        "recall@4": [2 / 3, 1],
        "precision@4": [2 / 4, 1 / 4],
        "ndcg@4": [1.5 / ideal, 1 / math.log2(5)],
        "map@4": [(1 / 1 + 2 / 3) / 3, 1 / 4],
        "mrr@4": [1, 1 / 4],
        "hit_rate@4": [1, 1],
    }
    assert set(result) == set(expected)
    for name, values in expected.items():
        np.testing.assert_allclose(result[name], values, rtol=1e-12)


def test_a_perfect_ranking_scores_one() -> None:
    targets = [[4, 1, 2], [0], [6, 5, 4, 3, 2]]
    top = np.array([[2, 4, 1, 0, 3], [0, 1, 2, 3, 4], [2, 3, 4, 5, 6]])
    counts = np.array([len(t) for t in targets])
    result = mean_metrics(
        per_user_metrics(hits(top, Histories.from_lists(targets)), counts, [1, 5])
    )
    for name in ("ndcg@1", "mrr@1", "hit_rate@1", "precision@1"):
        assert result[name] == pytest.approx(1.0)
    for name in ("recall@5", "ndcg@5", "map@1", "map@5", "mrr@5"):
        assert result[name] == pytest.approx(1.0)


def test_metrics_deeper_than_the_ranking_are_refused() -> None:
    with pytest.raises(DataError, match="rankings of 2 items"):
        per_user_metrics(np.zeros((1, 2), bool), np.array([1]), [1, 3])


@pytest.mark.parametrize("batch_size", [1, 2, 512])
def test_the_evaluator_agrees_with_sets_and_loops(batch_size: int) -> None:
    cutoffs = (1, 3, 10)  # more than there are items
    result = evaluate_task(
        by_content, task(), EvaluationConfig(cutoffs=cutoffs, batch_size=batch_size)
    )
    expected = oracle.mean_metrics(expected_top(10), [set(t) for t in TARGETS], cutoffs)
    assert result.metrics["users"] == 4
    assert {key: result.metrics[key] for key in expected} == pytest.approx(expected, rel=1e-12)
    for k in cutoffs:
        recall = recall_at(by_content, task(), k, batch_size=batch_size)
        assert recall == pytest.approx(expected[f"recall@{k}"], rel=1e-12)


def test_coverage_counts_who_and_what_is_unknown() -> None:
    """Item 6 is in no history; user 2 has none; user 3 has nothing to predict."""
    coverage = evaluate_task(by_content, task(), EvaluationConfig(cutoffs=(2,))).coverage
    assert coverage == {
        "users": 4,
        "users_without_targets": 1,
        "users_without_history": 1,
        "targets": 6,
        "targets_on_new_items": 2,
    }


def test_top_items_have_users_ranks_and_hits() -> None:
    frame = evaluate_task(by_content, task(), EvaluationConfig(cutoffs=(10,))).top_items
    rows = []
    for user in (0, 1, 2, 4):
        for place, item in enumerate(expected_top(10)[user], start=1):
            if item != NO_ITEM:
                rows.append((user, place, item, item in TARGETS[user]))
    assert frame.rows() == rows
    assert frame.schema == {"user": pl.Int32, "rank": pl.Int32, "item": pl.Int32, "hit": pl.Boolean}


def test_the_order_of_users_does_not_matter() -> None:
    config = EvaluationConfig(cutoffs=(1, 4), batch_size=2)
    first = evaluate_task(by_content, task(), config)
    second = evaluate_task(by_content, task((4, 2, 0, 3, 1)), config)
    assert first.metrics == pytest.approx(second.metrics, rel=1e-12)
    assert first.coverage == second.coverage


def test_nothing_to_predict_is_an_error() -> None:
    nothing = RankingTask("validation", Histories.from_lists([[1]]), Histories.from_lists([[]]))
    with pytest.raises(DataError, match="validation: no user"):
        evaluate_task(by_content, nothing, EvaluationConfig())
