"""Metrics beyond accuracy: properties of the recommended lists, with or without hits.

`LISTS` has the metrics of one user's list, averaged over the users that have a value; `CATALOGUE`
those of all lists together. A function that is registered is measured, reported and documented; see
`evaluation.metrics`. Popularity and its groups are those of `evaluation.items`. Means are over the
items that a list holds, which may be fewer than k.

Sources: Zhou et al. (PNAS 2010) for novelty, Ziegler et al. (WWW 2005) for intra-list diversity,
Steck (RecSys 2018) and Abdollahpouri et al. (UMAP 2021) for calibration and its deviation.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from diffrec_core.data.histories import Histories
from diffrec_core.evaluation.items import GROUPS, NO_ITEM, ItemFacts
from diffrec_core.evaluation.metrics import MetricRegistry, PerUser, Values


@dataclass(frozen=True, slots=True, eq=False)
class Lists:
    """The first k recommended items of U users.

    Attributes:
        items: (U, k) item indices, best first, `NO_ITEM` for none.
        history_shares: (U, 3) share of each user's history by popularity group; NaN without one.
        catalogue: facts about the items.
    """

    items: NDArray[np.integer]
    history_shares: Values
    catalogue: ItemFacts

    @property
    def lengths(self) -> NDArray[np.int64]:
        """(U,) number of items of each list."""
        lengths: NDArray[np.int64] = (self.items != NO_ITEM).sum(axis=1)
        return lengths

    def mean(self, of_item: NDArray[np.generic]) -> Values:
        """(U,) mean over each list of the (I,) values of items; NaN for an empty list."""
        values = np.where(self.items != NO_ITEM, of_item[self.items], 0)
        return _divide(np.cumsum(values, axis=1, dtype=np.float64)[:, -1], self.lengths)

    def share(self, group: str) -> Values:
        """(U,) share of each list that is of a popularity group; NaN for an empty list."""
        return self.mean(self.catalogue.group == GROUPS.index(group))


LISTS: Final[MetricRegistry[Callable[[Lists], Values | None]]] = MetricRegistry()
"""From U lists to (U,) values, NaN for a user without one; None where the metric is undefined."""

CATALOGUE: Final[MetricRegistry[Callable[[NDArray[np.int64]], float]]] = MetricRegistry()
"""From (I,) counts, how many lists hold each item of the catalogue, to one value."""


@CATALOGUE.register
def catalogue_coverage(counts: NDArray[np.int64]) -> float:
    """Share of all items that stand in at least one list."""
    return float((counts > 0).mean())


@CATALOGUE.register
def gini(counts: NDArray[np.int64]) -> float:
    """Gini coefficient of how often each of all items is recommended.

    0: all equally often; towards 1: few items only.
    """
    n, total = len(counts), int(counts.sum())
    if total == 0:
        return 0.0
    weights = 2 * np.arange(1, n + 1) - n - 1
    return float((weights * np.sort(counts)).sum() / (n * total))


@LISTS.register
def novelty(lists: Lists) -> Values:
    """Mean of -log2 of the items' popularity, in bits.

    An item without a training interaction counts as one that one user had.
    """
    return lists.mean(lists.catalogue.self_information)


@LISTS.register
def mean_popularity(lists: Lists) -> Values:
    """Mean popularity of the items: share of the training users who had them."""
    return lists.mean(lists.catalogue.popularity / lists.catalogue.n_users)


@LISTS.register
def diversity(lists: Lists) -> Values | None:
    """1 - mean cosine of the embeddings of all pairs of items; lists of two items at least.

    Absent without item embeddings.
    """
    embeddings = lists.catalogue.embeddings
    if embeddings is None:
        return None
    # Σ_{i≠j} v_i·v_j = |Σ v_i|² - Σ |v_i|²; NO_ITEM, -1, is the last row of the table: nothing
    table = np.concatenate([embeddings, np.zeros_like(embeddings[:1])])
    squares = np.square(table, dtype=np.float64).sum(axis=1)
    total = np.zeros((len(lists.items), table.shape[1]))
    for rank in range(lists.items.shape[1]):
        total += table[lists.items[:, rank]]
    own = np.cumsum(squares[lists.items], axis=1)[:, -1]
    lengths = lists.lengths
    return 1.0 - _divide(np.square(total).sum(axis=1) - own, lengths * (lengths - 1))


@LISTS.register
def head_share(lists: Lists) -> Values:
    """Share of the items that are head: the most popular ones."""
    return lists.share("head")


@LISTS.register
def torso_share(lists: Lists) -> Values:
    """Share of the items that are torso: neither head nor tail."""
    return lists.share("torso")


@LISTS.register
def tail_share(lists: Lists) -> Values:
    """Share of the items that are tail: the least popular ones."""
    return lists.share("tail")


@LISTS.register
def popularity_deviation(lists: Lists) -> Values:
    """Jensen-Shannon divergence, in bits, of the three shares from those of the user's history.

    0: the same; 1: nothing in common. Users with a history only.
    """
    shares = np.stack([lists.share(group) for group in GROUPS], axis=1)
    return jensen_shannon(shares, lists.history_shares)


def list_metrics(
    top_items: NDArray[np.integer], histories: Histories, items: ItemFacts, cutoffs: Sequence[int]
) -> PerUser:
    """Compute the metrics of each user's list, (U,) each, at every cutoff; NaN for no value.

    Args:
        top_items: (U, K) item indices, best first, `NO_ITEM` for none; K at least every cutoff.
        histories: U rows, the users' earlier items.
        items: the catalogue.
        cutoffs: the k of each metric.
    """
    past = history_shares(histories, items)
    values: PerUser = {}
    for k in cutoffs:
        lists = Lists(top_items[:, :k], past, items)
        for metric in LISTS.values():
            value = metric.compute(lists)
            if value is not None:
                values[f"{metric.name}@{k}"] = value
    return values


def history_shares(histories: Histories, items: ItemFacts) -> Values:
    """(U, 3) share of each user's history that is head, torso, tail; NaN without a history."""
    cell = histories.rows * len(GROUPS) + items.group[histories.items]
    counts = np.bincount(cell, minlength=len(histories) * len(GROUPS))
    return _divide(counts.reshape(-1, len(GROUPS)), histories.lengths[:, None])


