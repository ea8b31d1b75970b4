"""Sides in processes of their own: turns, errors, and the end of each."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from benchmarks.processes import WorkError, in_own_process, take_turns
from tests.benchmarks import toys

PROJECT = Path(__file__).resolve().parents[2]


def test_sides_take_turns_after_a_warm_up_each(tmp_path: Path) -> None:
    path = tmp_path / "runs"
    sides = {
        name: (toys.note, {"name": name, "seconds": seconds, "path": str(path)})
        for name, seconds in {"a": 1.5, "b": 2.5}.items()
    }
    laps = take_turns(sides, 2)
    names, processes = zip(*map(str.split, path.read_text().splitlines()), strict=True)
    assert names == ("a", "b", "a", "b", "a", "b")
    assert len({*processes, str(os.getpid())}) == 3
    assert [lap.seconds for lap in laps["b"]] == [2.5, 2.5]
    assert all(lap.peak_mib > 1 for lap in laps["a"])


@pytest.mark.parametrize("run", [0, 1], ids=["in the warm-up", "in its first lap"])
def test_a_side_that_fails_says_why(run: int) -> None:
    with pytest.raises(WorkError, match="ValueError: as it is meant to"):
        take_turns({"a": (toys.fail, {"run": run})}, 1)


def test_a_run_is_measured_by_the_clock_unless_it_says_otherwise() -> None:
    (lap,) = take_turns({"a": (toys.fail, {"run": 9})}, 1)["a"]
    assert 0.0 <= lap.seconds < 60.0


def test_a_process_that_is_killed_is_an_error() -> None:
    with pytest.raises(WorkError, match="terminated abruptly"):
        in_own_process(toys.die)


def test_a_function_has_a_process_of_its_own() -> None:
    result = in_own_process(toys.describe, 1, "two")
    assert result["arguments"] == (1, "two")
    assert result["process"] != os.getpid()


def test_a_process_ends_when_the_benchmark_is_killed(tmp_path: Path) -> None:
    path = tmp_path / "process"
    program = (
        "from benchmarks.processes import in_own_process; from tests.benchmarks import toys; "
        f"in_own_process(toys.hold, {str(path)!r})"
    )
    benchmark = subprocess.Popen([sys.executable, "-c", program], cwd=PROJECT)
    while not (path.exists() and path.read_text()):
        assert benchmark.poll() is None
        time.sleep(0.05)
    benchmark.send_signal(signal.SIGKILL)
    benchmark.wait()
    process = int(path.read_text())
    while Path(f"/proc/{process}").exists():  # else the test's own time limit ends it
        time.sleep(0.05)
