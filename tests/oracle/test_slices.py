"""Slices: hand-computed bins, and that the whole is the mean of its slices."""

import itertools
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from diffrec_core.data.histories import Histories
from diffrec_core.evaluation.evaluator import Evaluation, EvaluationConfig, evaluate_task
from diffrec_core.evaluation.items import ItemFacts, PopularityGroupsConfig
from diffrec_core.evaluation.ranking import RankingTask
from diffrec_core.evaluation.slices import days_since_last_action, quantile_bins, user_slices
from tests.oracle import ranking_oracles as oracle
from tests.oracle.strategies import effort

DAY = 86_400_000_000
N_ITEMS = 6
# item 0 is head (4 of 8 interactions), 1 and 2 torso, the rest tail
TRAINING = Histories.from_lists([[0, 1], [0, 2], [0, 1, 3], [0]])
ITEMS = ItemFacts.from_training(
    TRAINING, N_ITEMS, PopularityGroupsConfig(head_share=0.5, tail_share=0.125)
)


def test_equal_values_share_a_bin() -> None:
    values = np.array([3, 1, 1, 1, 2, 9, 1])
    bins = [values[mask].tolist() for mask in quantile_bins(values, 4)]
    assert bins == [[1, 1, 1, 1], [3, 2], [9]]
    assert quantile_bins(np.array([]), 4) == []
    assert [mask.tolist() for mask in quantile_bins(np.array([7, 7]), 3)] == [[True, True]]


@effort(80)
@given(st.lists(st.integers(0, 20), min_size=1, max_size=40), st.integers(1, 6))
def test_bins_divide_in_order(values: list[int], bins: int) -> None:
    found = [np.array(values)[mask] for mask in quantile_bins(np.array(values), bins)]
    assert 1 <= len(found) <= bins
    assert sorted(values) == [value for part in found for value in sorted(part.tolist())]
    for before, after in itertools.pairwise(found):
        assert before.max() < after.min()
    if len(set(values)) == len(values) >= bins:
        sizes = [len(part) for part in found]
        assert max(sizes) - min(sizes) <= 1


def test_days_run_to_the_last_interaction_of_anybody() -> None:
    histories = Histories.from_lists(
        [[1, 2], [], [3], [4]], [[0, 4 * DAY], [], [int(9.5 * DAY)], [10 * DAY]]
    )
    assert days_since_last_action(histories, np.array([0, 2, 3])).tolist() == [6.0, 0.5, 0.0]


def first_items(histories: Histories) -> Tensor:
    """Everybody is recommended 0, 1, 2, …"""
    return -torch.arange(float(N_ITEMS)).repeat(len(histories), 1)


def evaluate(histories: Histories, targets: list[list[int]], **options: Any) -> Evaluation:
    task = RankingTask("test", histories, Histories.from_lists(targets))
    config = EvaluationConfig(cutoffs=(1, 3), slice_bins=2, **options)
    return evaluate_task(first_items, task, config, items=ITEMS)


def test_slices_of_users_by_hand() -> None:
    """Lists: 0 1 2; 0 1 2; 1 2 3; 3 4 5."""
    histories = Histories.from_lists(
        [[5], [], [0], [0, 1, 2], [4]], [[2 * DAY], [], [10 * DAY], [0, DAY, 3 * DAY], [0]]
    )
    result = evaluate(histories, [[0], [4, 1], [1], [2, 3], []])
    slices = result.slices
    lengths = [(row["slice"], row["users"], row["recall@1"]) for row in slices["history_length"]]
    assert lengths == [("1", 2.0, 1.0), ("3", 1.0, 0.5)]
    days = [(row["slice"], row["from"], row["users"]) for row in slices["days_since_last_action"]]
    assert days == [("0.0 to 7.0", 0.0, 2.0), ("8.0", 8.0, 1.0)]
    assert [(row["slice"], row["users"]) for row in slices["history"]] == [("warm", 3), ("new", 1)]
    assert slices["history"][1]["recall@3"] == 0.5
    assert set(slices["history"][0]) == {"slice", "users"} | {
        f"{name}@{k}" for name in ("recall", "ndcg") for k in (1, 3)
    }


