"""LightGCN stops early by the scores that it will give, with recency as without."""

import numpy as np
import pytest

from diffrec_core.data.histories import Histories
from diffrec_core.data.vocabulary import Vocabulary
from diffrec_core.evaluation.evaluator import recall_at
from diffrec_core.evaluation.ranking import RankingTask
from diffrec_core.models.base import TrainingData
from diffrec_core.models.kinds import create
from diffrec_core.models.lightgcn.model import LightGCN, LightGCNModelConfig
from diffrec_core.models.lightgcn.network import fit_lightgcn, score_histories
from diffrec_core.training.trainer import TrainingOptions

BLOCK, USERS = 40, 60
NONE, RECENT = {"kind": "none"}, {"kind": "exponential_position", "half_life": 0.3}
TINY = {
    "kind": "lightgcn",
    "embedding_dim": 4,
    "batch_size": 64,
    "learning_rate": 0.02,
    "epochs": 6,
    "validate_every_epochs": 1,
}
OPTIONS = TrainingOptions(seed=3)


def of_a_block(block: int, count: int, rng: np.random.Generator) -> list[int]:
    return (block * BLOCK + rng.permutation(BLOCK)[:count]).tolist()


def training_histories() -> Histories:
    rng = np.random.default_rng(1)
    return Histories.from_lists([of_a_block(user % 2, 10, rng) for user in range(USERS)])


def drifting_task() -> RankingTask:
    """Users who have just gone over to the other block, and one without a history."""
    rng, histories, targets = np.random.default_rng(2), [], []
    for user in range(USERS):
        first, *others = of_a_block(1 - user % 2, 11, rng)
        histories.append([*of_a_block(user % 2, 10, rng), first])
        targets.append(others)
    popular = np.bincount(training_histories().items).argmax()
    return RankingTask(
        "validation",
        Histories.from_lists([*histories, []]),
        Histories.from_lists([*targets, [int(popular)]]),
    )


def fitted(recency: dict[str, object]) -> tuple[LightGCN, float]:
    model = create({**TINY, "recency": {"weight_min": 0.0, **recency}}, "train.lightgcn")
    assert isinstance(model, LightGCN)
    data = TrainingData(
        histories=training_histories(),
        items=Vocabulary(tuple(map(str, range(2 * BLOCK)))),
        validation=drifting_task(),
    )
    best = model.fit(data, OPTIONS).best_value
    assert best is not None
    return model, best


@pytest.mark.parametrize("recency", [NONE, RECENT], ids=["plain", "recent"])
def test_validation_is_the_recall_of_the_model(recency: dict[str, object]) -> None:
    model, validated = fitted(recency)
    assert validated == recall_at(model.score, drifting_task())


def test_where_the_newest_item_tells_validation_with_recency_is_better() -> None:
    assert fitted(RECENT)[1] > fitted(NONE)[1] + 0.2


def test_pretraining_takes_histories_as_they_are() -> None:
    """Its embeddings make clusters for every model, whatever recency that has."""
    config = LightGCNModelConfig.model_validate({**TINY, "recency": RECENT})
    task, histories = drifting_task(), training_histories()
    embeddings, report = fit_lightgcn(histories, 2 * BLOCK, config, OPTIONS, task)
    found = recall_at(lambda h: score_histories(embeddings, h, h.weights), task)
    assert report.best_value == found
    assert found < 0.05  # with recency it would be 0.5
