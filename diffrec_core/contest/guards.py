"""Guards: limits that hold however accurate a candidate is."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from diffrec_core.contest.config import GuardsConfig
from diffrec_core.contest.measures import Measures

Sense = Literal["at least", "at most"]

_RATIOS = (
    ("coverage ratio", "min_coverage_ratio", "coverage"),
    ("popularity ratio", "max_popularity_ratio", "popularity"),
    ("latency ratio", "max_latency_ratio", "latency_ms"),
)
"""Name, limit and measure of the ratios to the champion."""


@dataclass(frozen=True, slots=True)
class Guard:
    """A limit, the measured value, and the verdict.

    Attributes:
        name: in words.
        key: of the limit, in `gate.guards` or `publish`.
        value: as measured; None for a ratio to 0.
        sense: the allowed side of the limit, which is itself allowed.
        limit: the bound.
        kept: the verdict.
        detail: terms of the value; may be empty.
    """

    name: str
    key: str
    value: float | None
    sense: Sense
    limit: float
    kept: bool
    detail: str = ""

    def __str__(self) -> str:
        value = "undefined" if self.value is None else f"{self.value:.4g}"
        detail = f" ({self.detail})" if self.detail else ""
        return f"{self.name} {value}{detail}, {self.sense} {self.limit:g} is allowed"


@dataclass(frozen=True, slots=True)
class Quality:
    """Quality of the night's data: share of rejected raw rows, None if unknown; other problems."""

    rejected_share: float | None = None
    flags: Sequence[str] = ()


def check_guards(
    candidate: Measures, champion: Measures | None, quality: Quality, limits: GuardsConfig
) -> tuple[Guard, ...]:
    """Check every limit whose value was measured; ratios only if there is a champion."""
    relative = (
        _ratio(name, key, getattr(candidate, value), getattr(champion, value), limits)
        for name, key, value in _RATIOS
        if champion
    )
    absolute = (
        _limited("users served", "min_served_share", candidate.served_share, limits),
        _limited("ms per user", "max_latency_ms", candidate.latency_ms, limits),
        _limited("size in MiB", "max_size_mib", candidate.size_mib, limits),
        _limited("rejected rows", "max_rejected_share", quality.rejected_share, limits),
    )
    flags = sorted(set(quality.flags) - set(limits.allowed_flags))
    name, count = "flags of data quality", float(len(flags))
    flagged = Guard(name, "allowed_flags", count, "at most", 0.0, not flags, ", ".join(flags))
    return (*filter(None, (*relative, *absolute)), flagged)


def check_seeds(
    difference: float, seed_sd: float | None, limits: GuardsConfig
) -> tuple[Guard, ...]:
    """Compare a difference, candidate less rival, with the spread over seeds.

    Args:
        difference: of the means.
        seed_sd: standard deviation of the metric over the seeds of the candidate's run, on its
            validation part; None for one seed: no guard.
        limits: the limits.

    >>> guards = check_seeds(0.02, 0.01, GuardsConfig())
    >>> str(guards[0])
    "difference in seeds' standard deviations 2 (0.02 against 0.01), at least 1 is allowed"
    """
    if seed_sd is None:
        return ()
    name, detail = "difference in seeds' standard deviations", f"against {seed_sd:.4g}"
    guard = _limited(name, "min_seed_sds", difference, limits, (seed_sd, detail))
    return (guard,) if guard else ()


def _limited(
    name: str,
    key: str,
    value: float | None,
    limits: GuardsConfig,
    base: tuple[float, str] | None = None,
) -> Guard | None:
    """Guard of a value, or of its ratio to a base; None where it was not measured."""
    if value is None:
        return None
    limit = float(getattr(limits, key))
    unit, against = base or (1.0, "")
    sense: Sense = "at least" if key.startswith("min_") else "at most"
    kept = value >= limit * unit if sense == "at least" else value <= limit * unit
    ratio = value / unit if unit else None  # the ratio to 0 is undefined
    return Guard(name, key, ratio, sense, limit, kept, against and f"{value:.4g} {against}")


def _ratio(
    name: str, key: str, value: float | None, base: float | None, limits: GuardsConfig
) -> Guard | None:
    if base is None:
        return None
    return _limited(name, key, value, limits, (base, f"against the champion's {base:.4g}"))
