"""The leaderboard: every model's numbers side by side, and the choice of the winner."""

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import Field

from diffrec_core.config import Config
from diffrec_core.errors import ConfigError, DataError


class SelectConfig(Config):
    """How the winner is chosen; always on the validation part."""

    metric: str = Field(default="recall@20", pattern=r"^(recall|precision|ndcg|mrr|hit_rate)@\d+$")
    """One of the metrics that `evaluate` measures."""

    sample_users: int = Field(default=12, ge=0)
    """Users whose history and recommendations the report shows."""


def build_leaderboard(
    names: Sequence[str],
    evaluations: Mapping[str, Mapping[str, Any]],
    fits: Mapping[str, Mapping[str, Any]],
    config: SelectConfig,
) -> dict[str, Any]:
    """Put the results together and choose.

    Args:
        names: the models of the run, in order.
        evaluations: what `evaluate` measured, by model.
        fits: what `train` reported, by model.
        config: the metric to choose by.

    Returns:
        `selected`, `selected_on`, `protocol`, and `models` by name, best validation first.

    Raises:
        ConfigError: the metric was not measured.
        DataError: the models were not evaluated alike.
    """
    protocols = [evaluations[name]["protocol"] for name in names]
    if any(protocol != protocols[0] for protocol in protocols):
        raise DataError("the models were evaluated on different data or protocols: dvc repro")
    ranked = rank_models(names, {n: evaluations[n]["validation"] for n in names}, config.metric)
    rows = {}
    for name in ranked:
        keys = ("config", "fit_seconds", "parameters", "peak_memory_mib", "epochs", "best_epoch")
        parts = {part: _metrics(evaluations[name][part]) for part in ("validation", "test")}
        rows[name] = {**parts, **{key: fits[name][key] for key in keys}}
    return {
        "selected": ranked[0],
        "selected_on": f"validation {config.metric}",
        "protocol": protocols[0],
        "models": rows,
    }


def rank_models(
    names: Sequence[str], validation: Mapping[str, Mapping[str, Any]], metric: str
) -> list[str]:
    """Order models by a validation metric, best first; ties keep the order of `names`.

    >>> rank_models(["a", "b"], {"a": {"ndcg@5": 0.1}, "b": {"ndcg@5": 0.2}}, "ndcg@5")
    ['b', 'a']
    """
    for name in names:
        if metric not in validation[name]:
            known = ", ".join(sorted(key for key in validation[name] if "@" in key))
            raise ConfigError(f"params.yaml: select.metric = {metric!r} is not among {known}")
    return sorted(names, key=lambda name: -float(validation[name][metric]))


def leaderboard_csv(leaderboard: Mapping[str, Any]) -> str:
    """Write metrics as CSV, one line per model, part and metric, for plots."""
    lines = ["model,part,metric,value"]
    for name, row in leaderboard["models"].items():
        for part in ("validation", "test"):
            for metric, value in row[part].items():
                if "@" in metric:
                    lines.append(f"{name},{part},{metric},{value}")
    return "\n".join(lines) + "\n"


def _metrics(part: Mapping[str, Any]) -> dict[str, float]:
    return {key: value for key, value in part.items() if key != "coverage"}