def test_targets_of_a_group_are_measured_as_if_there_were_no_others() -> None:
    """User 0 wants head and tail, user 1 tail; both are recommended 0 1 2."""
    result = evaluate(Histories.from_lists([[], []]), [[0, 5], [3]])
    rows = {row["slice"]: row for row in result.slices["target_popularity"]}
    assert list(rows) == ["head", "tail"]
    assert (rows["head"]["users"], rows["head"]["recall@1"], rows["head"]["ndcg@3"]) == (1, 1, 1)
    assert (rows["tail"]["users"], rows["tail"]["recall@3"]) == (2, 0)
    assert result.metrics["recall@1"] == pytest.approx(1 / 4)


@pytest.mark.parametrize("average", ["with_targets", "all_users"])
def test_a_mean_is_that_of_its_slices(average: str) -> None:
    rng = np.random.default_rng(3)
    past = [rng.permutation(N_ITEMS)[: rng.integers(0, 4)].tolist() for _ in range(60)]
    wanted = [
        [
            item
            for item in rng.permutation(N_ITEMS)[: rng.integers(0, 3)].tolist()
            if item not in row
        ]
        for row in past
    ]
    result = evaluate(Histories.from_lists(past), wanted, average=average)
    whole = result.metrics
    assert whole["users"] == (60 if average == "all_users" else sum(map(bool, wanted)))
    warm = result.slices["history"][0]
    for family, total in (("history", whole), ("history_length", warm)):
        rows = result.slices[family]
        assert sum(row["users"] for row in rows) == total["users"]
        for key in ("recall@1", "ndcg@3"):
            mean = sum(row["users"] * row[key] for row in rows) / total["users"]
            assert mean == pytest.approx(total[key], rel=1e-12)
    assert sum(row["users"] for row in result.slices["days_since_last_action"]) == warm["users"]


def test_all_users_as_the_authors_average() -> None:
    """The only user with a target scores 1: of two users, that is a half."""
    histories = Histories.from_lists([[1], [2]])
    for average, users, recall in (("with_targets", 1.0, 1.0), ("all_users", 2.0, 0.5)):
        result = evaluate(histories, [[], [0]], average=average)
        assert (result.metrics["users"], result.metrics["recall@1"]) == (users, recall)
        assert result.metrics["mean_popularity@1"] == 1.0  # of what was recommended, to one user
        assert len(result.per_user) == users
        assert result.per_user["recall@1"].mean() == recall


def test_values_of_users_have_the_metrics_as_means() -> None:
    histories = Histories.from_lists([[1], [2], [], [0]])
    targets = [[0], [], [1, 4], [3]]
    result = evaluate(histories, targets)
    assert result.per_user["user"].to_list() == [0, 2, 3]
    tops = [[0, 2, 3], [0, 1, 2], [1, 2, 3]]
    for row, top, wanted in zip(
        result.per_user.iter_rows(named=True), tops, [{0}, {1, 4}, {3}], strict=True
    ):
        expected = oracle.metrics_of_user(top, wanted, 1) | oracle.metrics_of_user(top, wanted, 3)
        assert {key: row[key] for key in expected} == pytest.approx(expected, rel=1e-12)
    for key in result.per_user.columns[1:]:
        assert result.per_user[key].mean() == pytest.approx(result.metrics[key], rel=1e-12)


def test_without_any_history_there_are_no_bins() -> None:
    nobody = Histories.from_lists([[], []])
    slices = user_slices(nobody, np.array([0, 1]), {"recall@1": np.array([0.0, 1.0])}, 3)
    assert slices["history_length"] == slices["days_since_last_action"] == []
    assert slices["history"] == [{"slice": "new", "users": 2.0, "recall@1": 0.5}]
