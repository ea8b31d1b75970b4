"""Slices: accuracy by groups of users and of target items.

    history                 warm users, who have a history, and new ones, who have none
    history_length          warm users by the number of items: quantile bins
    days_since_last_action  warm users by the days from their last interaction to the last of all:
                            quantile bins
    target_popularity       targets that are head, torso, tail: recall and NDCG as if the user had
                            no other targets, over the users that have such targets

The histories are the input of the model: train for validation, train and validation for test.
Quantile bins hold about as many users each; equal values are in one bin, so that there may be fewer
bins, of unequal size.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diffrec_core.data.histories import Histories
from diffrec_core.data.schema import MICROSECONDS_PER_DAY
from diffrec_core.evaluation.items import GROUPS, ItemFacts
from diffrec_core.evaluation.metrics import HEADLINE, PerUser, per_user_metrics

Slice = dict[str, Any]
"""`slice`, its name; `users`; each metric; for bins `from` and `to`, both inclusive."""


def user_slices(
    histories: Histories, users: NDArray[np.int64], per_user: PerUser, bins: int
) -> dict[str, list[Slice]]:
    """Average the metrics over slices of users.

    Args:
        histories: of all users.
        users: (U,) rows of the users that are averaged over.
        per_user: (U,) for each metric.
        bins: most quantile bins.
    """
    lengths = histories.lengths[users]
    warm = lengths > 0
    days = days_since_last_action(histories, users[warm])
    of_warm = {name: values[warm] for name, values in per_user.items()}
    state = {"warm": warm, "new": ~warm}
    return {
        "history_length": _binned(lengths[warm], of_warm, bins, "{:.0f}"),
        "days_since_last_action": _binned(days, of_warm, bins, "{:.1f}"),
        "history": [
            {"slice": name, **_means(per_user, mask)} for name, mask in state.items() if mask.any()
        ],
    }


def days_since_last_action(histories: Histories, users: NDArray[np.int64]) -> NDArray[np.float64]:
    """(U,) days from the last interaction of warm users to the last one of all."""
    last = histories.timestamps[histories.offsets[users + 1] - 1]
    days: NDArray[np.float64] = (histories.timestamps.max(initial=0) - last) / MICROSECONDS_PER_DAY
    return days


def _binned(values: NDArray[np.generic], per_user: PerUser, bins: int, write: str) -> list[Slice]:
    return [
        {
            "slice": " to ".join(dict.fromkeys(write.format(end) for end in (low, high))),
            "from": low,
            "to": high,
            **_means(per_user, mask),
        }
        for mask in quantile_bins(values, bins)
        for low, high in [(float(values[mask].min()), float(values[mask].max()))]
    ]


def quantile_bins(values: NDArray[np.generic], bins: int) -> list[NDArray[np.bool_]]:
    """Divide values into at most `bins` bins of about the same size, ascending.

    >>> [mask.tolist() for mask in quantile_bins(np.array([5, 1, 1, 9]), 2)]
    [[False, True, True, False], [True, False, False, True]]
    """
    if len(values) == 0:
        return []
    shares, numbers = np.arange(1, bins + 1) / bins, values.astype(np.float64)
    ends = np.quantile(numbers, shares, method="inverted_cdf")
    number = np.searchsorted(np.unique(ends), values, side="left")
    return [number == bin_ for bin_ in range(int(number.max()) + 1)]


def on_groups(
    top_items: NDArray[np.integer],
    hit: NDArray[np.bool_],
    targets: Histories,
    items: ItemFacts,
    cutoffs: Sequence[int],
) -> dict[str, PerUser]:
    """Metrics with the targets of one popularity group only, by group.

    Args:
        top_items: (U, K), best first.
        hit: (U, K) which of them are targets.
        targets: U rows.
        items: the group of each item.
        cutoffs: the k of each metric.

    Returns:
        (U,) for each metric of each group; NaN for users without such a target.
    """
    measured = {}
    for number, name in enumerate(GROUPS):
        of_group = items.group == number
        n_targets = np.bincount(targets.rows[of_group[targets.items]], minlength=len(targets))
        own_hit = hit & of_group[top_items]  # NO_ITEM, -1, reads the last item, but is no hit
        values = per_user_metrics(own_hit, np.maximum(n_targets, 1), cutoffs, HEADLINE)
        measured[name] = {key: np.where(n_targets > 0, v, np.nan) for key, v in values.items()}
    return measured


def group_slices(measured: Mapping[str, PerUser]) -> list[Slice]:
    """Average the values of `on_groups` over the users that have targets of each group."""
    slices = []
    for name, per_user in measured.items():
        has_target = ~np.isnan(next(iter(per_user.values())))
        if has_target.any():
            slices.append({"slice": name, **_means(per_user, has_target)})
    return slices


def _means(per_user: PerUser, mask: NDArray[np.bool_]) -> dict[str, float]:
    means = {
        key: float(values[mask].mean())
        for key, values in per_user.items()
        if key.partition("@")[0] in HEADLINE
    }
    return {"users": float(mask.sum()), **means}
