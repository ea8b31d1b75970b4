"""Sides in processes of their own: turns, errors, and the end of each."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from benchmarks.processes import Side, WorkError, in_own_process
from tests.benchmarks import toys

PROJECT = Path(__file__).resolve().parents[2]


def test_a_side_is_measured_lap_by_lap_without_its_warm_up() -> None:
    side = Side(toys.count, {})
    for _ in range(3):
        side.lap()
    side.close()
    assert side.warm_up.facts == {"number": 0}
    assert [lap.facts["number"] for lap in side.laps] == [1, 2, 3]
    assert all(lap.seconds >= 0 and lap.peak_mib > 1 for lap in side.laps)


def test_a_side_that_fails_says_why() -> None:
    with pytest.raises(WorkError, match="ValueError: as it is meant to"):
        Side(toys.fail_in_lap, {"lap": 0})
    side = Side(toys.fail_in_lap, {"lap": 2})
    side.lap()
    for message in ("ValueError: as it is meant to", "its process ended with 0"):
        with pytest.raises(WorkError, match=message):
            side.lap()
    side.close()


def test_a_process_that_is_killed_is_an_error() -> None:
    with pytest.raises(WorkError, match="its process ended with 9"):
        Side(toys.die, {})


def test_a_function_has_a_process_of_its_own() -> None:
    result = in_own_process(toys.describe, 1, "two")
    assert result["arguments"] == (1, "two")
    assert result["process"] != os.getpid()
    with pytest.raises(WorkError, match="ValueError: no"):
        in_own_process(toys.refuse, "no")


def test_a_side_ends_when_the_benchmark_is_killed(tmp_path: Path) -> None:
    path = tmp_path / "process"
    program = (
        "from benchmarks.processes import Side; from tests.benchmarks import toys; "
        f"Side(toys.hold, {{'path': {str(path)!r}}})"
    )
    benchmark = subprocess.Popen([sys.executable, "-c", program], cwd=PROJECT)
    while not (path.exists() and path.read_text()):
        assert benchmark.poll() is None
        time.sleep(0.05)
    benchmark.send_signal(signal.SIGKILL)
    benchmark.wait()
    side = int(path.read_text())
    while Path(f"/proc/{side}").exists():  # else the test's own time limit ends it
        time.sleep(0.05)
