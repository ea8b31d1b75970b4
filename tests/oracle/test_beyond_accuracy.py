"""Beyond accuracy: hand-computed lists, the loops of the oracle, chunks of any size."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor

from diffrec_core.common.errors import ConfigError, DataError
from diffrec_core.data.histories import Histories
from diffrec_core.evaluation.beyond_accuracy import (
    catalogue_metrics,
    gini,
    history_shares,
    item_counts,
    jensen_shannon,
    list_metrics,
)
from diffrec_core.evaluation.evaluator import Evaluation, EvaluationConfig, evaluate_task
from diffrec_core.evaluation.items import ItemFacts, PopularityGroupsConfig, popularity_groups
from diffrec_core.evaluation.metrics import PerUser, is_accuracy
from diffrec_core.evaluation.ranking import NO_ITEM, RankingTask
from tests.oracle import beyond_accuracy_oracles as oracle
from tests.oracle import ranking_oracles
from tests.oracle.strategies import effort, item_lists

N_ITEMS = 8
TRAINING = [[0, 1], [0, 2, 3], [0, 1], [0], []]  # had by 4, 2, 1, 1 of 4 users; 4 to 7 by nobody
GROUPS = PopularityGroupsConfig(head_share=0.5, tail_share=0.25)  # 0 | 1 | 2 3 4 5 6 7
EMBEDDINGS = np.array(
    [[2, 0], [0, 3], [1, 1], [0, 0], [-4, 0], [1, 0], [0, -1], [3, 4]], dtype=np.float32
)


def facts(embeddings: NDArray[np.float32] | None = EMBEDDINGS) -> ItemFacts:
    return ItemFacts.from_training(Histories.from_lists(TRAINING), N_ITEMS, GROUPS, embeddings)


def of(top: list[list[int]], k: int, past: list[list[int]] | None = None) -> PerUser:
    histories = Histories.from_lists(past or [[0, 1]] * len(top))
    return list_metrics(np.array(top), histories, facts(), [k])


def test_what_is_known_of_the_items_by_hand() -> None:
    items = facts()
    assert items.popularity.tolist() == [4, 2, 1, 1, 0, 0, 0, 0]
    assert items.n_users == 4
    assert items.group.tolist() == [0, 1, 2, 2, 2, 2, 2, 2]
    assert items.self_information.tolist() == [0, 1, 2, 2, 2, 2, 2, 2]
    assert items.embeddings is not None
    unit = [[1, 0], [0, 1], [0.5**0.5, 0.5**0.5], [0, 0], [-1, 0]]
    np.testing.assert_allclose(items.embeddings[:5], unit, rtol=1e-6)


def test_an_item_is_where_its_interactions_begin_and_equal_ones_go_by_index() -> None:
    config = PopularityGroupsConfig(head_share=0.2, tail_share=0.2)
    # ten items with one interaction each: exactly two, six and two
    assert popularity_groups(np.ones(10, np.int64), config).tolist() == [0, 0, *[1] * 6, 2, 2]
    # one item with nearly all of them is head, whatever the bound
    assert popularity_groups(np.array([1, 98, 1]), config).tolist() == [2, 0, 2]


def test_novelty_and_popularity_by_hand() -> None:
    values = of([[0, 1, 2], [5, NO_ITEM, NO_ITEM], [NO_ITEM] * 3], 3)
    np.testing.assert_allclose(values["novelty@3"], [(0 + 1 + 2) / 3, 2, np.nan])
    np.testing.assert_allclose(values["mean_popularity@3"], [(1 + 0.5 + 0.25) / 3, 0, np.nan])


def test_diversity_by_hand() -> None:
    """Orthogonal, opposite, alike, and an item without direction, which is unlike all."""
    values = of([[0, 1, 4], [0, 5, NO_ITEM], [3, 0, 5], [2, NO_ITEM, NO_ITEM]], 3)
    np.testing.assert_allclose(values["diversity@3"], [1 + 1 / 3, 0, 1 - 1 / 3, np.nan], atol=1e-7)
    np.testing.assert_allclose(of([[0, 4, 5]], 2)["diversity@2"], [2.0])


def test_without_embeddings_there_is_no_diversity() -> None:
    histories = Histories.from_lists([[0]])
    assert "diversity@2" not in list_metrics(np.array([[1, 2]]), histories, facts(None), [2])


def test_calibration_by_hand() -> None:
    past = [[0, 1], [0], [2], []]
    values = of([[2, 3], [1, 0], [3, 4], [0, 1]], 2, past)
    assert values["head_share@2"].tolist() == [0, 0.5, 0, 0.5]
    assert values["torso_share@2"].tolist() == [0, 0.5, 0, 0.5]
    assert values["tail_share@2"].tolist() == [1, 0, 1, 0]
    # nothing in common; half of it; the same; no history
    half = (0.5 * math.log2(0.5 / 0.75) + 0.5 * math.log2(0.5 / 0.25) + math.log2(1 / 0.75)) / 2
    np.testing.assert_allclose(values["popularity_deviation@2"], [1, half, 0, np.nan], atol=1e-12)
    np.testing.assert_allclose(
        history_shares(Histories.from_lists(past), facts()),
        [[0.5, 0.5, 0], [1, 0, 0], [0, 0, 1], [np.nan] * 3],
    )


def test_coverage_and_gini_by_hand() -> None:
    top = np.array([[0, 1], [0, NO_ITEM]])
    counts = item_counts(top, 4, [1, 2])
    assert counts.tolist() == [[2, 0, 0, 0], [2, 1, 0, 0]]
    values = catalogue_metrics(counts, [1, 2])
    assert values["catalogue_coverage@1"] == 1 / 4
    assert values["catalogue_coverage@2"] == 2 / 4
    assert values["gini@1"] == pytest.approx(3 / 4)
    # pairs of 0, 0, 1, 2 differ by 2·(1 + 2 + 1 + 2 + 1) = 14 in all; / (2 · 4 · 3)
    assert values["gini@2"] == pytest.approx(14 / 24)


@effort(100)
@given(st.lists(st.integers(0, 9), min_size=1, max_size=9))
def test_gini_is_the_relative_mean_difference(counts: list[int]) -> None:
    value = gini(np.array(counts))
    assert value == pytest.approx(oracle.gini(counts), abs=1e-12)
    assert 0.0 <= value < 1.0
    assert gini(np.array(counts) * 7) == pytest.approx(value, abs=1e-12)


@effort(100)
@given(st.lists(st.integers(0, 5), min_size=3, max_size=3), st.integers(0, 4))
def test_divergence_is_symmetric_between_0_and_1(counts: list[int], other: int) -> None:
    p = np.add([counts], [[1, 0, 0]]) / (sum(counts) + 1)
    q = np.array([[other, 1, 0]]) / (other + 1)
    value = jensen_shannon(p, q)
    assert value == pytest.approx(jensen_shannon(q, p), abs=1e-12)
    assert 0.0 <= value[0] <= 1.0 + 1e-12
    assert value[0] == pytest.approx(oracle.divergence(p[0].tolist(), q[0].tolist()), abs=1e-12)
    assert jensen_shannon(p, p)[0] == 0.0


@effort(60)
@given(
    st.lists(st.integers(0, 12), min_size=1, max_size=9).filter(any),
    st.sampled_from([(0.2, 0.2), (0.5, 0.25), (0.1, 0.0), (0.5, 0.5), (0.99, 0.01)]),
)
def test_groups_are_a_walk_down_the_items(counts: list[int], shares: tuple[float, float]) -> None:
    config = PopularityGroupsConfig(head_share=shares[0], tail_share=shares[1])
    numbers = popularity_groups(np.array(counts), config)
    assert [oracle.NAMES[n] for n in numbers] == oracle.groups(counts, *shares)
    assert numbers[int(np.argmax(counts))] == 0  # there is always a head


def model(seed: int) -> Any:
    """Scores of four values only, a function of each user's own history."""
    table = np.random.default_rng(seed).integers(0, 4, size=(N_ITEMS + 1, N_ITEMS))

    def score(histories: Histories) -> Tensor:
        rows = [histories.take(np.array([b])).items for b in range(len(histories))]
        picked = [table[(int(row.sum()) + len(row)) % (N_ITEMS + 1)] for row in rows]
        return torch.from_numpy(np.array(picked)).to(torch.float32)

    return score


