"""Popularity of what is recommended, and calibration: what is drawn is what was counted."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from diffrec_core.report.popularity import (
    calibration,
    group_shares,
    popularity,
    popularity_groups,
)
from tests.unit.report.drawn import heights, rows, texts
from tests.unit.report.runs import make_model


def test_slots_are_counted_by_group_of_training_popularity():
    item_popularity = np.array([1, 60, 2, 37], dtype=np.int64)
    counts = np.array([0, 30, 0, 10], dtype=np.int64)
    model = make_model("net", 0.2, n_items=4, item_counts=counts)
    figure = popularity([model], item_popularity, 20)
    assert figure.finding == (
        "The 1 most popular of 4 items have 60% of the training interactions. "
        "Their share of the top-20 slots: net 75%."
    )
    (panel,) = figure.panels
    assert panel.remark == "recommends 2 of 4 items"
    assert "most popular first: 75%, 25%, 0%, 0%." in panel.label
    (axes,) = panel.drawing.axes
    assert heights(axes) == [0.75, 0.25, 0, 0]
    reference = [segment[0, 1] for segment in axes.collections[0].get_segments()]
    assert reference == [0.6, 0.37, 0.02, 0.01]
    assert texts(panel.drawing)[:4] == ["head", "2", "3", "tail"]


def test_all_models_share_the_vertical_axis():
    item_popularity = np.array([50, 50], dtype=np.int64)
    models = [
        make_model(name, 0.2, n_items=2, item_counts=np.array(counts, dtype=np.int64))
        for name, counts in {"even": (5, 5), "head": (9, 1)}.items()
    ]
    figure = popularity(models, item_popularity, 20)
    assert [panel.drawing.axes[0].get_ylim() for panel in figure.panels] == [(0, 0.9)] * 2


@pytest.mark.parametrize("n_items", [1, 2])
def test_few_items_and_nothing_recommended_are_drawn(n_items):
    nothing = np.zeros(n_items, dtype=np.int64)
    model = make_model("net", 0.2, n_items=n_items, item_counts=nothing)
    (panel,) = popularity([model], nothing, 20).panels
    assert heights(panel.drawing.axes[0]) == [0] * n_items
    assert texts(panel.drawing)[:n_items] == ["head", "tail"][:n_items]


@given(arrays(np.int64, st.integers(1, 60), elements=st.integers(0, 50)))
def test_groups_part_the_items_evenly_and_by_popularity(item_popularity):
    groups = popularity_groups(item_popularity)
    sizes = [len(group) for group in groups]
    assert len(groups) == min(10, len(item_popularity))
    assert max(sizes) - min(sizes) <= 1
    order = np.concatenate(groups)
    assert sorted(order) == list(range(len(item_popularity)))
    assert (np.diff(item_popularity[order]) <= 0).all()
    shares = group_shares(item_popularity, groups)
    assert sum(shares) == pytest.approx(1.0 if item_popularity.any() else 0.0)


def grouped(name: str, *shares: float, **changes: Any) -> Any:
    had = dict(zip(("head", "torso", "tail"), (0.5, 0.3, 0.2), strict=True))
    recommended = dict(zip(had, shares, strict=True))
    groups = {
        group: {"history_share": had[group], "recommended_share@20": recommended[group]}
        for group in had
    }
    return make_model(name, 0.2, popularity_groups=groups, **changes)


def test_shares_fill_the_bar_in_order_and_the_nearest_model_is_named():
    models = [grouped("ease", 0.8, 0.1, 0.1, selected=True), grouped("slim", 0.5, 0.25, 0.25)]
    figure = calibration(models, 20)
    assert figure is not None
    assert figure.finding == (
        "Users had head 50%, torso 30%, tail 20%. ease recommends head 80%, torso 10%, tail 10%; "
        "nearest to what users had is slim: head 50%, torso 25%, tail 25%."
    )
    drawing = figure.panels[0].drawing
    (axes,) = drawing.axes
    assert rows(axes) == ["users' histories", "ease", "slim"]
    heads, torsos, tails = np.array(
        [(bar.get_x(), bar.get_width()) for bar in axes.patches]
    ).reshape(3, 3, 2)
    assert heads[:, 1] == pytest.approx([0.5, 0.8, 0.5])
    assert heads[:, 0] == pytest.approx(0)
    assert torsos[:, 0] == pytest.approx(heads.sum(axis=1))
    assert tails[:, 0] == pytest.approx(torsos.sum(axis=1))
    assert tails.sum(axis=1) == pytest.approx(1)
    assert [line.get_xdata()[0] for line in axes.lines] == pytest.approx([0.5, 0.8])
    assert "80% / 10% / 10%" in texts(drawing)


def test_the_winner_may_be_the_nearest():
    figure = calibration([grouped("ease", 0.5, 0.3, 0.2, selected=True)], 20)
    assert figure is not None
    assert figure.finding.endswith(": nearest to what users had.")


def test_unmeasured_groups_are_no_figure():
    assert calibration([make_model("ease", 0.2, selected=True)], 20) is None
    assert calibration([grouped("ease", 0.5, 0.3, 0.2, selected=True)], 10) is None
