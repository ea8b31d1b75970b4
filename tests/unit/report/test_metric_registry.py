"""A metric is one registered function: everything that shows metrics follows from the registry."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from diffrec_core.contest.config import GateConfig
from diffrec_core.data.histories import Histories
from diffrec_core.evaluation.beyond_accuracy import CATALOGUE, LISTS, Lists
from diffrec_core.evaluation.comparison import with_significance
from diffrec_core.evaluation.evaluator import Evaluation, EvaluationConfig, evaluate_task
from diffrec_core.evaluation.items import ItemFacts, PopularityGroupsConfig
from diffrec_core.evaluation.leaderboard import (
    SelectConfig,
    build_leaderboard,
    leaderboard_csv,
)
from diffrec_core.evaluation.metrics import (
    ACCURACY,
    Counts,
    Hits,
    MetricRegistry,
    Values,
    is_accuracy,
)
from diffrec_core.evaluation.ranking import RankingTask
from diffrec_core.report.tables import beyond_table, detail_tables, main_table
from scripts import metric_tables
from tests.unit.report.runs import make_model

FIT = dict.fromkeys(
    ("config", "fit_seconds", "parameters", "peak_memory_mib", "epochs", "best_epoch"), 1
)


def last_rank(hit: Hits, n_targets: Counts) -> Values:
    """1 with a hit at rank k, else 0."""
    return hit[:, -1].astype(np.float64)


def first_item(lists: Lists) -> Values:
    """Index of the first item."""
    return lists.items[:, 0].astype(np.float64)


def most_often(counts: Counts) -> float:
    """Lists that hold the item that most of them hold."""
    return float(counts.max())


@pytest.fixture(autouse=True)
def _throw_away() -> Iterator[None]:
    """Register a metric of each kind for one test."""
    kinds: list[tuple[MetricRegistry[Any], Callable[..., Any]]] = [
        (ACCURACY, last_rank),
        (LISTS, first_item),
        (CATALOGUE, most_often),
    ]
    for registry, function in kinds:
        registry.register(function)
    yield
    for registry, function in kinds:
        del registry[function.__name__]


@pytest.fixture
def evaluation() -> Evaluation:
    """Two users who are recommended 3, 2, 1, 0; one wants 2, the other 3."""
    histories, targets = Histories.from_lists([[0], [1]]), Histories.from_lists([[2], [3]])
    items = ItemFacts.from_training(histories, 4, PopularityGroupsConfig())
    return evaluate_task(
        lambda batch: torch.arange(4.0).repeat(len(batch), 1),
        RankingTask("test", histories, targets),
        EvaluationConfig(cutoffs=(1, 2)),
        items=items,
    )


@pytest.fixture
def leaderboard(evaluation: Evaluation) -> dict[str, Any]:
    """`ease` alone, chosen by the metric."""
    config = SelectConfig(metric="last_rank@2", resamples=100)
    parts = dict.fromkeys(("validation", "test"), evaluation.summary)
    evaluations = {"ease": {"protocol": {}, "seeds": 1, "sd": {p: {} for p in parts}, **parts}}
    board = build_leaderboard(evaluations, {"ease": FIT}, config)
    per_user = {part: {"ease": evaluation.per_user} for part in parts}
    return with_significance(board, per_user, config, seed=1)


def test_a_metric_has_a_name_of_its_own_and_a_definition() -> None:
    with pytest.raises(ValueError, match="last_rank is registered twice"):
        ACCURACY.register(last_rank)
    with pytest.raises(ValueError, match="needs a docstring: its definition"):
        ACCURACY.register(lambda hit, n_targets: hit[:, 0] / n_targets)


@pytest.mark.parametrize(
    ("key", "valid"),
    [
        *(("recall@20", True), ("last_rank@1", True)),
        *((key, False) for key in ("recall", "recall@", "recall@0", "recall@07", "recall@-1")),
        *((key, False) for key in ("recall@٢", "recall@²", "gini@20", "users", "")),
    ],
)
def test_keys_of_accuracy_metrics(key: str, valid: bool) -> None:
    assert is_accuracy(key) == valid


def test_it_is_measured_and_kept_for_every_user(evaluation: Evaluation) -> None:
    assert evaluation.per_user["last_rank@1"].to_list() == [0, 1]
    assert evaluation.per_user["last_rank@2"].to_list() == [1, 0]
    assert evaluation.metrics["last_rank@2"] == 0.5
    assert evaluation.metrics["first_item@2"] == 3
    assert evaluation.metrics["most_often@1"] == 2


def test_it_chooses_the_winner_and_stands_in_leaderboard_and_csv(
    leaderboard: dict[str, Any],
) -> None:
    assert leaderboard["selected_on"] == "validation last_rank@2"
    row = leaderboard["models"]["ease"]
    assert row["test"]["last_rank@2"] == 0.5
    assert row["test"]["most_often@2"] == 2
    assert set(row["intervals"]["test"]) >= {"last_rank@1", "last_rank@2"}
    assert "ease,test,last_rank@2,0.5" in leaderboard_csv(leaderboard).splitlines()
    assert "first_item" not in leaderboard_csv(leaderboard)


def test_it_is_reported_with_its_definition(changed: Any) -> None:
    values = {"last_rank@20": 0.25, "first_item@20": 7.0, "most_often@20": 9.0}
    models = [make_model("ease", 0.2, selected=True), make_model("popularity", 0.1)]
    for model in models:
        model.validation.update(values)
        model.test.update(values)
    run = changed(models=models, selected_on="validation last_rank@20")
    for table in (main_table(run), dict(detail_tables(run))[20]):
        (column,) = [
            c for c in table.columns if (c.group, c.heading) == ("Test, 43 users", "last_rank@20")
        ]
        assert column.definition == "1 with a hit at rank k, else 0."
        cell = table.rows[1][1][table.columns.index(column)]
        assert (cell.value, cell.text) == (0.25, "0.2500")
    beyond = beyond_table(models, 20)
    assert beyond is not None
    assert {c.heading: c.definition for c in beyond.columns} == {
        "most often": "Lists that hold the item that most of them hold.",
        "first item": "Index of the first item.",
    }


def test_sections_of_params_accept_it() -> None:
    assert GateConfig(metric="last_rank@7").metric_name == "last_rank"
    with pytest.raises(ValidationError, match=r"must be one of recall, .*, last_rank, with @"):
        SelectConfig(metric="lost_rank@7")


def test_the_document_would_have_it() -> None:
    text = metric_tables.with_tables("<!-- metrics: accuracy -->\n<!-- /metrics -->")
    assert "| last_rank@k | 1 with a hit at rank k, else 0. |" in text
