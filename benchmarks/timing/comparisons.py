"""Sides take turns; a row compares a number of ours with another one, and has their ratio.

The ratio is how many times faster than another implementation ours is, or how many times a limit
ours takes.
"""

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from statistics import median
from typing import NamedTuple

from benchmarks.processes import Lap, Settings, Side, SideFunction, WorkError
from benchmarks.results import Row

log = logging.getLogger("pipeline")

FAILED, NOT_MEASURED = "failed", "not measured"
"""How the note of a row without numbers begins."""


class SideSpec(NamedTuple):
    """A side to start, or, in `missing`, why it cannot be."""

    function: SideFunction
    settings: Settings
    missing: str = ""


class NotMeasuredError(Exception):
    """A side has no laps; the message is the note of rows that need it."""


class Turns:
    """The laps of sides after `rounds` turns; a side that fails is left out, the others go on."""

    def __init__(
        self,
        sides: Mapping[str, SideSpec],
        rounds: int,
        start: Callable[[SideFunction, Settings], Side] = Side,
    ) -> None:
        self.missing = {name: spec.missing for name, spec in sides.items() if spec.missing}
        self._laps: dict[str, list[Lap]] = {}
        running: dict[str, Side] = {}
        try:
            for name in [name for name in sides if name not in self.missing]:
                with self._noted(name):
                    running[name] = start(sides[name].function, sides[name].settings)
                    self._laps[name] = running[name].laps
            for _ in range(rounds):
                for name in [name for name in running if name not in self.missing]:
                    with self._noted(name):
                        running[name].lap()
        finally:
            for side in running.values():
                side.close()

    @contextmanager
    def _noted(self, name: str) -> Iterator[None]:
        """If a side fails in this block, log the error and note it under the side's name."""
        try:
            yield
        except WorkError as error:
            log.error("%s: %s", name, error)
            self.missing[name] = f"{FAILED}: {error}"

    def laps(self, side: str) -> list[Lap]:
        """The laps of a side after its warm-up.

        Raises:
            NotMeasuredError: it has none.
        """
        if side in self.missing:
            raise NotMeasuredError(self.missing[side])
        return self._laps[side]

    def seconds(self, side: str) -> float:
        """Median over the laps."""
        return median(lap.seconds for lap in self.laps(side))

    def peak_mib(self, side: str) -> float:
        """Largest resident size, at the end of the last lap."""
        return self.laps(side)[-1].peak_mib


Number = str | float | Callable[[Turns], float]
"""The seconds of a side, by its name; a number; or what is read from the turns."""


def compare(
    turns: Turns,
    case: str,
    against: str,
    ours: Number,
    other: Number,
    *,
    is_limit: bool = False,
    target: float | None = None,
    unit: str = "s",
) -> Row:
    """Compare two numbers.

    The ratio is ours / other for a limit, and to be at most `target`; else other / ours, and to be
    at least `target`.
    """
    goal = "" if target is None else f"{'≤' if is_limit else '≥'} {target:g}"
    row: Row = dict.fromkeys(("ratio", "met", "ours", "other"))
    row |= {"case": case, "against": against, "target": goal, "unit": unit, "note": ""}
    try:
        mine, theirs = _read(turns, ours), _read(turns, other)
    except NotMeasuredError as error:
        return {**row, "note": str(error)}
    ratio = mine / theirs if is_limit else theirs / mine
    if target is not None:
        row["met"] = ratio <= target if is_limit else ratio >= target
    numbers = {"ratio": ratio, "ours": mine, "other": theirs}
    return {**row, **{name: float(f"{value:.5g}") for name, value in numbers.items()}}


def _read(turns: Turns, number: Number) -> float:
    if isinstance(number, str):
        return turns.seconds(number)
    return number(turns) if callable(number) else number
