"""SASRec as a recommender: order, recency, memory, and what it refuses."""

from typing import Any

import numpy as np
import pytest
import torch

from diffrec_core.common.errors import ConfigError, DataError
from diffrec_core.data.histories import Histories
from diffrec_core.data.vocabulary import Vocabulary
from diffrec_core.models.base import Recommender, TrainingData
from diffrec_core.models.kinds import create
from diffrec_core.models.sasrec import program
from diffrec_core.nn.denoising import DenoisingConfig, Reweigh, reweighing
from diffrec_core.training.trainer import TrainingOptions
from tests.planted import planted_data, planted_task

N_ITEMS = 30
SMALL = {
    "kind": "sasrec",
    "max_length": 8,
    "embedding_dim": 16,
    "blocks": 1,
    "batch_size": 50,
    "learning_rate": 0.01,
}


def successions(count: int, seed: int) -> tuple[TrainingData, list[int]]:
    """Every item is followed by the next number, in three cases of four, else by any new one.

    The answer is what follows the last item: it depends on that item alone. Most histories hold
    several items whose followers are missing, so that what goes together does not tell which.
    """
    rng = np.random.default_rng(seed)
    histories, answers = [], []
    while len(histories) < count:
        row = [int(rng.integers(N_ITEMS))]
        while len(row) < 9:
            item = (row[-1] + 1) % N_ITEMS
            if rng.random() < 0.25 or item in row:
                item = int(rng.choice([other for other in range(N_ITEMS) if other not in row]))
            row.append(item)
        if (row[-1] + 1) % N_ITEMS not in row:
            histories.append(row)
            answers.append((row[-1] + 1) % N_ITEMS)
    items = Vocabulary(tuple(str(item) for item in range(N_ITEMS)))
    return TrainingData(histories=Histories.from_lists(histories), items=items), answers


def share_found(model: Recommender, histories: Histories, answers: list[int]) -> float:
    scores = model.score(histories).clone()
    scores[histories.rows, histories.items] = -torch.inf
    return float((scores.argmax(dim=1) == torch.tensor(answers)).float().mean())


def fitted(section: dict[str, Any], data: TrainingData) -> Recommender:
    model = create(section, "x")
    model.fit(data, TrainingOptions(seed=2))
    return model


@pytest.mark.parametrize(
    "options", [{}, {"negatives": 15}, {"loss": "bce", "negatives": 4}], ids=str
)
def test_what_follows_the_last_item_is_learned(options: dict[str, Any]) -> None:
    data, _ = successions(400, seed=0)
    new, answers = successions(100, seed=1)
    model = fitted({**SMALL, "epochs": 12, "dropout": 0.1, **options}, data)
    assert share_found(model, new.histories, answers) > 0.9


def test_ease_cannot_tell_which_item_was_the_last() -> None:
    data, _ = successions(400, seed=0)
    new, answers = successions(100, seed=1)
    assert share_found(fitted({"kind": "ease", "l2": 10.0}, data), new.histories, answers) < 0.5


def test_validation_chooses_the_weights() -> None:
    model = create({**SMALL, "epochs": 4, "validate_every_epochs": 1}, "x")
    task = planted_task()
    data = planted_data()
    report = model.fit(
        TrainingData(histories=data.histories, items=data.items, validation=task),
        TrainingOptions(seed=1),
    )
    assert report.best_value == max(record["validation"] for record in report.history)
    assert report.best_value is not None and report.best_value > 0.9


def test_recency_changes_what_attention_sees() -> None:
    data = planted_data()
    recency = {"kind": "exponential_position", "half_life": 1.0, "weight_min": 0.0}
    plain, recent = (
        fitted({**SMALL, "epochs": 1, **options}, data) for options in ({}, {"recency": recency})
    )
    recent.network.load_state_dict(plain.network.state_dict())  # type: ignore[attr-defined]
    one, several = Histories.from_lists([[4]]), Histories.from_lists([[1, 4, 2]])
    torch.testing.assert_close(plain.score(one), recent.score(one))
    assert not torch.allclose(plain.score(several), recent.score(several), atol=1e-3)


def test_denoising_counts_steps_over_all_epochs(monkeypatch: pytest.MonkeyPatch) -> None:
    steps: list[int] = []

    def noted(config: DenoisingConfig, step: int) -> Reweigh | None:
        steps.append(step)
        return reweighing(config, step)

    monkeypatch.setattr(program, "reweighing", noted)
    section = {**SMALL, "epochs": 3, "loss": "bce", "batch_size": 60}  # of 160 windows
    plain = fitted(section, planted_data())
    assert steps == list(range(9))
    denoising = {"kind": "truncated", "drop_rate_max": 0.5, "drop_rate_anneal_steps": 0}
    truncated = fitted({**section, "denoising": denoising}, planted_data())
    histories = planted_data().histories
    assert not torch.allclose(plain.score(histories), truncated.score(histories), atol=1e-3)


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(ConfigError, match="heads = 3 must divide embedding_dim = 64"):
        create({"kind": "sasrec", "heads": 3}, "x")
    with pytest.raises(ConfigError, match="kind = truncated needs loss = bce"):
        create({"kind": "sasrec", "denoising": {"kind": "truncated"}}, "x")
    single = TrainingData(histories=Histories.from_lists([[1], [2]]), items=planted_data().items)
    with pytest.raises(DataError, match="no history has two interactions"):
        create({"kind": "sasrec"}, "x").fit(single)
