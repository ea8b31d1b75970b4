"""The report's inputs are refused where they do not fit together."""

from dataclasses import replace

import numpy as np
import pytest

from diffrec_core.common.errors import DataError
from diffrec_core.report.data import ReportData


def with_model(data: ReportData, index: int, **changes: object) -> list[object]:
    models = list(data.models)
    models[index] = replace(models[index], **changes)
    return models


def test_models_are_ranked_by_the_metric_of_the_choice(data, changed):
    assert [model.name for model in data.ranked] == ["ease", "lightgcn", "popularity"]
    worse = {**data.models[1].test, "ndcg@10": 0.0}
    by_test = changed(selected_on="test ndcg@10", models=with_model(data, 1, test=worse))
    assert [model.name for model in by_test.ranked] == ["ease", "popularity", "lightgcn"]


def test_the_winner_stands_first_even_if_another_has_more(data, changed):
    better = {**data.models[0].validation, "recall@20": 0.9}
    ranked = changed(models=with_model(data, 0, validation=better)).ranked
    assert [model.name for model in ranked] == ["ease", "popularity", "lightgcn"]


def test_cutoff_is_20_or_that_of_the_choice(data, changed):
    assert (data.cutoffs, data.cutoff) == ([10, 20, 50], 20)
    models = [
        replace(
            model,
            **{
                part: {k: v for k, v in model.metrics(part).items() if not k.endswith("@20")}
                for part in ("validation", "test")
            },
        )
        for model in data.models
    ]
    other = changed(models=models, selected_on="validation ndcg@50")
    assert (other.cutoffs, other.cutoff) == ([10, 50], 50)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"selected": "lightgcn"}, r"selected = 'lightgcn'.*\['ease'\]"),
        ({"selected_on": "recall@20"}, "a part and a metric"),
        ({"selected_on": "train recall@20"}, "a part and a metric"),
        ({"selected_on": "validation auc@20"}, "a part and a metric"),
        ({"selected_on": "validation mrr@7"}, "popularity lack mrr@7"),
        ({"models": []}, "exactly the winner"),
        ({"item_titles": ["one"]}, "item_counts of popularity has 24 entries for 1 items"),
        ({"item_popularity": np.zeros(3, np.int64)}, "24 item titles.*popularity of 3 items"),
        ({"sample_histories": {0: [24]}}, "item index 24 for user index 0: allowed are 0 to 23"),
        ({"sample_histories": {0: [-1]}}, "item index -1"),
        ({"sample_histories": {5: [0]}}, r"sample users \[5\]"),
    ],
)
def test_what_does_not_fit_is_refused(changed, changes, message):
    with pytest.raises(DataError, match=message):
        changed(**changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": "ease"}, "names must differ"),
        ({"selected": True}, r"marked as selected are \['lightgcn', 'ease'\]"),
        ({"test": {"users": 1.0}}, "test metrics of lightgcn lack .*ndcg@20"),
        ({"item_counts": np.zeros(2, np.int64)}, "item_counts of lightgcn has 2 entries"),
        ({"top_items": {0: [(99, True)]}}, "top_items of lightgcn has item index 99"),
    ],
)
def test_a_model_that_does_not_fit_is_refused(data, changed, changes, message):
    with pytest.raises(DataError, match=message):
        changed(models=with_model(data, 1, **changes))


def test_a_metric_that_is_not_finite_is_refused(data, changed):
    broken = {**data.models[1].test, "mrr@10": float("nan")}
    with pytest.raises(DataError, match=r"test metrics of lightgcn are not finite: .*mrr@10"):
        changed(models=with_model(data, 1, test=broken))
