"""Guards: limits that hold however accurate a candidate is."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from diffrec_core.contest.config import GuardsConfig
from diffrec_core.contest.measures import Measures

Sense = Literal["at least", "at most"]


@dataclass(frozen=True, slots=True)
class Guard:
    """A limit, the measured value, and the verdict.

    Attributes:
        name: in words.
        key: of the limit, in `gate.guards`.
        value: as measured; None for a ratio to 0.
        sense: the allowed side of the limit; the limit itself is allowed.
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
    """Quality of the night's data.

    Attributes:
        rejected_share: of the raw rows; None if unknown.
        flags: names of other problems.
    """

    rejected_share: float | None = None
    flags: Sequence[str] = ()


def check_guards(
    candidate: Measures, champion: Measures | None, quality: Quality, limits: GuardsConfig
) -> tuple[Guard, ...]:
    """Give every guard's verdict; those that are ratios to the champion only where there is one."""
    absolute = [
        _limited("users served", "min_served_share", candidate.served_share, limits),
        _limited("ms per user", "max_latency_ms", candidate.latency_ms, limits),
        _limited("size in MiB", "max_size_mib", candidate.size_mib, limits),
        _limited("rejected rows", "max_rejected_share", quality.rejected_share, limits),
    ]
    relative = _ratios(candidate, champion, limits) if champion else []
    measured = [guard for guard in [*relative, *absolute] if guard is not None]
    return (*measured, _flags(quality, limits))


def check_seeds(
    difference: float, seed_sd: float | None, limits: GuardsConfig
) -> tuple[Guard, ...]:
    """Compare the difference with the spread over seeds; no guard for one seed.

    Args:
        difference: of the means, candidate less rival.
        seed_sd: standard deviation of the metric between the seeds of the candidate's run, on its
            validation part; None if there was one.
        limits: the limits.

    >>> guards = check_seeds(0.02, 0.01, GuardsConfig())
    >>> str(guards[0])
    "difference in seeds' standard deviations 2 (0.02 against 0.01), at least 1 is allowed"
    """
    if seed_sd is None:
        return ()
    key, limit = "min_seed_sds", limits.min_seed_sds
    value = difference / seed_sd if seed_sd else None
    kept, detail = difference >= limit * seed_sd, f"{difference:.4g} against {seed_sd:.4g}"
    name = "difference in seeds' standard deviations"
    return (Guard(name, key, value, "at least", limit, kept, detail),)


def _ratios(candidate: Measures, champion: Measures, limits: GuardsConfig) -> list["Guard | None"]:
    return [
        _ratio("coverage", "min_coverage_ratio", candidate.coverage, champion.coverage, limits),
        _ratio(
            "popularity", "max_popularity_ratio", candidate.popularity, champion.popularity, limits
        ),
        _ratio("latency", "max_latency_ratio", candidate.latency_ms, champion.latency_ms, limits),
    ]


def _limited(name: str, key: str, value: float | None, limits: GuardsConfig) -> Guard | None:
    """Guard of a value; None where it was not measured."""
    if value is None:
        return None
    limit, sense = float(getattr(limits, key)), _sense(key)
    kept = value >= limit if sense == "at least" else value <= limit
    return Guard(name, key, value, sense, limit, kept)


def _ratio(
    name: str, key: str, value: float | None, base: float | None, limits: GuardsConfig
) -> Guard | None:
    """Guard of a value relative to the champion's; the ratio to 0 is undefined."""
    if value is None or base is None:
        return None
    limit, sense = float(getattr(limits, key)), _sense(key)
    kept = value >= limit * base if sense == "at least" else value <= limit * base
    ratio = value / base if base else None
    detail = f"{value:.4g} against the champion's {base:.4g}"
    return Guard(f"{name} ratio", key, ratio, sense, limit, kept, detail)


def _sense(key: str) -> Sense:
    return "at least" if key.startswith("min_") else "at most"


def _flags(quality: Quality, limits: GuardsConfig) -> Guard:
    raised = sorted(set(quality.flags) - set(limits.allowed_flags))
    name, count = "flags of data quality", float(len(raised))
    return Guard(name, "allowed_flags", count, "at most", 0.0, not raised, ", ".join(raised))
