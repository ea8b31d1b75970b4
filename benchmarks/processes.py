"""Work in processes of their own, whose peaks of memory are their own; sides that take turns.

A side is a function of its settings that prepares and returns the function to be measured. The
first run of that is a warm-up; then what is compared runs in turns, A B A B. A float that it
returns stands for the seconds of the whole run.
"""

import multiprocessing
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, contextmanager
from typing import Any, NamedTuple, TypeVar

from diffrec_core.common.errors import DiffRecError
from pipeline_steps.runtime.command import peak_memory_mib
from pipeline_steps.runtime.progress import set_up_logging

Settings = Mapping[str, Any]
Run = Callable[[], object]
Side = Callable[[Settings], Run]
T = TypeVar("T")


class WorkError(DiffRecError):
    """A process failed or was killed."""


class Lap(NamedTuple):
    """One run: its seconds, and the process's peak of memory so far."""

    seconds: float
    peak_mib: float


def take_turns(sides: Mapping[str, tuple[Side, Settings]], rounds: int) -> dict[str, list[Lap]]:
    """Let sides run in turns, each in its process; returns the laps of each but the warm-up.

    Raises:
        WorkError: a side failed.
    """
    with ExitStack() as stack:
        calls = {name: stack.enter_context(_process()) for name in sides}
        for name, side in sides.items():
            calls[name](_prepare, *side)
        laps: dict[str, list[Lap]] = {name: [] for name in sides}
        for _ in range(rounds):
            for name, call in calls.items():
                laps[name].append(call(_lap))
    return laps


def in_own_process(function: Callable[..., T], *arguments: object) -> T:
    """Call a function in a new process, and return what it returns.

    Raises:
        WorkError: it failed.
    """
    with _process() as call:
        result: T = call(function, *arguments)
    return result


@contextmanager
def _process() -> Iterator[Callable[..., Any]]:
    """Start a process; yields a function that calls functions in it."""
    spawn = multiprocessing.get_context("spawn")  # a fork would inherit memory and threads
    with ProcessPoolExecutor(1, spawn, initializer=_set_up) as pool:

        def call(function: Callable[..., Any], *arguments: object) -> Any:
            try:
                return pool.submit(function, *arguments).result()
            except Exception as error:  # of any kind, as it comes from another process
                raise WorkError(f"{type(error).__name__}: {error}") from error

        yield call


def _set_up() -> None:
    threading.Thread(target=_end_with_parent, daemon=True).start()
    set_up_logging(quiet=False, verbose=False)


def _end_with_parent() -> None:
    """End this process if the one that started it is killed: nobody waits for its result."""
    if parent := multiprocessing.parent_process():
        parent.join()
        os._exit(1)


_prepared: list[Run] = []
"""Of the side whose process this is."""


def _prepare(side: Side, settings: Settings) -> None:
    _prepared.append(side(settings))
    _prepared[0]()


def _lap() -> Lap:
    started = time.perf_counter()
    result = _prepared[0]()
    seconds = result if isinstance(result, float) else time.perf_counter() - started
    return Lap(seconds, peak_memory_mib())
