"""How large an advantage the nights show, and how large a one they would show soon.

The interval holds every advantage that the evidence does not exclude: margins m of which neither
"better than m" nor "worse than m" has reached the odds. Each side errs by itself, so at 20 : 1 both
together are wrong at most once in ten times, between nights that are all kept.

The scales of the nights stay as they were when the nights were judged. With them the evidence of
"better than m" need not fall with m where all nights are cut: the bound is the largest m for which
it reaches the odds.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy.optimize import brentq

from diffrec_core.contest.evidence import CLIP, Floats, log_evidence, standardised

SOON_NIGHTS: Final = 30
"""Nights within which an advantage has to show, to be called one that would switch."""

_GRID = 512


@dataclass(frozen=True, slots=True)
class Advantage:
    """A mean advantage over nights and its interval, all in the metric's own unit.

    Attributes:
        mean: the margin at which the nights speak for neither side: their mean, each weighed by
            its scale, with differences beyond three scales cut.
        lower: None: there is no bound on this side yet.
        upper: likewise.
    """

    mean: float
    lower: float | None
    upper: float | None


def advantage(
    differences: Floats, scales: Floats, *, odds: float, memory: float = 1.0
) -> Advantage | None:
    """Estimate the advantage of a challenger.

    Args:
        differences: (T,) d of the nights, in the metric's own unit.
        scales: (T,) s of them, in the same unit; nights with 0 are ignored.
        odds: that exclude an advantage, to 1.
        memory: f.

    Returns:
        None without a night.
    """
    is_known = scales > 0.0
    d, s = differences[is_known], scales[is_known]
    if not len(d):
        return None
    low, high = float((d - CLIP * s).min()) - 1.0, float((d + CLIP * s).max()) + 1.0
    mean = _root(lambda m: float(standardised(d - m, s).sum()), low, high)
    lower, upper = _bound(d, s, odds, memory), _bound(-d, s, odds, memory)
    return Advantage(mean, lower, None if upper is None else -upper)


def _bound(d: Floats, s: Floats, odds: float, memory: float) -> float | None:
    """The largest margin that the differences exceed by the odds; None if there is none."""

    def excess(margins: Floats) -> Floats:
        x = standardised(d[:, None] - margins, np.broadcast_to(s[:, None], (len(d), len(margins))))
        evidence = log_evidence(x.sum(axis=0), memory * (x * x).sum(axis=0))
        return evidence - math.log(odds)

    return _last_root(excess, np.linspace((d - CLIP * s).min(), d.max(), _GRID))


def _last_root(function: Callable[[Floats], Floats], grid: Floats) -> float | None:
    """Where a function that ends below 0 was last above it; None: nowhere on the grid."""
    above = np.flatnonzero(function(grid) >= 0.0)
    if not len(above) or above[-1] + 1 == len(grid):
        return None
    low, high = grid[above[-1]], grid[above[-1] + 1]
    return _root(lambda m: float(function(np.array([m]))[0]), float(low), float(high))


def _root(function: Callable[[float], float], low: float, high: float) -> float:
    return float(brentq(function, low, high, xtol=1e-12))


def would_switch(
    x: Floats, scale: float, *, odds: float, memory: float = 1.0, nights: int = SOON_NIGHTS
) -> float | None:
    """The smallest further advantage that leads to a switch within some nights, at even odds.

    Args:
        x: (T,) standardised differences that still count after these nights.
        scale: s of a night to come, in the metric's own unit.
        odds: needed for a switch, to 1.
        memory: f.
        nights: how many are to come.

    Returns:
        In the metric's own unit, above the margin; 0 where the evidence is enough already, None
        where no advantage would switch so soon, or the scale is unknown.
    """
    if not scale > 0.0:
        return None
    means = np.linspace(0.0, CLIP, _GRID)

    def lack(mean: Floats) -> Floats:
        squares = memory * ((x * x).sum() + nights * (1.0 + mean * mean))
        return math.log(odds) - log_evidence(x.sum() + nights * mean, squares)

    enough = np.flatnonzero(lack(means) <= 0.0)
    if not len(enough) or enough[0] == 0:
        return 0.0 if len(enough) else None
    low, high = means[enough[0] - 1], means[enough[0]]
    return float(scale) * _root(lambda m: float(lack(np.array([m]))[0]), float(low), float(high))
