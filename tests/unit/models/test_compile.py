"""torch.compile changes how long a training takes, not what it computes."""

import shutil
import warnings

import pytest
import torch

from diffrec_core.models.registry import create
from diffrec_core.training.trainer import TrainingOptions
from tests.devices import DEVICES
from tests.planted import planted_data

TINY = {"kind": "diffrec", "hidden_dims": [8], "steps": 2, "batch_size": 20, "dropout": 0.0}


def losses(device: str, *, compiled: bool) -> list[float]:
    torch.compiler.reset()
    model = create(TINY, "train.diffrec", torch.device(device))
    options = TrainingOptions(seed=3, device=model.device, compile=compiled, fixed_epochs=2)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the compiler's own
        report = model.fit(planted_data(), options)
    return [record["loss"] for record in report.history]


@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler")
@pytest.mark.parametrize("device", DEVICES)
def test_a_compiled_training_has_the_same_losses(device: str) -> None:
    assert losses(device, compiled=True) == pytest.approx(losses(device, compiled=False), rel=1e-4)
