"""Our sides of the comparisons (see `benchmarks.processes`)."""

from collections.abc import Iterable
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

import pipeline_steps  # noqa: F401  # sets up the process as the stages do
from benchmarks.ml1m import load_split, protocol, with_clusters
from benchmarks.processes import Laps, Settings
from benchmarks.timing import synthetic
from diffrec_core.data.batches import batches
from diffrec_core.data.histories import Histories
from diffrec_core.data.vocabulary import Vocabulary
from diffrec_core.evaluation.evaluator import EvaluationConfig, evaluate_task
from diffrec_core.evaluation.items import ItemFacts, PopularityGroupsConfig
from diffrec_core.evaluation.metrics import hits, mean_metrics, per_user_metrics
from diffrec_core.evaluation.ranking import RankingTask, rank_task
from diffrec_core.models.base import Recommender, TrainingData
from diffrec_core.models.diffrec.item_clusters import ClusteringConfig
from diffrec_core.models.kinds import create
from diffrec_core.models.lightgcn.adjacency import normalised_adjacency, propagate
from diffrec_core.training.trainer import TrainingOptions

CUTOFFS = (10, 20, 50, 100)
_SEED = 1
_UNTIL_STOPPED = 1_000_000
_LAYERS = 3


def train_epoch(settings: Settings, laps: Laps) -> None:
    """One epoch of the training loop as it is, without validation, a lap.

    Settings: `data`, the folder of the split, and `model`, the section of a DiffRec.
    """
    model = create(settings["model"], "benchmark")
    options = TrainingOptions(
        seed=_SEED, fixed_epochs=_UNTIL_STOPPED, advance=lambda done, note: laps.lap()
    )
    model.fit(_data_for(model, settings), options)


def evaluate(settings: Settings, laps: Laps) -> None:
    """Rank and measure all users a lap; settings as of `train_epoch`, and `train_epochs`."""
    model = create(settings["model"], "benchmark")
    data = _data_for(model, settings)
    model.fit(data, TrainingOptions(seed=_SEED, fixed_epochs=settings["train_epochs"]))
    laps.lap_forever(lambda: _metrics(model, data.validation))


def _data_for(model: Recommender, settings: Settings) -> TrainingData:
    split = load_split(Path(settings["data"]))
    data = protocol(split, "A").data
    if model.needs_item_clusters and split.embeddings:
        data = with_clusters(data, split.embeddings, ClusteringConfig(), seed=_SEED)
    return data


def _metrics(model: Recommender, task: RankingTask | None) -> dict[str, float]:
    """Every metric at every cutoff."""
    if task is None:
        return {}
    batch_size = EvaluationConfig().batch_size
    top_items = rank_task(model.score, task, max(CUTOFFS), batch_size=batch_size)
    targets = task.targets.take(task.users)
    hit = hits(top_items, targets)
    return mean_metrics(per_user_metrics(hit, targets.lengths, CUTOFFS))


def catalogue(settings: Settings, laps: Laps) -> None:
    """Train some steps of a large catalogue a lap, then rank and measure some users a lap.

    Settings: `shape`; `model`, a section, whose last epoch is to have the only validation;
    `steps` of an epoch; `users` that are asked for an item drawn at random. Facts: the `phase` of
    the lap: `train`, `validate` for an epoch with validation, or `evaluate`.
    """
    shape, section = synthetic.Shape(*settings["shape"]), settings["model"]
    past, rng = synthetic.histories(shape, seed=_SEED), np.random.default_rng(_SEED)
    model = create(section, "benchmark")
    targets = rng.integers(0, shape.items, size=(settings["users"], 1))
    first = past.take(np.arange(settings["users"]))
    task = RankingTask("validation", first, Histories.from_lists(targets.tolist()))
    trained = min(settings["steps"] * section["batch_size"], shape.users)
    data = TrainingData(
        histories=past.take(np.arange(trained)),
        items=Vocabulary(tuple(map(str, range(shape.items)))),
        validation=task,
        item_clusters=rng.permutation(shape.items) % 2 if model.needs_item_clusters else None,
    )

    def advance(done: int, note: str) -> None:
        laps.lap(phase="train" if done < section["epochs"] else "validate")

    model.fit(data, TrainingOptions(seed=_SEED, advance=advance))
    laps.lap_forever(lambda: {"phase": "evaluate", **_metrics(model, task)})


def evaluate_large(settings: Settings, laps: Laps) -> None:
    """Everything that `evaluate` measures of a task, of all users, a lap; a batch warms up.

    Scores are synthetic and made batch by batch, as a model makes them: products of factors.
    Settings: `shape`, and the `batch` of users.
    """
    shape = synthetic.Shape(*settings["shape"])
    past = synthetic.histories(shape, seed=_SEED)
    targets = synthetic.histories(shape._replace(interactions=10 * shape.users), seed=_SEED + 1)
    rng = np.random.default_rng(_SEED)
    embeddings = rng.standard_normal((shape.items, 64), dtype=np.float32)
    items = ItemFacts.from_training(past, shape.items, PopularityGroupsConfig(), embeddings)
    config = EvaluationConfig(cutoffs=CUTOFFS, batch_size=settings["batch"])
    score = partial(_score, _item_factors(shape.items))

    def run(task: RankingTask) -> dict[str, float]:
        return evaluate_task(score, task, config, items=items).metrics

    first = np.arange(min(settings["batch"], shape.users))
    laps.lap(**run(RankingTask("warm-up", past.take(first), targets.take(first))))
    laps.lap_forever(lambda: run(RankingTask("test", past, targets)))


def scores_and_top_k(settings: Settings, laps: Laps) -> None:
    """The limit of `evaluate_large`: its scores and `torch.topk`, nothing masked or measured."""
    shape = synthetic.Shape(*settings["shape"])
    past = synthetic.histories(shape, seed=_SEED)
    factors = _item_factors(shape.items)

    def run(all_rows: Iterable[NDArray[np.int64]]) -> None:
        for rows in all_rows:
            torch.topk(_score(factors, past.take(rows)), max(CUTOFFS), dim=1)

    run([np.arange(min(settings["batch"], shape.users))])
    laps.lap()
    laps.lap_forever(lambda: run(batches(shape.users, settings["batch"])))


def propagation(settings: Settings, laps: Laps) -> None:
    """Forward and backward through LightGCN's layers a lap.

    Settings: the graph's `shape`; `by`, ours or autograd, which forms the gradient by itself.
    """
    shape = synthetic.Shape(*settings["shape"])
    adjacency = normalised_adjacency(synthetic.histories(shape, seed=_SEED), shape.items)
    e_ND = _item_factors(shape.users + shape.items).requires_grad_()

    def run() -> None:
        e_ND.grad = None
        if settings["by"] == "ours":
            layers = propagate(adjacency, e_ND, _LAYERS)
        else:
            layers = [e_ND]
            for _ in range(_LAYERS):
                layers.append(adjacency.product(layers[-1]))
        torch.stack(layers).mean(dim=0).square().sum().backward()  # type: ignore[no-untyped-call]

    run()
    laps.lap_forever(run)


def _item_factors(n_items: int) -> Tensor:
    return torch.randn(n_items, 32, generator=torch.Generator().manual_seed(_SEED))


def _score(factors: Tensor, histories: Histories) -> Tensor:
    """(B, I): the sum of the history's factors, times every item's."""
    items = torch.from_numpy(histories.items).to(torch.int64)
    offsets = torch.from_numpy(histories.offsets[:-1])
    users = torch.nn.functional.embedding_bag(items, factors, offsets, mode="sum")
    return users @ factors.T
