"""Comparisons: what is read off the laps of two sides, and how the two stand to each other.

A group is a handful of sides that take turns, and the comparisons between them. Of two numbers
the row tells the ratio that is asked for: how many times faster than others we are, or how many
times a limit we take.
"""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from statistics import median
from typing import Any, Literal, NamedTuple

from benchmarks._laps import Lap, Side, SideError

log = logging.getLogger("pipeline")

SidesLaps = Mapping[str, Sequence[Lap]]
FAILED = "failed"
"""How the note begins of a comparison that failed."""


@dataclass(frozen=True, slots=True)
class SideSpec:
    """A side to start.

    Attributes:
        function: `module:function`.
        settings: what it is given.
        python: the Python to run it; empty: ours.
        most_laps: fewer laps than the others, for what is slow; 0: as many.
        missing: the note of rows without it, if there is no such side; else empty.
    """

    function: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    python: str = ""
    most_laps: int = 0
    missing: str = ""


def median_seconds(laps: Sequence[Lap]) -> float:
    """Of one lap."""
    return median(lap.seconds for lap in laps)


def total_seconds(laps: Sequence[Lap]) -> float:
    """Of all laps together."""
    return sum(lap.seconds for lap in laps)


def peak_mib(laps: Sequence[Lap]) -> float:
    """At the end of the last lap."""
    return laps[-1].peak_mib


class Reading(NamedTuple):
    """A number read off one side's laps."""

    side: str
    of: Callable[[Sequence[Lap]], float] = median_seconds


@dataclass(frozen=True, slots=True)
class Comparison:
    """Ours beside something else.

    Attributes:
        case: what is measured.
        against: what it is compared with.
        ours: our number.
        other: the other's: the sum of readings, or a number known before.
        wanted: `more`: the other's number divided by ours is to be at least `target`;
            `less`: ours divided by the other's is to be at most `target`; `higher`: at least.
        target: what is to be reached; None where nothing was promised.
        unit: of both numbers.
        note: added to the row, made from all laps.
    """

    case: str
    against: str
    ours: Reading
    other: tuple[Reading, ...] | float
    wanted: Literal["more", "less", "higher"] = "more"
    target: float | None = None
    unit: str = "s"
    note: Callable[[SidesLaps], str] = lambda laps: ""

    @property
    def sides(self) -> list[str]:
        """The sides that it needs."""
        others = self.other if isinstance(self.other, tuple) else ()
        return [self.ours.side, *(reading.side for reading in others)]

    def row(self, laps: SidesLaps) -> "Row":
        """Compare, given the laps of the sides."""
        ours = self.ours.of(laps[self.ours.side])
        other = (
            sum(reading.of(laps[reading.side]) for reading in self.other)
            if isinstance(self.other, tuple)
            else self.other
        )
        ratio = other / ours if self.wanted == "more" else ours / other
        met = None
        if self.target is not None:
            met = ratio <= self.target if self.wanted == "less" else ratio >= self.target
        return Row(
            case=self.case,
            against=self.against,
            ours=ours,
            other=other,
            ratio=ratio,
            unit=self.unit,
            peak_mib=peak_mib(laps[self.ours.side]),
            target=self.goal,
            met=met,
            note=self.note(laps),
        )

    @property
    def goal(self) -> str:
        """The target as it is shown."""
        if self.target is None:
            return ""
        return f"{'≤' if self.wanted == 'less' else '≥'} {self.target:g}"


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the result; without numbers where a side was missing or failed, as noted."""

    case: str
    against: str
    ours: float | None = None
    other: float | None = None
    ratio: float | None = None
    unit: str = "s"
    peak_mib: float | None = None
    target: str = ""
    met: bool | None = None
    note: str = ""


@dataclass(frozen=True, slots=True)
class Group:
    """Sides that take turns.

    Attributes:
        sides: by name.
        comparisons: of those sides.
        rounds: laps of each.
    """

    sides: Mapping[str, SideSpec]
    comparisons: Sequence[Comparison]
    rounds: int

    def only(self, cases: Sequence[str]) -> "Group":
        """Keep the comparisons whose case begins with one of `cases`, at a dot; all if none."""
        kept = [c for c in self.comparisons if not cases or _is_chosen(c.case, cases)]
        return Group(self.sides, kept, self.rounds)

    def run(self, start: Callable[[SideSpec], Side]) -> list[Row]:
        """Start the sides that there are, let them take turns, and compare.

        A side that fails costs its own comparisons only.
        """
        missing = {name: spec.missing for name, spec in self.sides.items() if spec.missing}
        possible = [c for c in self.comparisons if not missing.keys() & set(c.sides)]
        names = dict.fromkeys(name for comparison in possible for name in comparison.sides)
        running: dict[str, Side] = {}
        try:
            for name in names:
                with _noted(name, missing):
                    running[name] = start(self.sides[name])
            self._take_turns(running, missing)
        finally:
            for side in running.values():
                side.close()
        laps = {name: side.laps for name, side in running.items()}
        return [_row(comparison, laps, missing) for comparison in self.comparisons]

    def _take_turns(self, running: Mapping[str, Side], missing: dict[str, str]) -> None:
        ended: set[str] = set()
        for turn in range(self.rounds):
            for name, side in running.items():
                most = self.sides[name].most_laps or self.rounds
                if turn < most and name not in ended | missing.keys():
                    with _noted(name, missing):
                        if not side.lap():
                            ended.add(name)


@contextmanager
def _noted(name: str, missing: dict[str, str]) -> Iterator[None]:
    """If a side fails here, log why and note it under its name."""
    try:
        yield
    except SideError as error:
        log.error("%s", error)
        missing[name] = f"{FAILED}: {str(error).splitlines()[-1]}"


def _is_chosen(case: str, cases: Sequence[str]) -> bool:
    return any(f"{case}.".startswith(f"{chosen}.") for chosen in cases)


def _row(comparison: Comparison, laps: SidesLaps, missing: Mapping[str, str]) -> Row:
    reasons = [missing[name] for name in comparison.sides if name in missing]
    if not reasons:
        return comparison.row(laps)
    nothing = Row(comparison.case, comparison.against)
    return replace(nothing, unit=comparison.unit, target=comparison.goal, note=reasons[0])
