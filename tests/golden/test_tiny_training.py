"""Six epochs of each kind of DiffRec on planted data, their losses pinned.

The numbers are the code's own: they say that results have changed, not that they were right, which
the oracles do. A change is a change of every trained model: declare it in the changelog. The
tolerance lets other matrix libraries and numbers of threads pass.
"""

from typing import Any

import pytest

from diffrec_core.models.kinds import create
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
    "diffrec": ({}, [16950.385, 10440.467, 7405.1691, 5347.8163, 4200.1598, 3592.9142]),
    "diffrec epsilon": (
        {"prediction_target": "epsilon", "noise_scale": 1.0},
        [357.25705, 410.37421, 408.48508, 390.52487, 353.12697, 350.90527],
    ),
    "l_diffrec": (
        {"latent": True, "encoder_dims": [8]},
        [1893.5024, 1463.6302, 1109.8302, 887.82166, 638.87633, 556.90366],
    ),
}


@pytest.mark.parametrize("name", RUNS)
def test_losses_of_six_epochs(name: str) -> None:
    changes, expected = RUNS[name]
    model = create({**TINY, **changes}, f"train.{name}")
    report = model.fit(planted_data(), TrainingOptions(seed=11))
    assert [record["loss"] for record in report.history] == pytest.approx(expected, rel=1e-3)
