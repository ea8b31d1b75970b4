"""Replay the log night by night: what each recipe, and each way to choose one, would have served.

Every night all recipes are fitted on everything before it and scored on its events, which decide
who is champion of the next one. Models that are trained in epochs train as many as a fit before the
first night did, which a validation part stopped. Finished nights are kept: a killed run goes on.

  make backtest NIGHTS=26 EVERY=week MODELS="ease t_ease diffrec"
  python -m pipeline_steps backtest --nights 90 --period day

Writes nights.jsonl, the ledger of the nights, nights.csv, a row for each night and recipe, and
results.json: policies with their regret against the best of each night, and what old weights cost.
"""

import logging
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Literal

import polars as pl

from diffrec_core.common.artifacts import read_manifest, sha256_json, write_json, write_text
from diffrec_core.common.errors import ConfigError, DataError
from diffrec_core.contest.ledger import line_of
from diffrec_core.data.schema import EVENTS_SCHEMA, TIMESTAMP
from pipeline_steps.params.root import Params
from pipeline_steps.runtime.command import Inputs, Report
from pipeline_steps.runtime.progress import progress
from pipeline_steps.studies.backtest_nights import Backtest, Recipe, recipes_of
from pipeline_steps.studies.backtest_results import log_results, results_of, write_nights

log = logging.getLogger("pipeline")

_DAYS = {"day": 1, "week": 7}


class BacktestInputs(Inputs):
    """The log, the nights, the recipes and the outputs."""

    events: Path = Path("data/events")
    """Folder of events."""

    nights: int = 26
    """How many, the last of the log."""

    period: Literal["day", "week"] = "week"
    """Length of a night."""

    models: tuple[str, ...] = ()
    """Entries under `train`; by default those of `models`. The first one is champion at first."""

    out: Path = Path("reports/backtest")
    """Folder to write."""

    work: Path = Path(".backtest")
    """Finished nights and the weights of the last ones, for a run that goes on."""


def run(inputs: BacktestInputs, params: Params) -> Report:
    """Replay the nights, and write what they say.

    Raises:
        ConfigError: a model is not under `train`, or there are no nights to replay.
        DataError: the log is too short.
    """
    read_manifest(inputs.events, EVENTS_SCHEMA)
    events = pl.scan_parquet(inputs.events / "**/*.parquet", hive_partitioning=False)
    starts = _starts(events, inputs)
    length = timedelta(days=_DAYS[inputs.period])
    recipes = recipes_of(inputs.models or tuple(params.models), params)
    work = inputs.work / _key(inputs, params, recipes, starts)[:16]
    backtest = Backtest(params, recipes, inputs.events, work=work, length=length)
    with progress("backtest", len(starts)) as advance:
        for number, start in enumerate(starts, 1):
            record = backtest.night(start)
            leader = max(record.metrics, key=lambda name: record.metrics[name])
            advance(number, f"{start:%Y-%m-%d}: {record.users} users, {leader} leads")
    ledger = backtest.ledger()
    names = [recipe.name for recipe in recipes]
    results = results_of(names, backtest.records, ledger, params.contest, period=inputs.period)
    write_text(inputs.out / "nights.jsonl", "".join(map(line_of, ledger)))
    write_nights(inputs.out / "nights.csv", backtest.records)
    write_json(inputs.out / "results.json", results)
    log_results(results)
    return {"nights": len(starts), "recipes": len(recipes)}


def _starts(events: pl.LazyFrame, inputs: BacktestInputs) -> list[datetime]:
    """Midnights at which the nights begin, oldest first; the last one has the last event."""
    first, last = (
        events.select(pl.col(TIMESTAMP).min().alias("a"), pl.col(TIMESTAMP).max().alias("b"))
        .collect()
        .row(0)
    )
    days = _DAYS[inputs.period]
    end = last.replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=1)
    starts = [end - timedelta(days=days * back) for back in range(inputs.nights, 0, -1)]
    if inputs.nights < 1:
        raise ConfigError(f"--nights {inputs.nights}: at least 1 is needed")
    if starts[0] <= first + timedelta(days=days):
        raise DataError(
            f"{inputs.nights} nights of a {inputs.period} need events before {starts[0]:%Y-%m-%d}, "
            f"but the log begins on {first:%Y-%m-%d}: ask for fewer --nights"
        )
    return starts


def _key(
    inputs: BacktestInputs, params: Params, recipes: tuple[Recipe, ...], starts: list[datetime]
) -> str:
    """Hash of all that the nights are a function of, but for how many there are."""
    sections: dict[str, Any] = {
        name: getattr(params, name).model_dump(mode="json")
        for name in ("build_interactions", "split", "pretrain_item_embeddings", "cluster_items")
    }
    manifest = read_manifest(inputs.events, EVENTS_SCHEMA)
    parts = [recipe.id for recipe in recipes], sections, manifest["files"], params.contest.metric
    return sha256_json([*parts, inputs.period, f"{starts[0]:%Y-%m-%d}"])
