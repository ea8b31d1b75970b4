"""Sides and functions that tests start in processes of their own."""

import os
from typing import Any

from benchmarks.processes import Laps, Settings


def count(settings: Settings, laps: Laps) -> None:
    """Numbers its laps, and prints."""
    number = 0
    while True:
        print("a library that prints")  # noqa: T201
        laps.lap(number=number)
        number += 1


def fail_in_lap(settings: Settings, laps: Laps) -> None:
    """Fails in the lap of that number; 0 is the warm-up."""
    for _ in range(settings["lap"]):
        laps.lap()
    raise ValueError("as it is meant to")


def die(settings: Settings, laps: Laps) -> None:
    """Ends like a process that is killed."""
    os._exit(9)


def hold(settings: Settings, laps: Laps) -> None:
    """Writes the number of its process, and never has a lap."""
    with open(settings["path"], "w") as file:  # noqa: PTH123
        file.write(str(os.getpid()))
    while True:
        os.sched_yield()


def describe(*arguments: Any) -> dict[str, Any]:
    """What a process is called with, and which it is."""
    return {"arguments": arguments, "process": os.getpid()}


def refuse(message: str) -> None:
    """Fails."""
    raise ValueError(message)