@st.composite
def tasks(draw: st.DrawFn) -> tuple[list[list[int]], list[list[int]]]:
    histories = draw(item_lists(min_users=1).filter(any))
    targets = []
    for row in histories:
        others = sorted(set(range(N_ITEMS)) - set(row))
        targets.append(draw(st.lists(st.sampled_from(others), unique=True)) if others else [])
    return histories, targets


@effort(80)
@given(tasks(), st.integers(0, 99), st.integers(1, 4))
def test_the_evaluator_agrees_with_loops_over_users_and_pairs(
    task: tuple[list[list[int]], list[list[int]]], seed: int, batch_size: int
) -> None:
    histories, targets = task
    if not any(targets):
        return
    result = evaluate(histories, targets, seed, batch_size)
    counts = oracle.popularity(TRAINING, N_ITEMS)
    group = oracle.groups(counts, 0.5, 0.25)
    tops = tops_of(histories, targets, seed)
    for k in (1, 3, 10):
        rows = [
            oracle.of_list(
                top[:k], past, counts, n_users=4, group=group, embeddings=EMBEDDINGS.tolist()
            )
            for top, past in tops
        ]
        expected = {f"{name}@{k}": value for name, value in oracle.means(rows).items()}
        times = [sum(item in top[:k] for top, _ in tops) for item in range(N_ITEMS)]
        expected[f"gini@{k}"] = oracle.gini(times)
        expected[f"catalogue_coverage@{k}"] = sum(map(bool, times)) / N_ITEMS
        found = {
            name: value
            for name, value in result.metrics.items()
            if name.endswith(f"@{k}") and not is_accuracy(name)
        }
        assert found == pytest.approx(expected, abs=1e-6)


