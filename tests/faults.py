"""Faults to order: a disk that is full, and a process that is killed at each of its steps."""

import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

DISK_BYTES = 64 * 1024
STEPS = frozenset({"open", "os.link", "os.mkdir", "os.remove", "os.rename", "os.rmdir"})
"""Audit events of what changes files, each raised right before the change."""

# Python 3.12 and later warn of forks in processes with threads; these children only touch files
forks = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")


@contextmanager
def small_disk(folder: Path) -> Iterator[Path]:
    """A file system of 64 KiB, which root alone can make; elsewhere a limit on file sizes."""
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True, check=False).returncode == 0:
        try:
            yield folder
        finally:
            subprocess.run(["umount", str(folder)], check=True)
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (DISK_BYTES, hard))
    try:
        yield folder
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def killed_at_every_step(
    folder: Path, prepare: Callable[[Path], None], act: Callable[[Path], None]
) -> Iterator[Path]:
    """Let a process act again and again, killed one change of a file later each time.

    Yields:
        The folder that it acted in, one for each time; the last was not killed.
    """
    for step in range(1000):
        place = folder / str(step)
        place.mkdir()
        prepare(place)
        status = forked(lambda place=place, step=step: _act_until(step, lambda: act(place)))  # type: ignore[misc]
        yield place
        if not os.WIFSIGNALED(status):
            assert os.waitstatus_to_exitcode(status) == 0
            return
    raise AssertionError("it never ended")


def forked(work: Callable[[], None]) -> int:
    """Do something in a child process; return its wait status."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            work()
            code = 0
        finally:
            os._exit(code)
    return os.waitpid(pid, 0)[1]


def _act_until(step: int, act: Callable[[], None]) -> None:
    left = [step]

    def count(event: str, _: object) -> None:
        if event in STEPS:
            if not left[0]:
                os.kill(os.getpid(), signal.SIGKILL)
            left[0] -= 1

    sys.addaudithook(count)
    act()
