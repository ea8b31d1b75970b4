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
    "diffrec": ({}, [18344.053, 10891.613, 7639.2386, 5436.9053, 4676.665, 3846.2627]),
    "diffrec epsilon": (
        {"prediction_target": "epsilon", "noise_scale": 1.0},
        [429.76525, 430.18533, 386.28036, 369.42458, 367.92086, 356.79875],
    ),
    "l_diffrec": (
        {"latent": True, "encoder_dims": [8]},
        [1777.1231, 1358.8549, 1092.569, 771.39595, 582.74058, 490.01256],
    ),
}


@pytest.mark.parametrize("name", RUNS)
def test_losses_of_six_epochs(name: str) -> None:
    changes, expected = RUNS[name]
    model = create({**TINY, **changes}, f"train.{name}")
    report = model.fit(planted_data(), TrainingOptions(seed=11))
    assert [record["loss"] for record in report.history] == pytest.approx(expected, rel=1e-3)
