"""The leaderboard: metrics of all models and the choice of the winner."""

import csv
from collections.abc import Mapping
from io import StringIO
from typing import Any

from pydantic import Field

from diffrec_core.common.config import Config
from diffrec_core.common.errors import ConfigError, DataError
from diffrec_core.data.splits import EVALUATED_PARTS
from diffrec_core.evaluation.metrics import MetricKey, is_accuracy

_OF_FIT = ("config", "fit_seconds", "parameters", "peak_memory_mib", "epochs", "best_epoch")


class SelectConfig(Config):
    """The choice of the winner, always on validation, and tests of its significance."""

    metric: MetricKey = "recall@20"
    """An accuracy metric at one of the cutoffs of `evaluate`."""

    significance_level: float = Field(default=0.05, gt=0.0, lt=1.0)
    """Largest p-value, after Holm's correction, of a significant difference; confidence intervals
    have the level 1 - this. The winner has the best value, significant or not."""

    resamples: int = Field(default=10_000, ge=100, le=1_000_000)
    """Of the bootstrap and of the permutation test; no p-value is below 1 / (1 + resamples)."""

    sample_users: int = Field(default=12, ge=0)
    """Users whose history and recommendations the report shows."""


def build_leaderboard(
    evaluations: Mapping[str, Mapping[str, Any]],
    fits: Mapping[str, Mapping[str, Any]],
    config: SelectConfig,
) -> dict[str, Any]:
    """Combine the results and choose the winner.

    Args:
        evaluations: results of `evaluate` by model, in the order of the run; means over seeds.
        fits: reports of `train` by model.
        config: the metric to choose by.

    Returns:
        `selected`, `selected_on`, `protocol`, `models` by name, best validation first, with the
        standard deviation over the seeds of each under `sd`; and `left_out`: reasons by name.

    Raises:
        ConfigError: the metric was not measured.
        DataError: the models were not evaluated alike, or all were left out.
    """
    left_out = {name: e["left_out"] for name, e in evaluations.items() if "left_out" in e}
    measured = {name: e for name, e in evaluations.items() if name not in left_out}
    if not measured:
        raise DataError(f"every model was left out: {'; '.join(left_out.values())}")
    protocols = [evaluation["protocol"] for evaluation in measured.values()]
    if any(protocol != protocols[0] for protocol in protocols):
        raise DataError("the models were evaluated on different data or protocols: dvc repro")
    ranked = rank_models({n: e["validation"] for n, e in measured.items()}, config.metric)
    rows = {}
    for name in ranked:
        evaluation, fit = measured[name], fits[name]
        parts = {part: _metrics(evaluation[part]) for part in EVALUATED_PARTS}
        over_seeds = {key: evaluation[key] for key in ("seeds", "sd")}
        rows[name] = {**parts, **over_seeds, **{key: fit[key] for key in _OF_FIT}}
    return {
        "selected": ranked[0],
        "selected_on": f"validation {config.metric}",
        "protocol": protocols[0],
        "models": rows,
        "left_out": left_out,
    }


def rank_models(validation: Mapping[str, Mapping[str, Any]], metric: str) -> list[str]:
    """Order models by a validation metric, best first; ties keep their order.

    Raises:
        ConfigError: the metric was not measured.

    >>> rank_models({"a": {"ndcg@5": 0.1}, "b": {"ndcg@5": 0.2}}, "ndcg@5")
    ['b', 'a']
    """
    for values in validation.values():
        if metric not in values:
            known = ", ".join(sorted(filter(is_accuracy, values)))
            raise ConfigError(f"params.yaml: select.metric = {metric!r} is not among {known}")
    return sorted(validation, key=lambda name: -float(validation[name][metric]))


def leaderboard_csv(leaderboard: Mapping[str, Any]) -> str:
    """Write accuracy metrics as CSV, one line per model, part and metric, for plots."""
    text = StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("model", "part", "metric", "value"))
    writer.writerows(
        (name, part, key, value)
        for name, row in leaderboard["models"].items()
        for part in EVALUATED_PARTS
        for key, value in row[part].items()
        if is_accuracy(key)
    )
    return text.getvalue()


def _metrics(part: Mapping[str, Any]) -> dict[str, float]:
    """The numbers, without nested values: counts, slices, groups."""
    return {key: value for key, value in part.items() if isinstance(value, int | float)}
