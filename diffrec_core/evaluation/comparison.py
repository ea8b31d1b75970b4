"""Significance of the leaderboard: intervals, p-values against the winner, groups.

The winner is chosen on validation; each part is then compared by itself. Every metric of every
model has a bootstrap interval. By the metric of the choice, every model is compared with the
winner, and models without significant differences form a group.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from diffrec_core.data.schema import USER
from diffrec_core.evaluation.leaderboard import SelectConfig
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
"""Per-user values of one part, by model (`evaluation.per_user`)."""


class PartComparison(NamedTuple):
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


def with_significance(
    leaderboard: Mapping[str, Any],
    per_user: Mapping[str, Tables],
    config: SelectConfig,
    *,
    seed: int,
) -> dict[str, Any]:
    """Add intervals and significance tests on both parts to a leaderboard.

    Args:
        leaderboard: from `build_leaderboard`.
        per_user: per-user values by part.
        config: the metric, the level and the number of resamples.
        seed: of the resamples.

    Returns:
        The leaderboard with `significance`, which names the tests and the groups on each part;
        its models have `intervals` and `against_winner` (see `PartComparison`), by part.

    Raises:
        DataError: the models were measured on different users.
    """
    models: Mapping[str, Mapping[str, Any]] = leaderboard["models"]
    rows = {n: {**row, "intervals": {}, "against_winner": {}} for n, row in models.items()}
    groups = {}
    for part, tables in per_user.items():
        ranked = {name: tables[name] for name in rows}
        spreads = {
            name: SeedSpread(row["sd"][part].get(config.metric, 0.0), row["seeds"])
            for name, row in rows.items()
        }
        compared = compare_models(ranked, spreads, leaderboard["selected"], config, seed=seed)
        groups[part] = compared.groups
        for name, row in rows.items():
            row["intervals"][part] = compared.intervals[name]
            row["against_winner"][part] = compared.against_winner[name]
    significance = {
        "metric": config.metric,
        "level": config.significance_level,
        "resamples": config.resamples,
        "intervals": "bootstrap over users, percentiles",
        "test": "paired sign-flip permutation over users and Welch's t over seeds, two-sided, the "
        "larger p; Holm's correction over models",
        "groups": groups,
    }
    return {**leaderboard, "significance": significance, "models": rows}


def compare_models(
    tables: Tables,
    spreads: Mapping[str, SeedSpread],
    winner: str,
    config: SelectConfig,
    *,
    seed: int,
) -> PartComparison:
    """Compare models on one part of the data.

    Args:
        tables: of the same users.
        spreads: of the metric over each model's seeds.
        winner: the model chosen on validation.
        config: the metric of that choice, the level and the number of resamples.
        seed: of the resamples.

    Raises:
        DataError: the models were measured on different users or by different metrics.
    """
    names, resamples = list(tables), config.resamples
    values, over_seeds = side_by_side(tables, config.metric), [spreads[name] for name in names]
    columns = group_models(
        values, over_seeds, level=config.significance_level, resamples=resamples, seed=seed
    )
    groups = [[names[column] for column in group] for group in columns]
    intervals, resampled = _intervals(tables, config, seed)
    own = names.index(winner)
    others = [column for column in range(len(names)) if column != own]
    p_values = difference_p_values(values, own, others, over_seeds, resamples=resamples, seed=seed)
    p = np.maximum(*p_values)
    ends = interval(resampled[:, others] - resampled[:, [own]], config.significance_level)
    rows: dict[str, dict[str, Any]] = {winner: {}}
    for place, (column, p_users, p_seeds) in enumerate(zip(others, *p_values, strict=True)):
        has_spread = over_seeds[column].sd or over_seeds[own].sd
        rows[names[column]] = {
            "difference": float((values[:, column] - values[:, own]).mean()),
            "difference_interval": ends[:, place].tolist(),
            "p_users": float(p_users),
            "p_seeds": float(p_seeds) if has_spread else None,
            "p": float(p[place]),
            "p_holm": float(holm(p)[place]),
        }
    for place, group in enumerate(groups):
        for name in group:
            rows[name]["group"] = letter(place)
    return PartComparison(intervals, rows, groups)


def _intervals(
    tables: Tables, config: SelectConfig, seed: int
) -> tuple[dict[str, dict[str, list[float]]], Floats]:
    """Intervals of every metric of every model, and resampled means of the metric of the choice.

    All are from the same draws, which take longer than the means.
    """
    names = list(tables)
    metrics = [column for column in tables[names[0]].columns if column != USER]
    values = np.hstack([side_by_side(tables, metric) for metric in metrics])
    means = bootstrap_means(values, resamples=config.resamples, seed=seed)
    ends = interval(means, config.significance_level).T.reshape(len(metrics), len(names), 2)
    intervals = {
        name: {metric: ends[row, column].tolist() for row, metric in enumerate(metrics)}
        for column, name in enumerate(names)
    }
    first = metrics.index(config.metric) * len(names)
    return intervals, means[:, first : first + len(names)]


def letter(position: int) -> str:
    """Name of a group by its position.

    >>> [letter(position) for position in (0, 25, 26, 52)]
    ['A', 'Z', 'A2', 'A3']
    """
    round_, index = divmod(position, 26)
    return chr(ord("A") + index) + (str(round_ + 1) if round_ else "")
