r"""Drift: the population stability index of item popularity and of history length.

The index of two distributions over the same B bins, with shares p of the reference and q of the
newest period, is sum over bins of (q - p) ln(q / p): the sum of the Kullback-Leibler divergences
in both directions. It is 0 when the shares are the same and never negative.

Source of the thresholds: below 0.1 little has changed, above 0.25 much has (N. Siddiqi, Credit
Risk Scorecards, Wiley 2006, after E. M. Lewis, An Introduction to Credit Scoring, 1994). They are
a convention, not a test: without any drift the index is about (B - 1)(1/n + 1/m) for n and m rows
(B. Yurdakul and J. Naranjo, Statistical properties of the population stability index, Journal of
Risk Model Validation 14, 2020), hence `monitor.psi_min_rows`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from diffrec_core.data.schema import ITEM, USER
from diffrec_core.monitoring.periods import BACK

EPSILON: Final = 1e-4
"""Added to every share before they are normalised again: empty bins have a logarithm, and the
index of equal shares is still 0."""

_BIN, _ROWS = "bin", "rows"


@dataclass(frozen=True, slots=True, eq=False)
class Binned:
    """Rows of the reference and of the newest period by bin.

    Attributes:
        labels: B names of the bins.
        reference: (B,) rows.
        newest: (B,) rows.
    """

    labels: tuple[str, ...]
    reference: NDArray[np.int64]
    newest: NDArray[np.int64]

    @property
    def rows(self) -> int:
        """Rows of the side that has fewer."""
        return int(min(self.reference.sum(), self.newest.sum()))

    @property
    def psi(self) -> float:
        """The index."""
        return psi(self.reference, self.newest)


def psi(
    reference: Sequence[float] | NDArray[np.int64], newest: Sequence[float] | NDArray[np.int64]
) -> float:
    """Population stability index of two lists of counts, or of shares, over the same bins.

    Args:
        reference: (B,) not negative, with a sum above 0.
        newest: (B,) likewise.

    >>> psi([10, 10], [200, 200]), round(psi([5, 5], [8, 2]), 3)
    (0.0, 0.416)
    """
    p, q = _smoothed_shares(reference), _smoothed_shares(newest)
    return float(np.sum((q - p) * (np.log(q) - np.log(p))))


def _smoothed_shares(counts: Sequence[float] | NDArray[np.int64]) -> NDArray[np.float64]:
    values = np.asarray(counts, dtype=np.float64)
    shares: NDArray[np.float64] = values / values.sum() + EPSILON
    return shares / (1 + EPSILON * values.size)


def item_popularity(rows: pl.DataFrame, trailing: int, bins: int) -> Binned:
    """Interactions by how popular their item was, in the newest period and in the reference.

    The older half of the trailing periods ranks the items, most interactions first (ties: lower
    index first), and divides the ranking into `bins` groups with about as many interactions each
    (an item is in the group in which its interactions begin); a last bin holds items that it did
    not have. The newer half is the reference. If one half were both, its ranking would fit it too
    well (a rank is partly chance, and none of its items is new) and every quiet day would look
    like drift.

    Args:
        rows: columns `item` and BACK.
        trailing: how many trailing periods are whole; at least 2.
        bins: groups of the ranking.
    """
    newer = trailing // 2
    before = pl.col(_ROWS).cast(pl.Int64).cum_sum() - pl.col(_ROWS)
    ranked = (
        rows.filter(pl.col(BACK).is_between(newer + 1, trailing))
        .group_by(ITEM)
        .len(_ROWS)
        .sort([_ROWS, ITEM], descending=[True, False])
        .select(ITEM, ((before * bins) // pl.col(_ROWS).sum()).cast(pl.Int64).alias(_BIN))
    )
    labels = ("most popular", *(f"group {number}" for number in range(2, bins + 1)), "new items")

    def counts(low: int, high: int) -> NDArray[np.int64]:
        part = rows.filter(pl.col(BACK).is_between(low, high)).select(ITEM)
        bin_of = part.join(ranked, on=ITEM, how="left")[_BIN].fill_null(bins)
        return np.bincount(bin_of.to_numpy(), minlength=bins + 1).astype(np.int64)

    return Binned(labels, counts(1, newer), counts(0, 0))


def history_length(rows: pl.DataFrame, trailing: int, covered: int, bins: int) -> Binned:
    """Active users by recent interactions, in the newest period and in the reference.

    For each user with an interaction in a period, the interactions in the `trailing` periods that
    end with it are counted: a window of constant length, since whole histories grow with the age
    of the log. The reference is the trailing periods whose windows the log covers; its quantiles
    are the edges of the bins, without duplicates.

    Args:
        rows: columns `user` and BACK.
        trailing: periods of the window, and at most so many of the reference.
        covered: the oldest whole period of the log, counted back.
        bins: quantile bins, at most.
    """
    per_period = rows.group_by(USER, BACK).len(_ROWS)
    last = min(trailing, covered - trailing + 1)
    reference = [_lengths(per_period, back, trailing) for back in range(1, last + 1)]
    lengths = np.concatenate([*reference, np.array([], dtype=np.int64)])
    newest = _lengths(per_period, 0, trailing)
    edges = _inner_edges(lengths, bins)
    size = len(edges) + 1
    return Binned(_edge_labels(edges), _binned(lengths, edges, size), _binned(newest, edges, size))


def _lengths(per_period: pl.DataFrame, back: int, window: int) -> NDArray[np.int64]:
    active = per_period.filter(pl.col(BACK) == back).select(USER)
    recent = per_period.filter(pl.col(BACK).is_between(back, back + window - 1))
    totals = recent.join(active, on=USER, how="semi").group_by(USER).agg(pl.col(_ROWS).sum())
    return totals[_ROWS].to_numpy().astype(np.int64)


def _inner_edges(lengths: NDArray[np.int64], bins: int) -> NDArray[np.int64]:
    """(B - 1,) upper ends of all bins but the last, which is open, inclusive and increasing."""
    if not len(lengths):
        return np.array([], dtype=np.int64)
    shares = np.arange(1, bins) / bins
    edges = np.unique(np.quantile(lengths, shares, method="inverted_cdf")).astype(np.int64)
    edges = edges[edges < lengths.max()]  # else the open bin were empty in the reference
    if not len(edges):  # one length (almost) alone: shorter, this one, longer
        usual = int(np.median(lengths))
        edges = np.array([usual - 1, usual], dtype=np.int64)
    return edges


def _binned(lengths: NDArray[np.int64], edges: NDArray[np.int64], size: int) -> NDArray[np.int64]:
    return np.bincount(np.searchsorted(edges, lengths), minlength=size).astype(np.int64)


def _edge_labels(edges: NDArray[np.int64]) -> tuple[str, ...]:
    if not len(edges):
        return ("any",)
    inner = [_span(low + 1, high) for low, high in pairwise(edges)]
    return (f"up to {edges[0]}", *inner, f"above {edges[-1]}")


def _span(low: int, high: int) -> str:
    return f"{high}" if low == high else f"{low} to {high}"
