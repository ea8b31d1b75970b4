"""Gather what the report shows from the outputs of the earlier stages."""

import csv
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from diffrec_core.common.artifacts import read_json
from diffrec_core.common.rng import generator
from diffrec_core.data.histories import Histories, concatenate
from diffrec_core.data.schema import HIT, ITEM, RANK, USER
from diffrec_core.data.splits import PARTS, read_part
from diffrec_core.data.vocabulary import read_items, read_users
from diffrec_core.report.changes import Changes
from diffrec_core.report.data import MOST_RANKS, Certainty, ModelResult, ReportData

_PART_FACTS = ("interactions", "users", "items", "new_users", "new_items", "first", "last")
_STAGES = ("ingest", "build_interactions", "split", "pretrain_item_embeddings", "cluster_items")


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportSources:
    """Outputs of stages that the report is made from.

    Attributes:
        evaluation: folder with a folder of results per model.
        curves: folder of training curves per model.
        stages: folder of the reports of the data stages.
        interactions: folder with the vocabularies.
        train: training part.
        validation: validation part.
    """

    evaluation: Path
    curves: Path
    stages: Path
    interactions: Path
    train: Path
    validation: Path


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
    sample = _sample_users(tops[leaderboard["selected"]], sample_users, seed)
    parts = _in_order(leaderboard["protocol"]["parts"])
    return ReportData(
        title="DiffRec pipeline",
        created_from={"data": f"{parts['train']['first']} to {parts['test']['last']}"},
        selected=leaderboard["selected"],
        selected_on=leaderboard["selected_on"],
        protocol={**leaderboard["protocol"], "parts": parts, "significance": _tests(leaderboard)},
        data_card=_data_card(sources.stages),
        left_out=leaderboard["left_out"],
        models=[
            _model_result(
                name,
                leaderboard,
                evaluations[name]["test"],
                curve=_curve(sources.curves / f"{name}.csv"),
                item_counts=np.bincount(tops[name][ITEM].to_numpy(), minlength=len(items)),
                top_items=_by_user(tops[name], sample),
            )
            for name in leaderboard["models"]
        ],
        item_titles=[items.title(index) for index in range(len(items))],
        item_popularity=np.bincount(train.items, minlength=len(items)),
        sample_histories={user: _items_of(histories, user) for user in sample},
        user_ids={user: users.ids[user] for user in sample},
        changes=changes,
    )


def _model_result(
    name: str, leaderboard: dict[str, Any], on_test: dict[str, Any], **shown: Any
) -> ModelResult:
    """Everything about one model: its row, what was measured on test alone, and what is `shown`."""
    row = leaderboard["models"][name]
    copied = ("validation", "test", "fit_seconds", "parameters", "peak_memory_mib", "seeds", "sd")
    return ModelResult(
        name=name,
        selected=name == leaderboard["selected"],
        certainty=_certainty(name, leaderboard),
        slices=on_test["slices"],
        popularity_groups=on_test["popularity_groups"],
        **{key: row[key] for key in copied},
        **shown,
    )


def _in_order(parts: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Parts from the earliest to the last, facts as they are read: JSON has them by name."""
    return {
        part: {key: parts[part][key] for key in _PART_FACTS if key in parts[part]} for part in PARTS
    }


def _tests(leaderboard: dict[str, Any]) -> dict[str, Any]:
    """How significance was tested, without the result."""
    return {key: value for key, value in leaderboard["significance"].items() if key != "groups"}


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


def _items_of(histories: Histories, user: int) -> list[int]:
    items: list[int] = histories.take(np.array([user])).items.tolist()
    return items


def _by_user(top_items: pl.DataFrame, sample: list[int]) -> dict[int, list[tuple[int, bool]]]:
    """Items and hits of the sampled users, best first."""
    by_user: dict[int, list[tuple[int, bool]]] = {user: [] for user in sample}
    shown = top_items.filter(pl.col(USER).is_in(sample))
    for user, item, hit in shown.select(USER, ITEM, HIT).iter_rows():
        by_user[user].append((item, hit))
    return by_user


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
