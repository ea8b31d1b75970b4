"""Sides of a comparison take turns: each in a process of its own, measured lap by lap.

A side is a function `side(settings, laps)`. It prepares, runs what is to be measured once to warm
up, and from then on calls `laps.lap()` between two runs of it: there the process waits for its
turn. So what is compared runs in turns, A B A B, and each side's peak of memory is its own.

Nothing here needs more than Python: a side may run under another Python than ours.
"""

import importlib
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple, TextIO

ROOT = Path(__file__).resolve().parent.parent
MIB_PER_MAXRSS = 1024 if sys.platform != "darwin" else 1024 * 1024
_LINES_OF_ERROR = 12


class SideError(Exception):
    """A side's process ended with an error; the message ends with the last lines of it."""


class Lap(NamedTuple):
    """One turn of a side.

    Attributes:
        seconds: how long it took.
        peak_mib: largest resident size of the process so far.
        facts: what the side told of it.
    """

    seconds: float
    peak_mib: float
    facts: dict[str, Any]


class Laps:
    """The clock of a side, in its process.

    Args:
        turns: gives a line for each turn.
        replies: is written a line for each lap.
    """

    def __init__(self, turns: TextIO, replies: TextIO) -> None:
        self._turns, self._replies = turns, replies
        self._started = time.perf_counter()

    def lap(self, facts: Mapping[str, Any] | None = None) -> None:
        """End a lap, tell `facts` of it, and wait for the next turn. The first is the warm-up."""
        seconds = time.perf_counter() - self._started
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / MIB_PER_MAXRSS
        self._replies.write(json.dumps(Lap(seconds, peak, dict(facts or {}))) + "\n")
        self._replies.flush()
        if not self._turns.readline():
            raise SystemExit(0)  # no more turns: we are done
        self._started = time.perf_counter()

    def lap_forever(self, run: Callable[[], Mapping[str, Any] | None]) -> None:
        """Measure one function, again and again."""
        while True:
            self.lap(run())


class Side:
    """A side as seen from outside.

    Args:
        function: `module:function` of the side.
        settings: what it is given; plain values.
        environment: further environment variables.
        python: the Python to run it.
    """

    def __init__(
        self,
        function: str,
        settings: Mapping[str, Any],
        *,
        environment: Mapping[str, str] | None = None,
        python: str = sys.executable,
    ) -> None:
        self.function = function
        # an anonymous file rather than a pipe, which nobody would empty while we wait
        self._errors = tempfile.TemporaryFile(mode="w+")  # noqa: SIM115
        self._process = subprocess.Popen(
            [python, "-m", "benchmarks._laps", function],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT), **(environment or {})},
        )
        self.laps: list[Lap] = []
        try:
            self._send(json.dumps(settings))
            self._receive()  # the warm-up
        except BaseException:
            self.close()
            raise

    def lap(self) -> bool:
        """Let the side have a turn; false once it has come to its end."""
        self._send("go")
        lap = self._receive()
        if lap is not None:
            self.laps.append(lap)
        return lap is not None

    def close(self) -> None:
        """End the side's process."""
        for stream in (self._process.stdin, self._process.stdout):
            with suppress(BrokenPipeError):  # what it did not read any more
                if stream:
                    stream.close()
        try:
            self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._errors.close()

    def _send(self, line: str) -> None:
        if self._process.stdin is None:
            raise SideError(f"{self.function}: its standard input is closed")
        try:
            self._process.stdin.write(line + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            return  # it has ended; `_receive` tells why

    def _receive(self) -> Lap | None:
        line = self._process.stdout.readline() if self._process.stdout else ""
        if line:
            return Lap(*json.loads(line))
        code = self._process.wait()
        if code == 0:
            return None
        self._errors.seek(0)
        last = self._errors.read().strip().splitlines()[-_LINES_OF_ERROR:]
        raise SideError("\n".join([f"{self.function} ended with {code}", *last]))


def _main(function: str) -> None:
    # what the side or a library of it prints must not get between the replies
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    settings = json.loads(sys.stdin.readline())
    module, _, name = function.partition(":")
    side = getattr(importlib.import_module(module), name)
    side(settings, Laps(sys.stdin, replies))


if __name__ == "__main__":
    _main(sys.argv[1])
