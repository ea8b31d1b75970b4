"""Mean and sample standard deviation of results over a model's training seeds.

Per-user values are means over the seeds, too, so that tests over users compare models, not draws.
"""

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl

from diffrec_core.common.errors import DataError
from diffrec_core.data.schema import USER


def mean_of(values: Sequence[Any]) -> Any:
    """Average values of the same structure: numbers, nested ones too; all else must be equal.

    >>> mean_of([{"map@5": 0.1, "bins": [{"users": 3}]}, {"map@5": 0.3, "bins": [{"users": 3}]}])
    {'map@5': 0.2, 'bins': [{'users': 3}]}

    Raises:
        DataError: they differ in structure.
    """
    first = values[0]
    if all(value == first for value in values):
        return first  # counts stay whole numbers
    if isinstance(first, Mapping):
        return {key: mean_of([value[key] for value in values]) for key in _shared(values)}
    if isinstance(first, list) and len({len(value) for value in values}) == 1:
        return [mean_of(column) for column in zip(*values, strict=True)]
    if isinstance(first, int | float):
        return statistics.fmean(values)
    raise DataError(f"the seeds of one model were evaluated differently: {values}")


def spread_of(summaries: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Sample standard deviation over the seeds of every top-level number; empty for one seed.

    >>> spread_of([{"recall@20": 0.1, "slices": []}, {"recall@20": 0.3, "slices": []}])
    {'recall@20': 0.1414213562373095}
    """
    if len(summaries) < 2:
        return {}
    return {
        key: statistics.stdev(float(summary[key]) for summary in summaries)
        for key in _shared(summaries)
        if isinstance(summaries[0][key], int | float)
    }


def mean_per_user(frames: Sequence[pl.DataFrame]) -> pl.DataFrame:
    """Average per-user values (`evaluation.per_user`) of the same users over the seeds."""
    if len(frames) == 1:
        return frames[0]
    metrics = [column for column in frames[0].columns if column != USER]
    values = np.mean([frame.select(metrics).to_numpy() for frame in frames], axis=0)
    return frames[0].select(USER).hstack(pl.DataFrame(values, schema=metrics))


def _shared(mappings: Sequence[Mapping[str, Any]]) -> list[str]:
    """Keys of all: a metric is absent from a seed without any value."""
    return [key for key in mappings[0] if all(key in mapping for mapping in mappings)]
