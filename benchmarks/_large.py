"""Evaluation at size: 100,000 users, every one of 50,000 items ranked, measured at k up to 100.

Scores are synthetic and made chunk by chunk, as a model makes them: products of 32 factors. The
limit is the same scores and `torch.topk` with nothing masked, checked or measured.
"""

from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks import _synthetic
from benchmarks._comparison import Comparison, Group, Reading, SideSpec, peak_mib
from benchmarks._laps import Laps
from diffrec_core.data.batches import batches
from diffrec_core.data.histories import Histories
from diffrec_core.evaluation.evaluator import EvaluationConfig, evaluate_task
from diffrec_core.evaluation.items import ItemFacts, PopularityGroupsConfig
from diffrec_core.evaluation.ranking import RankingTask

CUTOFFS = (10, 20, 50, 100)
_SHAPE = _synthetic.Shape(users=100_000, items=50_000, interactions=3_000_000)
_TARGETS, _FACTORS, _EMBEDDING, _BATCH = 10, 32, 64, 1024
_MOST_MIB = 1200.0
_SEED = 1


def large() -> Group:
    """Everything that `evaluate` measures of a task, in one pass."""
    settings = {"shape": _SHAPE, "batch": _BATCH}
    return Group(
        {
            "ours": SideSpec("benchmarks._large:evaluation", settings),
            "scores": SideSpec("benchmarks._large:scores_and_top_k", settings),
        },
        [
            Comparison(
                "evaluation.large.seconds",
                "its scores and torch.topk alone",
                Reading("ours"),
                (Reading("scores"),),
                wanted="less",
                target=1.5,
                note=lambda laps: "recall@20 {recall@20:.5f} of {users:,.0f} users".format(
                    **laps["ours"][-1].facts
                ),
            ),
            Comparison(
                "evaluation.large.memory",
                "target",
                Reading("ours", peak_mib),
                _MOST_MIB,
                wanted="less",
                target=1.0,
                unit="MiB",
            ),
        ],
        1,
    )


def evaluation(settings: dict[str, Any], laps: Laps) -> None:
    """Rank and measure all users a lap; a chunk of them warms up.

    Settings: `shape`, and `batch`, the users in a chunk.
    """
    shape = _synthetic.Shape(*settings["shape"])
    past = _synthetic.histories(shape, seed=_SEED)
    wanted = shape._replace(interactions=_TARGETS * shape.users)
    targets = _synthetic.histories(wanted, seed=_SEED + 1)
    rng = np.random.default_rng(_SEED)
    embeddings = rng.standard_normal((shape.items, _EMBEDDING), dtype=np.float32)
    items = ItemFacts.from_training(past, shape.items, PopularityGroupsConfig(), embeddings)
    config = EvaluationConfig(cutoffs=CUTOFFS, batch_size=settings["batch"])
    score = partial(_score, _item_factors(shape.items))

    def run(task: RankingTask) -> dict[str, float]:
        return evaluate_task(score, task, config, items=items).metrics

    first = np.arange(min(settings["batch"], shape.users))
    run(RankingTask("warm-up", past.take(first), targets.take(first)))
    laps.lap()
    laps.lap_forever(lambda: run(RankingTask("test", past, targets)))


def scores_and_top_k(settings: dict[str, Any], laps: Laps) -> None:
    """The same scores, and `torch.topk`; settings likewise."""
    shape = _synthetic.Shape(*settings["shape"])
    past = _synthetic.histories(shape, seed=_SEED)
    factors = _item_factors(shape.items)

    def run(chunks: Iterator[np.ndarray[tuple[int], np.dtype[np.int64]]]) -> None:
        for rows in chunks:
            torch.topk(_score(factors, past.take(rows)), max(CUTOFFS), dim=1)

    run(iter([np.arange(min(settings["batch"], shape.users))]))
    laps.lap()
    laps.lap_forever(lambda: run(batches(shape.users, settings["batch"])))


def _item_factors(n_items: int) -> Tensor:
    return torch.randn(n_items, _FACTORS, generator=torch.Generator().manual_seed(_SEED))


def _score(factors: Tensor, histories: Histories) -> Tensor:
    """(B, I): the sum of the history's factors, times every item's."""
    items = torch.from_numpy(histories.items).to(torch.int64)
    offsets = torch.from_numpy(histories.offsets[:-1])
    users = torch.nn.functional.embedding_bag(items, factors, offsets, mode="sum")
    return users @ factors.T
