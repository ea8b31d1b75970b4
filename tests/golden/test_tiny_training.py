"""Six epochs of each kind of DiffRec on planted data, their losses pinned.

The numbers are the code's own: they say that results have changed, not that they were right, which
the oracles do. A change is a change of every trained model: declare it in the changelog. The
tolerance lets other matrix libraries and numbers of threads pass.
"""

from typing import Any

import pytest

from diffrec_core.models.registry import create
from diffrec_core.training.trainer import TrainingOptions
from tests.planted import planted_data

TINY = {
    "kind": "diffrec",
    "hidden_dims": [16],
    "steps": 3,
    "batch_size": 20,
    "epochs": 6,
    "learning_rate": 0.01,
    "vae_learning_rate": 0.01,
    "loss_history_length": 2,  # importance sampling begins within the first epoch
}
RUNS: dict[str, tuple[dict[str, Any], list[float]]] = {
    "diffrec": ({}, [18226.465, 10938.165, 7607.164, 5560.517, 4529.928, 3984.934]),
    "diffrec epsilon": (
        {"prediction_target": "epsilon", "noise_scale": 1.0},
        [438.40400, 385.33114, 371.84426, 373.12970, 348.43317, 372.38480],
    ),
    "l_diffrec": (
        {"latent": True, "encoder_dims": [8]},
        [1456.9992, 1170.0284, 796.80463, 738.39628, 626.22388, 601.10736],
    ),
}


@pytest.mark.parametrize("name", RUNS)
def test_losses_of_six_epochs(name: str) -> None:
    changes, expected = RUNS[name]
    model = create({**TINY, **changes}, f"train.{name}")
    report = model.fit(planted_data(), TrainingOptions(seed=11))
    assert [record["loss"] for record in report.history] == pytest.approx(expected, rel=1e-3)
