"""What a back-test found: policies, freshness and cost, as JSON, CSV and text."""

import logging
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import numpy as np

from diffrec_core.common.errors import DataError
from diffrec_core.contest.config import ContestConfig
from diffrec_core.contest.evidence import Floats, Indices
from diffrec_core.contest.hindsight import (
    best_fixed,
    change_and_error,
    judge,
    leader,
    never,
    newest_winner,
    oracle,
)
from diffrec_core.contest.night import Night
from pipeline_steps.runtime.outputs import write_csv
from pipeline_steps.studies.backtest_nights import Record

log = logging.getLogger("pipeline")

_NIGHTS_OF_LEADER: Final = {"day": 28, "week": 4}
CONTEST: Final = "contest"


def results_of(
    names: Sequence[str],
    records: Sequence[Record],
    ledger: Sequence[Night],
    config: ContestConfig,
    *,
    period: str,
) -> dict[str, Any]:
    """All results; nights on which nobody with a history came are left out.

    Args:
        names: of the recipes; the first one is champion at first.
        records: of the nights.
        ledger: the same as the contest kept them.
        config: of the contest.
        period: of a night, day or week.

    Raises:
        DataError: nobody came in any night.
    """
    pairs = [(r, n) for r, n in zip(records, ledger, strict=True) if r.users]
    if not pairs:
        raise DataError(
            f"nobody with a history came in any of the {len(records)} nights: ask for a longer "
            f"--period or fewer --nights, or lower build_interactions.min_user_interactions"
        )
    counted = [record for record, _ in pairs]
    values = np.array([[record.metrics[name] for name in names] for record in counted])
    by_id = {one.recipe: names.index(one.name) for one in ledger[0].contestants}
    serving = np.array([by_id[night.champion] for _, night in pairs], dtype=np.int64)
    served = judge(values, _policies(values, serving, _NIGHTS_OF_LEADER[period]))
    return {
        "metric": config.metric,
        "period": period,
        "nights": len(counted),
        "left_out": [str(record.night) for record in records if not record.users],
        "users": int(np.median([record.users for record in counted])),
        "unknown_share": float(np.mean([record.unknown_share for record in counted])),
        "recipes": {
            name: _of_recipe(counted, name, values[:, at]) for at, name in enumerate(names)
        },
        "policies": {name: asdict(one) for name, one in served.items()},
        "champions": [names[at] for at in serving],
    }


def _policies(values: Floats, contest: Indices, nights_of_leader: int) -> dict[str, Indices]:
    """Who serves each night, (T,), by policy."""
    return {
        "best of each night": oracle(values),
        "best recipe, known in advance": best_fixed(values),
        CONTEST: contest,
        "never switch": never(values, 0),
        "winner of the night before": newest_winner(values, 0),
        "leader by 1 % of four weeks": leader(values, 0, nights=nights_of_leader),
    }


def _of_recipe(records: Sequence[Record], name: str, values: Floats) -> dict[str, Any]:
    return {
        "mean": float(values.mean()),
        "seconds": float(np.mean([record.seconds[name] for record in records])),
        "older": _older(records, name),
    }


def _older(records: Sequence[Record], name: str) -> dict[str, Any]:
    """By age in days: change of the metric against fresh weights, a share of it, with its error."""
    ages = sorted({age for record in records for age in record.aged[name]})
    older = {}
    for age in ages:
        both = [(r.metrics[name], r.aged[name][age]) for r in records if age in r.aged[name]]
        fresh = float(np.mean([new for new, _ in both]))
        if not fresh:
            continue
        change, error = change_and_error([(old - new) / fresh for new, old in both])
        older[str(age)] = {"change": change, "error": error, "nights": len(both)}
    return older


def write_nights(path: Path, records: Iterable[Record]) -> None:
    """Write a row for each night and recipe."""
    columns = ["night", "recipe", "users", "value", "seconds", "unknown_share"]
    rows = (
        {
            "night": str(record.night),
            "recipe": name,
            "users": record.users,
            "value": value,
            "seconds": record.seconds[name],
            "unknown_share": record.unknown_share,
        }
        for record in records
        for name, value in record.metrics.items()
    )
    write_csv(path, columns, rows)


def log_results(results: dict[str, Any]) -> None:
    """Log the tables."""
    log.info(
        "%(nights)d nights of a %(period)s, %(users)d users in the median, %(metric)s", results
    )
    for name, one in sorted(results["recipes"].items(), key=lambda item: -item[1]["mean"]):
        older = "".join(
            f", {age} days older {of['change']:+.1%}"
            + (f" ± {of['error']:.1%}" if of["error"] is not None else "")
            for age, of in one["older"].items()
        )
        log.info("recipe %-20s %.4f, %.1f s a fit%s", name, one["mean"], one["seconds"], older)
    for name, one in results["policies"].items():
        log.info(
            "%-30s %.4f, regret %.2f %%, %d switches",
            *(name, one["mean"], 100 * one["regret"], one["switches"]),
        )
