"""Metrics against an independent implementation: torchmetrics, one user at a time."""

import numpy as np
import pytest
import torch
from torch import Tensor
from torchmetrics.functional.retrieval import (
    retrieval_average_precision,
    retrieval_hit_rate,
    retrieval_normalized_dcg,
    retrieval_precision,
    retrieval_recall,
    retrieval_reciprocal_rank,
)

from diffrec_core.data.histories import Histories
from diffrec_core.evaluation.evaluator import EvaluationConfig, evaluate_task
from diffrec_core.evaluation.ranking import RankingTask

N_USERS, N_ITEMS, CUTOFFS = 60, 40, (1, 5, 20)
METRICS = {
    "recall": retrieval_recall,
    "precision": retrieval_precision,
    "ndcg": retrieval_normalized_dcg,
    "mrr": retrieval_reciprocal_rank,
    "hit_rate": retrieval_hit_rate,
}


@pytest.fixture(scope="module")
def task() -> RankingTask:
    rng = np.random.default_rng(0)
    orders = [rng.permutation(N_ITEMS).tolist() for _ in range(N_USERS)]
    seen = [int(rng.integers(0, 15)) for _ in range(N_USERS)]
    wanted = [int(rng.integers(0, 12)) for _ in range(N_USERS)]
    return RankingTask(
        "test",
        Histories.from_lists([row[:n] for row, n in zip(orders, seen, strict=True)]),
        Histories.from_lists(
            [row[n : n + m] for row, n, m in zip(orders, seen, wanted, strict=True)]
        ),
    )


@pytest.fixture(scope="module")
def scores(task: RankingTask) -> Tensor:
    """A row of distinct scores for each user of the task who has targets."""
    return torch.rand(len(task.users), N_ITEMS, generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="module")
def measured(task: RankingTask, scores: Tensor) -> dict[str, list[float]]:
    config = EvaluationConfig(cutoffs=CUTOFFS, batch_size=N_USERS)
    frame = evaluate_task(lambda _: scores, task, config).per_user
    return {name: frame[name].to_list() for name in frame.columns}


def of_user(task: RankingTask, scores: Tensor, row: int) -> tuple[Tensor, Tensor]:
    """Scores of the items that a user has not seen, and whether they are targets."""
    user = int(task.users[row])
    past, future = (part.take(np.array([user])).items for part in (task.histories, task.targets))
    unseen = [item for item in range(N_ITEMS) if item not in past]
    return scores[row, unseen], torch.tensor([item in future for item in unseen])


@pytest.mark.parametrize("k", CUTOFFS)
@pytest.mark.parametrize("name", METRICS)
def test_values_of_each_user_are_those_of_torchmetrics(
    task: RankingTask, scores: Tensor, measured: dict[str, list[float]], name: str, k: int
) -> None:
    theirs = [
        float(METRICS[name](*of_user(task, scores, row), top_k=k)) for row in range(len(scores))
    ]
    assert measured[f"{name}@{k}"] == pytest.approx(theirs, abs=1e-6)


@pytest.mark.parametrize("k", [*CUTOFFS, N_ITEMS])
def test_average_precision_is_theirs_but_for_its_denominator(
    task: RankingTask, scores: Tensor, k: int
) -> None:
    """Theirs is over the hits among the first k, ours over min(number of targets, k)."""
    config = EvaluationConfig(cutoffs=(k,), batch_size=N_USERS)
    ours = evaluate_task(lambda _: scores, task, config).per_user[f"map@{k}"].to_list()
    for row, value in enumerate(ours):
        preds, target = of_user(task, scores, row)
        found = int(target[preds.argsort(descending=True)[:k]].sum())
        theirs = float(retrieval_average_precision(preds, target, top_k=k))
        assert value == pytest.approx(theirs * found / min(int(target.sum()), k), abs=1e-6)
