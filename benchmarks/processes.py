"""Work in processes of their own, whose peaks of memory are their own; sides that take turns.

A side is a function `side(settings, laps)`. It prepares, runs once what is to be measured, as a
warm-up, and then calls `laps.lap()` between two runs of it: there the process waits for its turn.
So what is compared runs in turns, A B A B.

Nothing of the product is imported here but an error: its processes are set up in their own way.
"""

import logging
import multiprocessing
import os
import resource
import sys
import threading
import time
import traceback
from collections.abc import Callable, Mapping
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import Any, NamedTuple, TypeVar

from diffrec_core.common.errors import DiffRecError

_MIB_PER_MAXRSS = 2**20 if sys.platform == "darwin" else 2**10
_SECONDS_TO_END = 10.0

Settings = Mapping[str, Any]
T = TypeVar("T")


class WorkError(DiffRecError):
    """A process failed, with an error that it has printed, or was killed."""


class Lap(NamedTuple):
    """One turn: its seconds, the process's peak of memory so far, and what the side adds."""

    seconds: float
    peak_mib: float
    facts: dict[str, Any]


class Laps:
    """The clock of a side, in its process; the connection is to the one that gives the turns."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._started = time.perf_counter()

    def lap(self, **facts: Any) -> None:
        """End a lap, and wait for the next turn. The first lap is the warm-up."""
        seconds = time.perf_counter() - self._started
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / _MIB_PER_MAXRSS
        self._connection.send(Lap(seconds, peak, facts))
        try:
            self._connection.recv()
        except EOFError:
            raise SystemExit(0) from None  # no more turns
        self._started = time.perf_counter()

    def lap_forever(self, run: Callable[[], Mapping[str, Any] | None]) -> None:
        """Measure one function, again and again; it returns the facts of its lap."""
        while True:
            self.lap(**(run() or {}))


SideFunction = Callable[[Settings, Laps], None]


class Side:
    """A side seen from outside; it starts with its warm-up.

    Raises:
        WorkError: it failed; `lap` raises it too.
    """

    def __init__(self, function: SideFunction, settings: Settings) -> None:
        context = multiprocessing.get_context("spawn")  # a fork would inherit memory and threads
        self._connection, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(function, settings, theirs))
        self._process.start()
        theirs.close()  # so that the end of the process is the end of the connection
        self.laps: list[Lap] = []
        try:
            self.warm_up = self._receive()
        except BaseException:
            self.close()
            raise

    def lap(self) -> None:
        """Let the side have a turn."""
        with suppress(BrokenPipeError, ConnectionResetError):  # `_receive` says why
            self._connection.send(None)
        self.laps.append(self._receive())

    def close(self) -> None:
        """End the side's process."""
        self._connection.close()
        self._process.join(_SECONDS_TO_END)
        self._process.kill()
        self._process.join()

    def _receive(self) -> Lap:
        try:
            reply = self._connection.recv()
        except (EOFError, ConnectionResetError):
            self._process.join()
            raise WorkError(f"its process ended with {self._process.exitcode}") from None
        if isinstance(reply, str):
            raise WorkError(reply)
        return Lap(*reply)


def _end_with_parent() -> None:
    """End this process if the one that started it is killed: nobody waits for its result."""
    if parent := multiprocessing.parent_process():
        parent.join()
        os._exit(1)


def _serve(function: SideFunction, settings: Settings, connection: Connection) -> None:
    threading.Thread(target=_end_with_parent, daemon=True).start()
    logging.basicConfig(format="%(asctime)s %(levelname)-7s %(message)s", datefmt="%H:%M:%S")
    logging.getLogger("pipeline").setLevel(logging.INFO)
    try:
        with suppress(KeyboardInterrupt):  # Ctrl-C reaches all processes; the first one reports it
            function(settings, Laps(connection))
    except Exception as error:
        traceback.print_exc()
        connection.send(f"{type(error).__name__}: {error}")


def in_own_process(function: Callable[..., T], *arguments: object) -> T:
    """Call a function in a new process, and return what it returns.

    Raises:
        WorkError: it failed.
    """
    side = Side(_call, {"function": function, "arguments": arguments})
    side.close()
    result: T = side.warm_up.facts["result"]
    return result


def _call(settings: Settings, laps: Laps) -> None:
    laps.lap(result=settings["function"](*settings["arguments"]))
