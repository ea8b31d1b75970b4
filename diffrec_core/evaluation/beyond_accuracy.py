"""Beyond accuracy: what is recommended, whether or not it was a hit.

Of each user's list of the first k items:

    novelty@k               mean self-information of the items, -log2 of popularity, in bits
    mean_popularity@k       mean popularity of the items: share of training users who had them
    diversity@k             1 - mean cosine of the embeddings of each two items; two at least
    head_share@k, …         share of the items that are head, torso, tail
    popularity_deviation@k  how far these three shares are from those of the user's history:
                            Jensen-Shannon divergence in bits, from 0, the same, to 1, nothing
                            in common; users with a history only

They are averaged over the users that have a value. Of all lists together:

    catalogue_coverage@k    share of all items that stand in at least one list
    gini@k                  how unevenly items are recommended: Gini coefficient of how often each
                            of all items stands in a list; 0 equally often, towards 1 few items only

Popularity and the groups are those of `diffrec_core.evaluation.items`. A list may hold fewer than
k items; means are over those that it holds.

Sources: Zhou et al. (PNAS 2010) for novelty, Ziegler et al. (WWW 2005) for intra-list diversity,
Steck (RecSys 2018) and Abdollahpouri et al. (UMAP 2021) for calibration and its deviation.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from diffrec_core.data.histories import Histories
from diffrec_core.evaluation.items import GROUPS, ItemFacts
from diffrec_core.evaluation.metrics import PerUser
from diffrec_core.evaluation.ranking import NO_ITEM

Floats = NDArray[np.float64]


def list_metrics(
    top_items: NDArray[np.integer], histories: Histories, items: ItemFacts, cutoffs: Sequence[int]
) -> PerUser:
    """Compute the metrics of each user's list, at every cutoff.

    Args:
        top_items: (U, K) item indices, best first, `NO_ITEM` for none; K at least every cutoff.
        histories: U rows, what the users had before.
        items: the catalogue.
        cutoffs: the k of each metric.

    Returns:
        (U,) for each metric; NaN for a user that has no value.
    """
    there = top_items != NO_ITEM
    counts = np.cumsum(there, axis=1)
    information = _running_sum(items.self_information, top_items, there)
    popularity = _running_sum(items.popularity / items.n_users, top_items, there)
    in_group = [_running_sum(items.group == g, top_items, there) for g in range(len(GROUPS))]
    past = history_shares(histories, items)
    values: PerUser = {}
    for k in cutoffs:
        count = counts[:, k - 1]
        values[f"novelty@{k}"] = _divide(information[:, k - 1], count)
        values[f"mean_popularity@{k}"] = _divide(popularity[:, k - 1], count)
        shares = np.stack([_divide(number[:, k - 1], count) for number in in_group], axis=1)
        values |= {f"{name}_share@{k}": shares[:, g] for g, name in enumerate(GROUPS)}
        values[f"popularity_deviation@{k}"] = jensen_shannon(shares, past)
    return values | _diversity(top_items, there, items, cutoffs)


def history_shares(histories: Histories, items: ItemFacts) -> Floats:
    """(U, 3) share of each user's history that is head, torso, tail; NaN without a history."""
    cell = histories.rows * len(GROUPS) + items.group[histories.items]
    counts = np.bincount(cell, minlength=len(histories) * len(GROUPS))
    return _divide(counts.reshape(-1, len(GROUPS)), histories.lengths[:, None])


def jensen_shannon(p: Floats, q: Floats) -> Floats:
    """Divergence of distributions, row by row, in bits; NaN where one of them is.

    >>> jensen_shannon(np.array([[1.0, 0.0], [0.5, 0.5]]), np.array([[0.0, 1.0], [0.5, 0.5]]))
    array([1., 0.])
    """
    middle = (p + q) / 2
    divergence: Floats = (_entropy_to(p, middle) + _entropy_to(q, middle)) / 2
    return np.maximum(divergence, 0.0)  # it may round to below 0 where p is nearly q


def _entropy_to(p: Floats, q: Floats) -> Floats:
    """Σ p log2(p / q), terms with p = 0 being 0."""
    ratio = np.divide(p, q, out=np.ones_like(p), where=p != 0.0)
    entropy: Floats = (p * np.log2(ratio)).sum(axis=1)
    return entropy


def _diversity(
    top_items: NDArray[np.integer],
    there: NDArray[np.bool_],
    items: ItemFacts,
    cutoffs: Sequence[int],
) -> PerUser:
    """Mean over pairs by sums: Σ_{i≠j} v_i·v_j = |Σ v_i|² - Σ |v_i|²."""
    if items.embeddings is None:
        return {}
    values: PerUser = {}
    length = np.zeros(len(items) + 1)
    length[:-1] = np.square(items.embeddings, dtype=np.float64).sum(axis=1)
    table = np.concatenate([items.embeddings, np.zeros_like(items.embeddings[:1])])
    total = np.zeros((len(top_items), table.shape[1]))
    own, count, done = np.zeros(len(top_items)), np.zeros(len(top_items)), 0
    for k in sorted(cutoffs):
        for rank in range(done, k):  # NO_ITEM, -1, is the last row of the table: nothing
            total += table[top_items[:, rank]]
            own += length[top_items[:, rank]]
            count += there[:, rank]
        done = k
        cosines = _divide(np.square(total).sum(axis=1) - own, count * (count - 1))
        values[f"diversity@{k}"] = 1.0 - cosines
    return values


def _running_sum(
    of_item: NDArray[np.generic], top_items: NDArray[np.integer], there: NDArray[np.bool_]
) -> Floats:
    """(U, K) sum over the first 1, 2, …, K items of what each item has."""
    sums: Floats = np.cumsum(np.where(there, of_item[top_items], 0), axis=1, dtype=np.float64)
    return sums


def _divide(amount: NDArray[np.generic], count: NDArray[np.generic]) -> Floats:
    """Quotients; NaN where the count is 0."""
    shape = np.broadcast_shapes(amount.shape, count.shape)
    quotients: Floats = np.divide(amount, count, out=np.full(shape, np.nan), where=count != 0)
    return quotients


def item_counts(
    top_items: NDArray[np.integer], n_items: int, cutoffs: Sequence[int]
) -> NDArray[np.int64]:
    """How often each item stands in the first k, for each k: (len(cutoffs), I)."""
    counts = np.empty((len(cutoffs), n_items), dtype=np.int64)
    for row, k in enumerate(cutoffs):
        first = top_items[:, :k].ravel()
        counts[row] = np.bincount(first + 1, minlength=n_items + 1)[1:]  # NO_ITEM is -1
    return counts


def catalogue_metrics(counts: NDArray[np.int64], cutoffs: Sequence[int]) -> dict[str, float]:
    """Coverage and Gini coefficient from (len(cutoffs), I) counts."""
    values = {}
    for row, k in zip(counts, cutoffs, strict=True):
        values[f"catalogue_coverage@{k}"] = float((row > 0).mean())
        values[f"gini@{k}"] = gini(row)
    return values


def gini(counts: NDArray[np.int64]) -> float:
    """Half the mean difference of each two counts, relative to the mean; 0 where all are 0.

    >>> gini(np.array([2, 2, 2])), gini(np.array([0, 0, 0, 8]))
    (0.0, 0.75)
    """
    n, total = len(counts), int(counts.sum())
    if total == 0:
        return 0.0
    weights = 2 * np.arange(1, n + 1) - n - 1
    return float((weights * np.sort(counts)).sum() / (n * total))
