"""Gather what the report shows from the outputs of the earlier stages."""

import csv
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from diffrec_core.common.artifacts import read_json
from diffrec_core.common.config import Config
from diffrec_core.common.rng import generator
from diffrec_core.data.histories import concatenate
from diffrec_core.data.schema import HIT, ITEM, RANK, USER
from diffrec_core.data.splits import PARTS, read_part
from diffrec_core.data.vocabulary import read_items, read_users
from diffrec_core.report.changes import Changes
from diffrec_core.report.data import MOST_RANKS, Certainty, ModelResult, ReportData

_PART_FACTS = ("interactions", "users", "items", "new_users", "new_items", "first", "last")
_ROW = ("validation", "test", "fit_seconds", "parameters", "peak_memory_mib", "seeds", "sd")
_ON_TEST = ("slices", "popularity_groups")
_STAGES = ("ingest", "build_interactions", "split", "pretrain_item_embeddings", "cluster_items")


class ReportSources(Config):
    """Outputs of stages that the report is made from."""

    evaluation: Path
    """Folder with a folder of results per model."""

    curves: Path
    """Folder with training curves per model."""

    stages: Path
    """Folder with the reports of the data stages."""

    interactions: Path
    """Folder with the vocabularies: ids and titles."""

    train: Path
    """Training part, for the histories shown."""

    validation: Path
    """Validation part, likewise."""


def report_data(
    sources: ReportSources,
    leaderboard: dict[str, Any],
    evaluations: dict[str, Any],
    *,
    changes: Changes,
    sample_users: int,
    seed: int,
) -> ReportData:
    """Build the report's input.

    Args:
        sources: what is read.
        leaderboard: of all models.
        evaluations: what `evaluate` wrote, by model.
        changes: against the run before.
        sample_users: how many users' lists are shown.
        seed: of the run.
    """
    items = read_items(sources.interactions / "items.parquet")
    users = read_users(sources.interactions / "users.parquet")
    train = read_part(sources.train)
    histories = concatenate(train, read_part(sources.validation))
    tops = {name: _top_items(sources.evaluation / name) for name in leaderboard["models"]}
    sample = _sample_users(next(iter(tops.values())), sample_users, seed)
    return ReportData(
        **_of_the_run(leaderboard),
        data_card=_data_card(sources.stages),
        models=[
            ModelResult(
                **_of_the_model(name, leaderboard),
                **{key: evaluations[name]["test"][key] for key in _ON_TEST},
                curve=_curve(sources.curves / f"{name}.csv"),
                item_counts=np.bincount(top[ITEM].to_numpy(), minlength=len(items)),
                top_items={
                    user: top.filter(pl.col(USER) == user).select(ITEM, HIT).rows()
                    for user in sample
                },
            )
            for name, top in tops.items()
        ],
        item_titles=[items.title(index) for index in range(len(items))],
        item_popularity=np.bincount(train.items, minlength=len(items)),
        sample_histories={user: histories.take(np.array([user])).items.tolist() for user in sample},
        user_ids={user: users.ids[user] for user in sample},
        changes=changes,
    )


def _of_the_run(leaderboard: dict[str, Any]) -> dict[str, Any]:
    """Facts of the whole run; parts in their order in time, as JSON sorts them by name."""
    facts, tests = leaderboard["protocol"]["parts"], leaderboard["significance"]
    parts = {part: {key: facts[part][key] for key in _PART_FACTS} for part in PARTS}
    tests = {key: value for key, value in tests.items() if key != "groups"}
    return {
        "title": "DiffRec pipeline",
        "created_from": {"data": f"{parts['train']['first']} to {parts['test']['last']}"},
        "selected_on": leaderboard["selected_on"],
        "protocol": {**leaderboard["protocol"], "parts": parts, "significance": tests},
        "left_out": leaderboard["left_out"],
    }


def _of_the_model(name: str, leaderboard: dict[str, Any]) -> dict[str, Any]:
    """A model's row of the leaderboard."""
    row = leaderboard["models"][name]
    return {
        "name": name,
        "selected": name == leaderboard["selected"],
        "certainty": _certainty(name, leaderboard),
        **{key: row[key] for key in _ROW},
    }


def _certainty(name: str, leaderboard: dict[str, Any]) -> dict[str, Certainty]:
    """How sure a model's numbers are, by part."""
    row, level = leaderboard["models"][name], leaderboard["significance"]["level"]
    return {
        part: Certainty(
            intervals={key: (low, high) for key, (low, high) in row["intervals"][part].items()},
            group=against["group"],
            place=next(
                place
                for place, group in enumerate(leaderboard["significance"]["groups"][part])
                if name in group
            ),
            p=against.get("p_holm"),
            differs=against.get("p_holm", 1.0) <= level,
        )
        for part, against in row["against_winner"].items()
    }


def _top_items(directory: Path) -> pl.DataFrame:
    frame = pl.read_parquet(directory / "top_items_test.parquet")
    return frame.filter(pl.col(RANK) <= MOST_RANKS).sort(USER, RANK)


def _sample_users(top_items: pl.DataFrame, count: int, seed: int) -> list[int]:
    users = top_items[USER].unique().sort().to_numpy()
    rng = generator(seed, "report", "sample_users")
    chosen = rng.choice(users, size=min(count, len(users)), replace=False)
    return sorted(int(user) for user in chosen)


def _curve(path: Path) -> list[dict[str, float]]:
    with path.open(encoding="utf-8", newline="") as file:
        return [
            {name: float(value) for name, value in row.items() if value}
            for row in csv.DictReader(file)
        ]


def _data_card(stages: Path) -> dict[str, dict[str, Any]]:
    """Counts of the data stages, without their timings: equal runs give equal reports."""
    reports = {name: read_json(stages / f"{name}.json") for name in _STAGES}
    timings = {"seconds", "fit_seconds", "peak_memory_mib", "rows_per_second"}
    return {
        name: {key: value for key, value in report.items() if key not in timings}
        for name, report in reports.items()
    }
