"""Calibration: what is recommended by popularity, beside what the same users had before."""

from collections.abc import Mapping, Sequence

from markupsafe import Markup

from diffrec_core.evaluation.items import GROUPS
from diffrec_core.report import svg
from diffrec_core.report.data import ModelResult
from diffrec_core.report.figure import Figure
from diffrec_core.report.figures import percent
from diffrec_core.report.svg import Scale

_Shares = tuple[float, float, float]


def calibration(models: Sequence[ModelResult], cutoff: int) -> Figure | None:
    """Shares of head, torso and tail in histories and in recommendations, on the test part.

    None where they were not measured, or where no user has a history.
    """
    had = _shares(models[0].popularity_groups, "history_share")
    rows = {m.name: _shares(m.popularity_groups, f"recommended_share@{cutoff}") for m in models}
    measured = {name: shares for name, shares in rows.items() if shares}
    if had is None or not measured:
        return None
    lines = [("users' histories", had, True), *((n, s, False) for n, s in measured.items())]
    numbers = "; ".join(f"{name} {_in_words(shares)}" for name, shares, _ in lines)
    finding = _finding(models[0], measured, had)
    label = f"Shares of head, torso and tail: {numbers}. {finding}"
    panel = (f"Of the first {cutoff} recommended items", "", draw_shares(lines, label))
    heading = "Calibration by popularity groups"
    return Figure("calibration", heading, finding, [panel], "calibration")


def _shares(groups: Mapping[str, Mapping[str, float]], key: str) -> _Shares | None:
    if any(key not in groups.get(name, {}) for name in GROUPS):
        return None
    head, torso, tail = (groups[name][key] for name in GROUPS)
    return head, torso, tail


def _in_words(shares: _Shares) -> str:
    return ", ".join(f"{name} {percent(share)}" for name, share in zip(GROUPS, shares, strict=True))


def _finding(winner: ModelResult, measured: Mapping[str, _Shares], had: _Shares) -> str:
    """Who is nearest to what users had, by the sum of differences of shares."""

    def far(name: str) -> float:
        return sum(abs(a - b) for a, b in zip(measured[name], had, strict=True))

    nearest = min(measured, key=far)
    told = f"Users had {_in_words(had)}. "
    if winner.name in measured:
        told += f"{winner.name} recommends {_in_words(measured[winner.name])}"
    if nearest == winner.name:
        return f"{told}: nearest to what users had."
    return f"{told}; nearest to what users had is {nearest}: {_in_words(measured[nearest])}."


def draw_shares(lines: Sequence[tuple[str, _Shares, bool]], label: str) -> Markup:
    """A bar per line, of three shares that fill it; the marked lines stand apart, in bold.

    Args:
        lines: name, shares, and whether it is what the others are compared with.
        label: what a screen reader says.
    """
    width, left, row_height, right = 440, 132, 24, 330
    height = 26 + row_height * len(lines)
    x = Scale(0.0, 1.0, left, right)
    parts = [svg.text(right + 8, 12, "head / torso / tail", "small")]
    for number, (name, shares, reference) in enumerate(lines):
        top, begin = 20 + number * row_height, 0.0
        style = "end strong" if reference else "end"
        parts.append(svg.text(left - 8, top + 12, svg.clip(name, 17), style))
        for group, share in zip(GROUPS, shares, strict=True):
            size = max(x(begin + share) - x(begin), 0.0)
            parts.append(svg.rect(x(begin), top, size, 16, group))
            begin += share
        written = " / ".join(percent(share) for share in shares)
        parts.append(svg.text(right + 8, top + 12, written, "small"))
        if reference:
            edges = (x(shares[0]), x(shares[0] + shares[1]))
            parts += [svg.line([(at, top), (at, height - 6)], "reference") for at in edges]
    return svg.picture(width, height, label, parts)
