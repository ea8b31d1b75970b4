"""What small runs are built from; every number is known."""

from typing import Any

import numpy as np

from diffrec_core.evaluation.metrics import ACCURACY
from diffrec_core.report.data import Certainty, ModelResult, ReportData

N_ITEMS = 24
CUTOFFS = (10, 20, 50)
METRICS = tuple(ACCURACY)


def metrics(first: float, users: int) -> dict[str, float]:
    """Distinct numbers for every key: `first`, and a little more for each further one."""
    keys = [f"{name}@{k}" for name in METRICS for k in CUTOFFS]
    return {"users": float(users)} | {key: first + 0.0013 * n for n, key in enumerate(keys)}


def make_model(name: str, first: float, *, n_items: int = N_ITEMS, **changes: Any) -> ModelResult:
    counts = np.zeros(n_items, dtype=np.int64)
    counts[: max(1, n_items // 3)] = 5
    values: dict[str, Any] = {
        "name": name,
        "selected": False,
        "validation": metrics(first + 0.03, 41),
        "test": metrics(first, 43),
        "fit_seconds": 12.3456,
        "parameters": 1_234_567,
        "peak_memory_mib": 512.4,
        "curve": [],
        "item_counts": counts,
        "top_items": {0: [(n, n == 1) for n in range(min(12, n_items))], 7: []},
    }
    return ModelResult(**{**values, **changes})


CURVE = [
    {"epoch": 1.0, "loss": 4.0},
    {"epoch": 2.0, "loss": 3.0, "validation": 0.11},
    {"epoch": 3.0, "loss": 2.5},
    {"epoch": 4.0, "loss": 2.25, "validation": 0.17},
    {"epoch": 5.0, "loss": 2.0, "validation": 0.15},
]

PARTS = {
    "train": {
        "interactions": 3700,
        "users": 50,
        "new_users": 0,
        "first": "1997-09-20T03:05:10+00:00",
        "last": "1998-01-10T00:00:00+00:00",
    },
    "test": {
        "interactions": 900,
        "users": 43,
        "new_users": 2,
        "first": "1998-01-11T00:00:00+00:00",
        "last": "1998-04-22T23:10:38+00:00",
    },
}


def certainty(place: int, p: float | None, *, differs: bool) -> dict[str, Certainty]:
    """The same on both parts; recall@20 is known to within .1 to .2, nothing else is told."""
    intervals = {"recall@20": (0.1, 0.2)}
    return {
        part: Certainty(intervals=intervals, group="AB"[place], place=place, p=p, differs=differs)
        for part in ("validation", "test")
    }


DATA_CARD: dict[str, dict[str, Any]] = {
    "ingest": {
        "rows_read": 100_000,
        "accepted": 99_997,
        "rejected": 3,
        "rejected_by_reason": {"no_time": 3},
        "users": 943,
        "items": 1682,
    },
    "build_interactions": {
        "events": 99_997,
        "of_min_value": 55_375,
        "pairs": 55_370,
        "interactions": 54_413,
        "filter_rounds": 2,
        "users": 938,
        "items": 1008,
        "first": "1997-09-20T03:05:10+00:00",
        "last": "1998-04-22T23:10:38+00:00",
        "tied_timestamps": 22_604,
    },
    "split": {
        "train": {"interactions": 38_515, "users": 938, "items": 1003},
        "validation": {
            "interactions": 5384,
            "users": 929,
            "items": 981,
            "new_users": 0,
            "new_items": 3,
        },
        "test": {
            "interactions": 10_514,
            "users": 938,
            "items": 994,
            "new_users": 2,
            "new_items": 5,
        },
    },
}


def make_data() -> ReportData:
    """`ease` wins on validation, `lightgcn` is the runner-up, `popularity` the baseline."""
    models = [
        make_model("ease", 0.25, selected=True),
        make_model("lightgcn", 0.20, curve=CURVE, fit_seconds=60.0),
        make_model("popularity", 0.10, fit_seconds=0.001, parameters=24),
    ]
    return ReportData(
        title="Run of the night",
        created_from={"commit": "3f2a9c1", "data": "1997-09-20T03:05:10+00:00 to 1998-04-22"},
        selected_on="validation recall@20",
        protocol={"history": {"test": "train and validation"}, "cutoffs": [10, 20], "parts": PARTS},
        data_card=DATA_CARD,
        models=models,
        item_titles=[f"Film {n:02d}" for n in range(N_ITEMS)],
        item_popularity=np.arange(N_ITEMS, 0, -1, dtype=np.int64),
        sample_histories={0: list(range(N_ITEMS)), 7: []},
        user_ids={0: "u-196", 7: "u-new"},
    )


def make_one_item() -> ReportData:
    """The smallest run: one model, one item, one user, one instant."""
    time = "2024-05-01T12:00:00+00:00"
    return ReportData(
        title="Tiny",
        created_from={},
        selected_on="validation recall@20",
        protocol={"parts": {"train": {"first": time, "last": time}}},
        data_card=DATA_CARD,
        models=[make_model("popularity", 0.0, n_items=1, selected=True, fit_seconds=0.0)],
        item_titles=["Only"],
        item_popularity=np.array([0], dtype=np.int64),
        sample_histories={0: [0]},
        user_ids={0: "1"},
    )
