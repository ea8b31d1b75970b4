"""A small run: three models, 24 items, two sample users; and the smallest one."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from diffrec_core.report.data import ReportData
from tests.unit.report.runs import CURVE, DATA_CARD, N_ITEMS, PARTS, make_model


@pytest.fixture
def data() -> ReportData:
    """`ease` wins on validation, `lightgcn` is the runner-up, `popularity` the baseline."""
    models = [
        make_model("popularity", 0.10, fit_seconds=0.001, parameters=24),
        make_model("lightgcn", 0.20, curve=CURVE, fit_seconds=60.0),
        make_model("ease", 0.25, selected=True),
    ]
    return ReportData(
        title="Run of the night",
        created_from={"commit": "3f2a9c1", "data": "1997-09-20T03:05:10+00:00 to 1998-04-22"},
        selected="ease",
        selected_on="validation recall@20",
        protocol={"history": {"test": "train and validation"}, "cutoffs": [10, 20], "parts": PARTS},
        data_card=DATA_CARD,
        models=models,
        item_titles=[f"Film {n:02d}" for n in range(N_ITEMS)],
        item_popularity=np.arange(N_ITEMS, 0, -1, dtype=np.int64),
        sample_histories={0: list(range(N_ITEMS)), 7: []},
        user_ids={0: "u-196", 7: "u-new"},
    )


Change = Callable[..., ReportData]


@pytest.fixture
def changed(data: ReportData) -> Change:
    """Give the run with some fields replaced; checked anew."""
    return lambda **changes: replace(data, **changes)


@pytest.fixture
def one_item() -> ReportData:
    """The smallest run: one model, one item, one user, one instant."""
    time = "2024-05-01T12:00:00+00:00"
    return ReportData(
        title="Tiny",
        created_from={},
        selected="popularity",
        selected_on="validation recall@20",
        protocol={"parts": {"train": {"first": time, "last": time}}},
        data_card={},
        models=[make_model("popularity", 0.0, n_items=1, selected=True, fit_seconds=0.0)],
        item_titles=["Only"],
        item_popularity=np.array([0], dtype=np.int64),
        sample_histories={0: [0]},
        user_ids={0: "1"},
    )
