"""What a night decides: the verdict, its reason in words, and its JSON."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, Final

from pydantic import TypeAdapter

from diffrec_core.common.artifacts import canonical_json
from diffrec_core.contest.advantage import Advantage
from diffrec_core.contest.combined import LeftOut
from diffrec_core.contest.evidence import LEAST_NIGHTS


@dataclass(frozen=True, slots=True)
class Standing:
    """How a challenger stands against the champion.

    Attributes:
        recipe: its id.
        name: its name for readers.
        nights: that it was compared on since the champion became champion.
        evidence: that it is better by more than the margin, as odds to 1.
        advantage: over the nights of the horizon; None before there is one.
        would_switch: the smallest advantage that would make it champion within 30 nights, at even
            odds, in the metric's own unit; None where none would.
        kept_back: why a guard keeps it from becoming champion; empty: none does.
    """

    recipe: str
    name: str
    nights: int
    evidence: float
    advantage: Advantage | None
    would_switch: float | None
    kept_back: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a night decides, and on what evidence.

    Attributes:
        night: the last one that was read.
        champion: of that night.
        settings: of the contest, which the decision depends on besides the ledger.
        reason: in words.
        odds: evidence that a switch needs, as odds to 1.
        level: the champion's mean metric over the nights of the horizon; None before the first.
        switch_to: the recipe that is champion from now on; None: it stays as it is.
        memory: f.
        standings: of the challengers that were compared last, by id.
        left_out: nights that do not count, or not yet, since the champion became champion.
    """

    night: date
    champion: str
    settings: Mapping[str, Any]
    reason: str
    odds: float
    level: float | None = None
    switch_to: str | None = None
    memory: float = 1.0
    standings: tuple[Standing, ...] = ()
    left_out: tuple[LeftOut, ...] = ()


_VERDICT: Final = TypeAdapter(Verdict)
_DIGITS = 9
"""Significant digits in JSON: the last ones differ between machines."""


def verdict_json(verdict: Verdict) -> str:
    """A verdict as canonical JSON, numbers to nine significant digits."""
    return canonical_json(_rounded(_VERDICT.dump_python(verdict, mode="json")))


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return float(f"{value:.{_DIGITS}g}")
    if isinstance(value, dict):
        return {key: _rounded(entry) for key, entry in value.items()}
    return [_rounded(entry) for entry in value] if isinstance(value, list | tuple) else value


def reason_of(standings: Sequence[Standing], switch_to: str | None, odds: float) -> str:
    """Say why the champion stays or goes; in the order of what was looked at."""
    if not standings:
        return "the champion has no challenger"
    best = max(standings, key=lambda standing: standing.evidence)
    if switch_to is not None:
        best = next(standing for standing in standings if standing.recipe == switch_to)
        evidence = f"{best.evidence:.3g} : 1, {odds:g} : 1 is needed"
        return f"{best.name} becomes champion: evidence {evidence}"
    largest = f"largest evidence {best.evidence:.3g} : 1, of {best.name}; {odds:g} : 1 is needed"
    if best.evidence < odds:
        return f"the champion stays: {largest}"
    if best.kept_back:
        return f"the champion stays: {largest}, but a guard keeps it back: {best.kept_back}"
    if best.nights < LEAST_NIGHTS:
        return f"the champion stays: {largest}, and {LEAST_NIGHTS} nights; it has {best.nights}"
    return f"the champion stays: {largest}, but this night does not count"