def jensen_shannon(p: Values, q: Values) -> Values:
    """Divergence of distributions, row by row, in bits; NaN where one of them is NaN.

    >>> jensen_shannon(np.array([[1.0, 0.0], [0.5, 0.5]]), np.array([[0.0, 1.0], [0.5, 0.5]]))
    array([1., 0.])
    """
    middle = (p + q) / 2
    divergence: Values = (_entropy_to(p, middle) + _entropy_to(q, middle)) / 2
    return np.maximum(divergence, 0.0)  # it may round to below 0 where p is nearly q


def _entropy_to(p: Values, q: Values) -> Values:
    """Σ p log2(p / q), terms with p = 0 being 0."""
    ratio = np.divide(p, q, out=np.ones_like(p), where=p != 0.0)
    entropy: Values = (p * np.log2(ratio)).sum(axis=1)
    return entropy


def _divide(amount: NDArray[np.generic], count: NDArray[np.generic]) -> Values:
    """Quotients; NaN where the count is 0."""
    shape = np.broadcast_shapes(amount.shape, count.shape)
    quotients: Values = np.divide(amount, count, out=np.full(shape, np.nan), where=count != 0)
    return quotients


def item_counts(
    top_items: NDArray[np.integer], n_items: int, cutoffs: Sequence[int]
) -> NDArray[np.int64]:
    """Count how often each item stands in the first k, for each k: (len(cutoffs), I)."""
    counts = np.empty((len(cutoffs), n_items), dtype=np.int64)
    for row, k in enumerate(cutoffs):
        first = top_items[:, :k].ravel()
        counts[row] = np.bincount(first + 1, minlength=n_items + 1)[1:]  # NO_ITEM is -1
    return counts


def catalogue_metrics(counts: NDArray[np.int64], cutoffs: Sequence[int]) -> dict[str, float]:
    """Compute the metrics of all lists together from (len(cutoffs), I) counts."""
    return {
        f"{metric.name}@{k}": metric.compute(row)
        for row, k in zip(counts, cutoffs, strict=True)
        for metric in CATALOGUE.values()
    }
