"""Sides and functions that tests start in processes of their own."""

import os
from pathlib import Path
from typing import Any

from benchmarks.processes import Run, Settings


def note(settings: Settings) -> Run:
    """Notes its runs in a file that sides share, and says that each took so many seconds."""

    def run() -> float:
        with Path(settings["path"]).open("a") as file:
            file.write(f"{settings['name']} {os.getpid()}\n")
        return float(settings["seconds"])

    return run


def fail(settings: Settings) -> Run:
    """Fails in the run of that number; 0 is the warm-up."""
    numbers = iter(range(settings["run"]))

    def run() -> None:
        if next(numbers, None) is None:
            raise ValueError("as it is meant to")

    return run


def die() -> None:
    """Ends like a process that is killed."""
    os._exit(9)


def hold(path: str) -> None:
    """Writes the number of its process, and goes on for ever."""
    Path(path).write_text(str(os.getpid()))
    while True:
        os.sched_yield()


def describe(*arguments: Any) -> dict[str, Any]:
    """What a process is called with, and which it is."""
    return {"arguments": arguments, "process": os.getpid()}
