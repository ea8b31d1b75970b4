"""Where DiffRec's recency counts: in training and scoring, or in scoring alone."""

import torch

from diffrec_core.models.diffrec.model import DiffRec
from diffrec_core.models.kinds import create
from diffrec_core.training.trainer import TrainingOptions
from tests.planted import planted_data

TINY = {"kind": "diffrec", "hidden_dims": [8], "steps": 2, "epochs": 2, "batch_size": 20}
RECENT = {"kind": "exponential_position", "half_life": 2.0, "weight_min": 0.0}


def fitted(**changes: object) -> DiffRec:
    model = create({**TINY, **changes}, "train.diffrec")
    assert isinstance(model, DiffRec)
    model.fit(planted_data(), TrainingOptions(seed=3, fixed_epochs=2))
    return model


def weights(model: DiffRec) -> list[torch.Tensor]:
    return [parameter.detach() for parameter in model.network.parameters()]


def equal(one: DiffRec, other: DiffRec) -> bool:
    return all(map(torch.equal, weights(one), weights(other)))


def test_recency_in_scoring_alone_trains_what_no_recency_trains() -> None:
    plain = fitted()
    scored = fitted(recency=RECENT, recency_in_training=False)
    trained = fitted(recency=RECENT)
    assert equal(plain, scored)
    assert not equal(plain, trained)
    histories = planted_data().histories
    assert not torch.equal(plain.score(histories), scored.score(histories))
