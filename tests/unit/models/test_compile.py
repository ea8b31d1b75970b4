"""torch.compile changes how long a training takes, not what it computes."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from diffrec_core.models.kinds import create
from diffrec_core.training.trainer import TrainingOptions
from tests.devices import DEVICES
from tests.planted import planted_data

TINY = {"kind": "diffrec", "hidden_dims": [8], "steps": 2, "batch_size": 20, "dropout": 0.0}


def losses(device: str, *, compiled: bool) -> list[float]:
    model = create(TINY, "train.diffrec", torch.device(device))
    options = TrainingOptions(seed=3, device=model.device, compile=compiled, fixed_epochs=2)
    report = model.fit(planted_data(), options)
    return [record["loss"] for record in report.history]


@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler")
@pytest.mark.skipif(" " in sys.prefix, reason="torch.compile does not quote paths with blanks")
@pytest.mark.parametrize("device", DEVICES)
def test_a_compiled_training_has_the_same_losses(device: str, project_root: Path) -> None:
    """In a process of its own: the compiler changes sys.path."""
    script = (
        "import json; from tests.unit.models.test_compile import losses; "
        f"print(json.dumps(losses({device!r}, compiled=True)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=project_root,
        capture_output=True,
        text=True,
        check=True,
    )
    result = json.loads(done.stdout.splitlines()[-1])
    assert result == pytest.approx(losses(device, compiled=False), rel=1e-4)
