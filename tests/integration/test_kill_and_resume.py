"""Trainings that are killed at random moments end as if nothing had happened: the same bits."""

import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.integration.small_steps import Workplace

pytestmark = pytest.mark.integration

KILLS = 3


@pytest.fixture(scope="module")
def new_workplace(
    tmp_path_factory: pytest.TempPathFactory, prepared: Path
) -> Callable[[], Workplace]:
    """Makes folders that share prepared data."""
    return lambda: Workplace.make(tmp_path_factory.mktemp("work"), prepared)


@pytest.mark.parametrize("model", ["diffrec", "l_diffrec", "lightgcn"])
def test_a_training_killed_several_times_gives_the_same_weights_and_curves(
    new_workplace: Callable[[], Workplace], model: str
) -> None:
    whole, killed = new_workplace(), new_workplace()
    assert whole.train(model).returncode == 0
    draw = random.Random(model)
    for _ in range(KILLS):
        _kill_once_it_goes_on(killed, model, delay=draw.uniform(0.0, 0.2))
        assert not killed.weights(model).exists()
    last = killed.train(model)
    assert last.returncode == 0, last.stderr
    assert "resumed" in last.stderr
    assert killed.weights(model).read_bytes() == whole.weights(model).read_bytes()
    assert killed.curves(model).read_bytes() == whole.curves(model).read_bytes()
    assert list((killed.root / ".checkpoints").rglob("*.*")) == []


def _kill_once_it_goes_on(workplace: Workplace, model: str, delay: float) -> None:
    """Start the training, and kill it a while after its first checkpoint."""
    checkpoint = workplace.checkpoint(model)
    before = _written(checkpoint)
    with subprocess.Popen(
        [sys.executable, *workplace.arguments(model)],
        cwd=workplace.root,
        env=workplace.environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        while _written(checkpoint) == before:
            assert process.poll() is None, "the training ended before it could be killed"
            time.sleep(0.002)
        time.sleep(delay)
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL


def _written(path: Path) -> int:
    return path.stat().st_mtime_ns if path.exists() else 0
