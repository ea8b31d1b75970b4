"""Significance of the leaderboard: intervals, p-values against the winner, groups.

The winner is chosen on validation; each part is then compared by itself. Every metric of every
model has a bootstrap interval. By the metric of the choice, every model is compared with the
winner, and models without significant differences form a group.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from diffrec_core.data.schema import USER
from diffrec_core.evaluation.per_user import side_by_side
from diffrec_core.evaluation.significance import (
    Floats,
    SeedSpread,
    bootstrap_means,
    difference_p_values,
    group_models,
    holm,
    interval,
)

Tables = Mapping[str, pl.DataFrame]
"""Per-user values of one part, by model."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Resampling:
    """Settings of the tests.

    Attributes:
        level: largest p-value, after Holm's correction, that is significant; intervals hold
            1 - level.
        resamples: of the bootstrap and of the permutation test.
        seed: of both.
    """

    level: float
    resamples: int
    seed: int


@dataclass(frozen=True, slots=True)
class PartComparison:
    """The comparison on one part of the data.

    Attributes:
        intervals: model → metric → lower and upper end.
        against_winner: model → `difference` of the metric of the choice to the winner's, its
            `difference_interval` over users, `p_users` and `p_seeds`, `p`, which is the larger,
            and `p_holm`, and its `group`, a letter; of the winner itself the group alone.
            `p_seeds` is None where neither model has a spread over seeds.
        groups: names of the models of each group, the best first.
    """

    intervals: dict[str, dict[str, list[float]]]
    against_winner: dict[str, dict[str, Any]]
    groups: list[list[str]]


def compare_models(
    tables: Tables,
    spreads: Mapping[str, SeedSpread],
    winner: str,
    metric: str,
    resampling: Resampling,
) -> PartComparison:
    """Compare models on one part of the data.

    Args:
        tables: per-user values of each model, of the same users.
        spreads: of the metric over each model's seeds.
        winner: the model chosen on validation.
        metric: the metric of that choice.
        resampling: settings of the tests.

    Raises:
        DataError: the models were measured on different users or by different metrics.
    """
    names = list(tables)
    groups = group_models(
        side_by_side(tables, metric),
        [spreads[name] for name in names],
        level=resampling.level,
        resamples=resampling.resamples,
        seed=resampling.seed,
    )
    named = [[names[column] for column in group] for group in groups]
    intervals, resampled = _intervals(tables, metric, resampling)
    return PartComparison(
        intervals,
        _against_winner(
            tables,
            spreads,
            winner,
            metric,
            resampled=resampled,
            groups=named,
            resampling=resampling,
        ),
        named,
    )


def _intervals(
    tables: Tables, chosen: str, resampling: Resampling
) -> tuple[dict[str, dict[str, list[float]]], Floats]:
    """Intervals of every metric of every model, and resampled means of the metric of the choice.

    All are from the same draws, which take longer than the means.
    """
    metrics, names = _metrics_of(tables), list(tables)
    values = np.hstack([side_by_side(tables, metric) for metric in metrics])
    means = bootstrap_means(values, resamples=resampling.resamples, seed=resampling.seed)
    ends = interval(means, resampling.level).T.reshape(len(metrics), len(names), 2)
    intervals = {
        name: {metric: ends[row, column].tolist() for row, metric in enumerate(metrics)}
        for column, name in enumerate(names)
    }
    first = metrics.index(chosen) * len(names)
    return intervals, means[:, first : first + len(names)]


def _metrics_of(tables: Tables) -> list[str]:
    return [column for column in next(iter(tables.values())).columns if column != USER]


def _against_winner(
    tables: Tables,
    spreads: Mapping[str, SeedSpread],
    winner: str,
    metric: str,
    *,
    resampled: Floats,
    groups: Sequence[Sequence[str]],
    resampling: Resampling,
) -> dict[str, dict[str, Any]]:
    """Compare every model with the winner."""
    names = list(tables)
    values, own = side_by_side(tables, metric), names.index(winner)
    others = [column for column in range(len(names)) if column != own]
    of_users, of_seeds = difference_p_values(
        values,
        own,
        others,
        [spreads[name] for name in names],
        resamples=resampling.resamples,
        seed=resampling.seed,
    )
    p_values = np.maximum(of_users, of_seeds)
    ends = interval(resampled[:, others] - resampled[:, [own]], resampling.level)
    letters = {name: letter(place) for place, group in enumerate(groups) for name in group}
    rows: dict[str, dict[str, Any]] = {winner: {"group": letters[winner]}}
    for place, adjusted in enumerate(holm(p_values)):
        name = names[others[place]]
        rows[name] = {
            "difference": float((values[:, others[place]] - values[:, own]).mean()),
            "difference_interval": ends[:, place].tolist(),
            "p_users": float(of_users[place]),
            "p_seeds": float(of_seeds[place]) if spreads[name].sd or spreads[winner].sd else None,
            "p": float(p_values[place]),
            "p_holm": float(adjusted),
            "group": letters[name],
        }
    return rows


def letter(position: int) -> str:
    """Name of a group by its position.

    >>> [letter(position) for position in (0, 25, 26, 52)]
    ['A', 'Z', 'A2', 'A3']
    """
    round_, index = divmod(position, 26)
    return chr(ord("A") + index) + (str(round_ + 1) if round_ else "")
