"""Evidence that a challenger's recipe is better than the champion's, from night to night.

A night is one observation, however many users it has: what a night does to a recipe, it does to
all users alike. Of challenger k against champion c on night n, with N users:

    d = mean over users of metric(k) - metric(c), less the margin
    s² = V / N + τ²     V: variance between users of the pair's difference, τ²: between nights,
                        both of earlier nights alone
    x = d / s, cut at ±3
    S, Q = Σ x, f · Σ x² over the newest nights since the champion became champion
    log E = log 2 + ½ log(ρ / (Q + ρ)) + S² / (2 (Q + ρ)) + log Φ(S / √(Q + ρ)),  ρ = 3

E is the mixture of exp(λ S - λ² Q / 2) over half-normal λ. If nights err up as likely as down,
the mean of each factor is cosh(λ x) exp(-λ² x² / 2) ≤ 1, whatever the spread of nights is: so
between equal recipes E grows beyond 20 with a probability of at most 1/20, on nights that are all
kept. With a sliding horizon the rate is simulated: `make bench-gate`. f is above 1 where nights
have memory. Sources: Howard et al., Probability Surveys 2020, on mixtures; Choe & Ramdas,
Operations Research 2023, on the mean advantage over nights as what is estimated.

`rounds` holds the sums, `replay` reads them from a ledger.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_ndtr

from diffrec_core.contest.config import ContestConfig

Floats = NDArray[np.float64]
Indices = NDArray[np.int64]
Flags = NDArray[np.bool_]

CLIP: Final = 3.0
"""Largest |x|: more than this no night can say, however large its difference is."""

RHO: Final = 3.0
"""Of the mixture: 1/ρ is the variance of λ before it is cut to λ > 0."""

LEAST_NIGHTS: Final = 9
"""Nights that a challenger is compared on before it can become champion."""

_WEEK, _LEAST_WEEKS = 7, 4


def log_evidence(sums: Floats, squares: Floats) -> Floats:
    """Natural logarithm of E; 0 where there is no evidence either way.

    Args:
        sums: S, of any shape.
        squares: Q, of the same shape, at least 0.

    >>> log_evidence(np.zeros(1), np.zeros(1)).round(9).tolist()
    [0.0]
    """
    q = squares + RHO
    root = np.log(2.0) + 0.5 * np.log(RHO / q)
    evidence: Floats = root + sums * sums / (2.0 * q) + log_ndtr(sums / np.sqrt(q))
    return evidence


def standardised(differences: Floats, scales: Floats) -> Floats:
    """Differences as x: in units of their scale, cut; 0 where the scale is 0."""
    ratios = np.divide(differences, scales, out=np.zeros_like(differences), where=scales > 0.0)
    x: Floats = np.clip(ratios, -CLIP, CLIP)
    return x


def pairs_of(values: Floats) -> Floats:
    """Differences of all pairs (..., P) of (..., M) values, each pair once.

    >>> pairs_of(np.array([5.0, 3.0, 2.0])).tolist()
    [2.0, 3.0, 1.0]
    """
    one, other = np.triu_indices(values.shape[-1], 1)
    differences: Floats = values[..., one] - values[..., other]
    return differences


def memory(differences: Floats) -> Floats:
    """f: variance of the means of weeks, in units of that of independent nights; at least 1.

    1 where there are fewer than four weeks. A week is seven nights in turn, counted back from the
    newest; one in which a pair was not measured each night is left out for the pair.

    Args:
        differences: (T, R, P) see `pairs_of`, oldest first; NaN: not measured.

    Returns:
        (R,) pooled over the pairs.
    """
    n_weeks, n_contests = len(differences) // _WEEK, differences.shape[1]
    if n_weeks < _LEAST_WEEKS:
        return np.ones(n_contests)
    pairs = differences[-n_weeks * _WEEK :].reshape(n_weeks, _WEEK, *differences.shape[1:])
    means = pairs.mean(axis=1)
    is_whole = ~np.isnan(means)
    weeks = is_whole.sum(axis=0)
    centre = np.where(is_whole, means, 0.0).sum(axis=0) / np.maximum(weeks, 1)
    of_weeks = np.where(is_whole, (means - centre) ** 2, 0.0).sum(axis=0)
    of_nights = np.where(is_whole[:, None], (pairs - centre) ** 2, 0.0).sum(axis=(0, 1))
    enough = weeks >= _LEAST_WEEKS
    return _ratio(
        _pooled(of_weeks, weeks - 1, enough), _pooled(of_nights, _WEEK * weeks - 1, enough)
    )


def _pooled(squares: Floats, degrees: Indices, enough: Flags) -> Floats:
    """(R,) variance of (R, P) sums of squares with their degrees of freedom; 0 without any."""
    total = np.where(enough, degrees, 0).sum(axis=1)
    variance: Floats = np.where(enough, squares, 0.0).sum(axis=1) / np.maximum(total, 1)
    return variance


def _ratio(of_weeks: Floats, of_nights: Floats) -> Floats:
    ones = np.ones_like(of_weeks)
    return np.maximum(
        np.divide(_WEEK * of_weeks, of_nights, out=ones.copy(), where=of_nights > 0.0), ones
    )


def threshold(config: ContestConfig, challengers: int) -> float:
    """Evidence at which one of so many challengers becomes champion, as odds to 1.

    >>> threshold(ContestConfig(), 3), threshold(ContestConfig(), 6)
    (20.0, 40.0)
    """
    return config.odds * max(1.0, challengers / 3)