def tops_of(
    histories: list[list[int]], targets: list[list[int]], seed: int
) -> list[tuple[list[int], list[int]]]:
    """Top ten and history of each user with targets."""
    scores = model(seed)(Histories.from_lists(histories)).tolist()
    result = []
    for row, past, wanted in zip(scores, histories, targets, strict=True):
        if wanted:
            masked = [-math.inf if item in past else value for item, value in enumerate(row)]
            result.append((ranking_oracles.ranked(masked, 10), past))
    return result


def evaluate(
    histories: list[list[int]],
    targets: list[list[int]],
    seed: int,
    batch_size: int,
    **options: Any,
) -> Evaluation:
    task = RankingTask("test", Histories.from_lists(histories), Histories.from_lists(targets))
    config = EvaluationConfig(cutoffs=(1, 3, 10), batch_size=batch_size, **options)
    return evaluate_task(model(seed), task, config, items=facts())


MANY = np.random.default_rng(5)
HISTORIES = [MANY.permutation(N_ITEMS)[: MANY.integers(0, 6)].tolist() for _ in range(40)]
TARGETS = [
    [item for item in MANY.permutation(N_ITEMS)[:3].tolist() if item not in row]
    for row in HISTORIES
]


@pytest.mark.parametrize("batch_size", [1, 7, 39, 1024])
def test_results_are_the_same_whatever_the_size_of_a_chunk(batch_size: int) -> None:
    """To the last bit."""
    first, second = evaluate(HISTORIES, TARGETS, 1, 13), evaluate(HISTORIES, TARGETS, 1, batch_size)
    assert first.summary == second.summary
    assert first.per_user.equals(second.per_user)
    assert first.top_items.equals(second.top_items)


def test_shares_of_groups_stand_beside_those_of_the_histories() -> None:
    result = evaluate(HISTORIES, TARGETS, 1, 16)
    rows = result.popularity_groups
    assert list(rows) == ["head", "torso", "tail"]
    assert [row["items"] for row in rows.values()] == [1, 1, 6]
    assert [row["training_share"] for row in rows.values()] == [4 / 8, 2 / 8, 2 / 8]
    evaluated = [past for past, wanted in zip(HISTORIES, TARGETS, strict=True) if wanted]
    shares = [past.count(0) / len(past) for past in evaluated if past]
    assert rows["head"]["history_share"] == pytest.approx(sum(shares) / len(shares))
    for k in (1, 3, 10):
        assert rows["head"][f"recommended_share@{k}"] == result.metrics[f"head_share@{k}"]
        assert sum(row[f"recommended_share@{k}"] for row in rows.values()) == pytest.approx(1.0)


def test_recommending_the_most_popular_is_seen() -> None:
    """The same lists, seen from two catalogues: of the popular items, and of the others."""
    histories, targets = [[7], [7], [6]], [[0], [1], [2]]
    favourite = torch.tensor([[9.0, 8, 7, 6, 5, 4, 3, 2]])
    task = RankingTask("test", Histories.from_lists(histories), Histories.from_lists(targets))
    config = EvaluationConfig(cutoffs=(2,))
    popular = evaluate_task(
        lambda batch: favourite.repeat(len(batch), 1), task, config, items=facts()
    ).metrics
    obscure = evaluate_task(
        lambda batch: favourite.flip(1).repeat(len(batch), 1), task, config, items=facts()
    ).metrics
    assert popular["mean_popularity@2"] > obscure["mean_popularity@2"]
    assert popular["novelty@2"] < obscure["novelty@2"]
    assert popular["head_share@2"] == 0.5
    assert obscure["tail_share@2"] == 1.0


def test_what_does_not_belong_together_is_refused() -> None:
    training = Histories.from_lists(TRAINING)
    with pytest.raises(DataError, match="no interaction to count"):
        ItemFacts.from_training(Histories.from_lists([[]]), 3, GROUPS)
    with pytest.raises(DataError, match="8 item embeddings for 9 items"):
        ItemFacts.from_training(training, 9, GROUPS, EMBEDDINGS)
    with pytest.raises(DataError, match="item index 3, but there are only 3 items"):
        ItemFacts.from_training(training, 3, GROUPS)
    with pytest.raises(ConfigError, match=r"head_share = 0\.7 and tail_share = 0\.4 must not"):
        PopularityGroupsConfig.parse({"head_share": 0.7, "tail_share": 0.4}, "groups")
