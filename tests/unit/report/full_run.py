"""A run as large as they come: twenty models, several seeds, every figure; numbers are drawn."""

import math
from typing import Any

import numpy as np

from diffrec_core.evaluation.beyond_accuracy import CATALOGUE, LISTS
from diffrec_core.report.changes import compare_runs
from diffrec_core.report.data import Certainty, ModelResult, ReportData
from tests.unit.report.runs import DATA_CARD, METRICS, PARTS

NAMES = (
    *("ease", "t_ease", "slim", "item_knn", "rp3beta", "gf_cf", "ials", "bpr_mf", "lightgcn"),
    *("mult_vae", "mult_dae", "sasrec", "irgan", "diffrec", "t_diffrec", "l_diffrec"),
    *("lt_diffrec", "denoising_bpr_mf", "recent_popularity", "popularity"),
)
TRAINED = NAMES[8:17]
N_ITEMS = 600
N_USERS = 12
_SLICES = {
    "history_length": [("5 to 12", 5, 12), ("13 to 25", 13, 25), ("26 to 300", 26, 300)],
    "days_since_last_action": [("0.0 to 3.2", 0, 3.2), ("3.3 to 60.0", 3.3, 60)],
    "history": [("warm", None, None), ("new", None, None)],
    "target_popularity": [("head", None, None), ("torso", None, None), ("tail", None, None)],
}


def full_run() -> ReportData:
    """The same run each time."""
    rng = np.random.default_rng(11)
    popularity = np.sort(rng.zipf(1.6, N_ITEMS).clip(1, 400))[::-1].astype(np.int64)
    models = [_model(name, place, rng) for place, name in enumerate(NAMES)]
    return ReportData(
        title="A full run",
        created_from={"data": "1997-09-20T03:05:10+00:00 to 1998-04-22T23:10:38+00:00"},
        selected_on="validation recall@20",
        protocol={"history": {"test": "train and validation"}, "cutoffs": [10, 20], "parts": PARTS},
        data_card=DATA_CARD,
        models=models,
        item_titles=[
            f"The film that bears the number {n:03d} (19{n % 90 + 10})" for n in range(600)
        ],
        item_popularity=popularity,
        sample_histories={u: rng.integers(0, N_ITEMS, 5 + 9 * u).tolist() for u in range(N_USERS)},
        user_ids={user: f"user-{user}" for user in range(N_USERS)},
        left_out={"slim_dense": "slim_dense needs 12.4 GiB, the limit is 8 GiB"},
        changes=compare_runs(_summary(models, 0.0), _summary(models, 0.004)),
    )


def _model(name: str, place: int, rng: np.random.Generator) -> ModelResult:
    level = 0.33 - 0.008 * place - (0.12 if "popularity" in name else 0.0)
    counts = rng.poisson(np.linspace(40 + 3 * place, 0.2, N_ITEMS)).astype(np.int64)
    return ModelResult(
        name=name,
        selected=place == 0,
        validation=_metrics(level + 0.02, 921),
        test=_metrics(level, 938),
        fit_seconds=float(10 ** rng.uniform(-1.5, 2.7)),
        parameters=int(10 ** rng.uniform(3, 7)),
        peak_memory_mib=float(rng.uniform(380, 1900)),
        curve=_curve(level) if name in TRAINED else [],
        item_counts=counts,
        top_items={
            user: [(int(item), bool(rng.random() < 0.2)) for item in rng.integers(0, N_ITEMS, 20)]
            for user in range(N_USERS)
        },
        certainty={part: _certainty(level, place) for part in ("validation", "test")},
        seeds=3 if name in TRAINED else 1,
        sd={"test": {"recall@20": 0.0021}} if name in TRAINED else {},
        slices=_slices(level, rng),
        popularity_groups=_groups(place),
    )


def _metrics(level: float, users: int) -> dict[str, float]:
    values = {f"{name}@{k}": level * k / 20 for name in METRICS for k in (10, 20)}
    names = enumerate([*CATALOGUE, *LISTS], 1)
    beyond = {f"{name}@20": abs(math.sin(level * n)) for n, name in names}
    return {"users": float(users), **values, **beyond}


def _certainty(level: float, place: int) -> Certainty:
    ends = {f"{name}@20": (level - 0.012, level + 0.012) for name in METRICS}
    group = min(place // 4, 5)
    p = None if place == 0 else 0.8 / 4**place
    return Certainty(
        intervals=ends, group="ABCDEF"[group], place=group, p=p, differs=p is not None and p < 0.05
    )


def _curve(level: float) -> list[dict[str, float]]:
    return [
        {"epoch": float(n), "loss": 4 / n + 1}
        | ({"validation": level * (1 - math.exp(-n / 20)) - n / 9000} if n % 5 == 0 else {})
        for n in range(1, 151)
    ]


def _slices(level: float, rng: np.random.Generator) -> dict[str, list[dict[str, Any]]]:
    return {
        kind: [
            {"slice": name, "users": 300.0 - 70 * n, "recall@20": level * rng.uniform(0.6, 1.2)}
            | ({} if low is None else {"from": float(low), "to": float(high or 0)})
            for n, (name, low, high) in enumerate(rows)
        ]
        for kind, rows in _SLICES.items()
    }


def _groups(place: int) -> dict[str, dict[str, float]]:
    head = 0.3 + 0.025 * place
    recommended = {"head": head, "torso": (1 - head) * 0.8, "tail": (1 - head) * 0.2}
    had = {"head": 0.35, "torso": 0.45, "tail": 0.2}
    return {
        name: {"history_share": had[name], "recommended_share@20": recommended[name]}
        for name in had
    }


def _summary(models: list[ModelResult], change: float) -> dict[str, Any]:
    return {
        "selected": "ease",
        "selected_on": "validation recall@20",
        "parts": PARTS,
        "models": {
            model.name: {
                "config": {"kind": model.name, "l2": 200.0 + change},
                "validation": {"recall@20": model.validation["recall@20"] + change},
                "test": {"recall@20": model.test["recall@20"] - change},
            }
            for model in models
        },
    }
