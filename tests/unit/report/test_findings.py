"""What the figures say, against hand-made runs."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from diffrec_core.common.errors import DataError
from diffrec_core.report import cost, findings, popularity, timeline
from tests.unit.report.runs import CURVE, PARTS, make_model


def test_comparison_says_when_the_winner_is_not_the_best_on_test():
    winner, other = make_model("winner", 0.2, selected=True), make_model("other", 0.3)
    behind = findings.metric_comparison([winner, other], 20)
    assert behind.finding == (
        "winner has test recall@20 0.2013; other, not chosen by validation, has more: 0.3013."
    )
    ahead = findings.metric_comparison([replace(other, selected=True), winner], 20)
    assert ahead.finding == "other has test recall@20 0.3013, the highest."
    assert [title for title, _, _ in ahead.panels] == ["recall@20", "ndcg@20"]
    assert "winner test 0.2013, validation 0.2313" in ahead.panels[0][2]


def test_time_names_exactly_the_models_that_no_other_dominates():
    models = [
        make_model("slow_best", 0.4, fit_seconds=100.0, selected=True),
        make_model("quick", 0.2, fit_seconds=1.0),
        make_model("slower_and_worse", 0.1, fit_seconds=2.0),
        make_model("quick_twin", 0.2, fit_seconds=1.0),
    ]
    finding = cost.accuracy_and_cost(models, "recall@20").finding
    assert finding.startswith(
        "No model is both quicker to fit and better than those on the dashed line: "
        "quick (1.00 s, 0.2013), quick_twin (1.00 s, 0.2013), slow_best (100.00 s, 0.4013)."
    )


def test_training_names_the_best_epoch_and_who_has_no_epochs():
    models = [make_model("net", 0.2, curve=CURVE), make_model("ease", 0.1)]
    figure = findings.training_curves(models)
    assert figure is not None
    assert figure.finding == "net best 0.1700 in epoch 4 of 5. Without epochs: ease."
    ((title, remark, drawing),) = figure.panels
    assert (title, remark) == ("net", "best 0.1700 in epoch 4 of 5")
    assert "Loss 4 in epoch 1, 2 in epoch 5." in drawing


def test_training_without_any_curve_is_no_figure():
    assert findings.training_curves([make_model("ease", 0.1)]) is None


def test_training_takes_another_loss_and_skips_what_is_not_a_number():
    curve = [{"epoch": 1.0, "kl_loss": 3.0}, {"epoch": 2.0, "kl_loss": float("nan")}]
    figure = findings.training_curves([make_model("net", 0.2, curve=curve)])
    assert figure is not None
    assert figure.finding == "net trained to epoch 1, not validated."
    assert "Loss 3 in epoch 1, 3 in epoch 1." in figure.panels[0][2]


def test_popularity_counts_slots_by_group_of_training_popularity():
    item_popularity = np.array([1, 60, 2, 37], dtype=np.int64)
    counts = np.array([0, 30, 0, 10], dtype=np.int64)
    model = make_model("net", 0.2, n_items=4, item_counts=counts)
    figure = popularity.popularity([model], item_popularity, 20)
    assert figure.finding == (
        "The 1 most popular of 4 items have 60% of the training interactions. "
        "Their share of the top-20 slots: net 75%."
    )
    _, remark, drawing = figure.panels[0]
    assert remark == "recommends 2 of 4 items"
    assert "most popular first: 75%, 25%, 0%, 0%." in drawing


@given(arrays(np.int64, st.integers(1, 60), elements=st.integers(0, 50)))
def test_groups_part_the_items_evenly_and_by_popularity(item_popularity):
    groups = popularity.popularity_groups(item_popularity)
    sizes = [len(group) for group in groups]
    assert len(groups) == min(10, len(item_popularity))
    assert max(sizes) - min(sizes) <= 1
    order = np.concatenate(groups)
    assert sorted(order) == list(range(len(item_popularity)))
    assert (np.diff(item_popularity[order]) <= 0).all()
    shares = popularity.group_shares(item_popularity, groups)
    assert sum(shares) == pytest.approx(1.0 if item_popularity.any() else 0.0)


def test_timeline_tells_whether_the_parts_overlap():
    apart = timeline.split_timeline({"parts": PARTS})
    assert apart is not None
    assert apart.finding == "The parts follow one another in time."
    assert "train 1997-09-20 to 1998-01-10, 3,700 interactions, 50 users" in apart.panels[0][2]
    early = {**PARTS["test"], "first": "1997-10-01T00:00:00"}  # without an offset it is UTC
    together = timeline.split_timeline({"parts": {**PARTS, "test": early}})
    assert together is not None
    assert together.finding.startswith("The spans overlap")


@pytest.mark.parametrize("protocol", [{}, {"parts": {}}, {"parts": {"train": {"users": 3}}}])
def test_without_times_there_is_no_timeline(protocol):
    assert timeline.split_timeline(protocol) is None


def test_a_time_that_is_none_is_refused_with_its_place():
    parts = {"test": {"first": "None", "last": "1998-01-01"}}
    with pytest.raises(DataError, match=r"protocol\.parts\.test has the time 'None'"):
        timeline.split_timeline({"parts": parts})
