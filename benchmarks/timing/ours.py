"""Our sides of the comparisons (see `benchmarks.processes`)."""

import time
from functools import partial
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any
from unittest import mock

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from benchmarks.ml1m import load_split, protocol, with_clusters
from benchmarks.processes import Run, Settings
from benchmarks.timing import synthetic
from diffrec_core.data.batches import batches
from diffrec_core.data.histories import Histories
from diffrec_core.data.vocabulary import Vocabulary
from diffrec_core.evaluation.evaluator import EvaluationConfig, evaluate_task
from diffrec_core.evaluation.items import ItemFacts, PopularityGroupsConfig
from diffrec_core.evaluation.ranking import RankingTask
from diffrec_core.models.base import Recommender, TrainingData
from diffrec_core.models.diffrec.item_clusters import ClusteringConfig
from diffrec_core.models.kinds import create
from diffrec_core.models.lightgcn.adjacency import normalised_adjacency, propagate
from diffrec_core.models.sasrec import losses, program
from diffrec_core.training.trainer import TrainingOptions
from pipeline_steps.runtime.command import peak_memory_mib

_EVERYTHING = EvaluationConfig(cutoffs=(10, 20, 50, 100))
_SEED = 1
_LAYERS = 3


def train_epoch(settings: Settings) -> Run:
    """The second epoch of a training, without validation.

    Settings: `data`, the folder of the split, and `model`, the section of a DiffRec.
    """
    data = _data_for(settings)
    return lambda: _fit_epochs(settings["model"], data, fixed_epochs=2)[1][0]


def _fit_epochs(
    section: dict[str, Any], data: TrainingData, **options: Any
) -> tuple[Recommender, list[float]]:
    """A fitted model, and the seconds of its epochs but the first."""
    model, ends = create(section, "benchmark"), list[float]()

    def advance(done: int, note: str) -> None:
        ends.append(time.perf_counter())

    model.fit(data, TrainingOptions(seed=_SEED, advance=advance, **options))
    return model, [end - start for start, end in pairwise(ends)]


def evaluate(settings: Settings) -> Run:
    """Rank and measure all users; settings as of `train_epoch`, and `train_epochs`."""
    model, data = create(settings["model"], "benchmark"), _data_for(settings)
    model.fit(data, TrainingOptions(seed=_SEED, fixed_epochs=settings["train_epochs"]))
    task = data.validation
    assert task is not None
    return lambda: evaluate_task(model.score, task, _EVERYTHING).metrics


def _data_for(settings: Settings) -> TrainingData:
    split = load_split(Path(settings["data"]))
    data = protocol(split, "A").data
    if settings["model"].get("latent") and split.embeddings:
        data = with_clusters(data, split.embeddings, ClusteringConfig(), seed=_SEED)
    return data


def catalogue(
    shape: synthetic.Shape, section: dict[str, Any], steps: int, users: int
) -> dict[str, float]:
    """Train some steps of a large catalogue, then rank and measure some users.

    Args:
        shape: of the catalogue.
        section: of the model, whose last epoch is to have the only validation.
        steps: of an epoch.
        users: that are asked for an item drawn at random.

    Returns:
        The seconds of an epoch, `train`, the first and the last left out; those of the users,
        `evaluate`; and `peak_mib` of the process.
    """
    past, rng = synthetic.histories(shape, seed=_SEED), np.random.default_rng(_SEED)
    targets = rng.integers(0, shape.items, size=(users, 1))
    first = past.take(np.arange(users))
    task = RankingTask("validation", first, Histories.from_lists(targets.tolist()))
    trained = min(steps * section["batch_size"], shape.users)
    data = TrainingData(
        histories=past.take(np.arange(trained)),
        items=Vocabulary(tuple(map(str, range(shape.items)))),
        validation=task,
        item_clusters=rng.permutation(shape.items) % 2 if section.get("latent") else None,
    )

    model, seconds = _fit_epochs(section, data)
    ends = [time.perf_counter()]
    for _ in range(5):
        evaluate_task(model.score, task, _EVERYTHING)
        ends.append(time.perf_counter())
    return {
        "train": median(seconds[: section["epochs"] - 2]),
        "evaluate": median(end - start for start, end in pairwise(ends[1:])),
        "peak_mib": peak_memory_mib(),
    }


def evaluate_large(settings: Settings) -> Run:
    """Everything that `evaluate` measures of a task, of all users.

    Scores are synthetic and made batch by batch, as a model makes them: products of factors.
    Settings: `shape`, and the `batch` of users.
    """
    shape = synthetic.Shape(*settings["shape"])
    past = synthetic.histories(shape, seed=_SEED)
    targets = synthetic.histories(shape._replace(interactions=10 * shape.users), seed=_SEED + 1)
    rng = np.random.default_rng(_SEED)
    embeddings = rng.standard_normal((shape.items, 64), dtype=np.float32)
    items = ItemFacts.from_training(past, shape.items, PopularityGroupsConfig(), embeddings)
    config = EvaluationConfig(cutoffs=_EVERYTHING.cutoffs, batch_size=settings["batch"])
    score, task = partial(_score, _item_factors(shape.items)), RankingTask("test", past, targets)
    return lambda: evaluate_task(score, task, config, items=items).metrics


def scores_and_top_k(settings: Settings) -> Run:
    """The limit of `evaluate_large`: its scores and `torch.topk`, nothing masked or measured."""
    shape = synthetic.Shape(*settings["shape"])
    past = synthetic.histories(shape, seed=_SEED)
    factors = _item_factors(shape.items)

    def run() -> None:
        for rows in batches(shape.users, settings["batch"]):
            torch.topk(_score(factors, past.take(rows)), max(_EVERYTHING.cutoffs), dim=1)

    return run


def propagation(settings: Settings) -> Run:
    """Forward and backward through LightGCN's layers.

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

    return run


def sasrec_epoch(settings: Settings) -> Run:
    """The second epoch of SASRec's training.

    Settings: the log's `shape`; `by`, ours or autograd, which differentiates the loss by itself.
    """
    shape = synthetic.Shape(*settings["shape"])
    items = Vocabulary(tuple(map(str, range(shape.items))))
    data = TrainingData(histories=synthetic.histories(shape, seed=_SEED), items=items)
    section = {"kind": "sasrec", "epochs": 2}
    loss = losses.softmax_loss if settings["by"] == "ours" else _plain_softmax_loss

    def run() -> float:
        with mock.patch.object(program, "softmax_loss", loss):
            return _fit_epochs(section, data)[1][0]

    return run


def _plain_softmax_loss(hidden_ND: Tensor, items_ID: Tensor, targets_N: Tensor) -> Tensor:
    return cross_entropy(hidden_ND @ items_ID.T, targets_N, reduction="sum")


def _item_factors(n_items: int) -> Tensor:
    return torch.randn(n_items, 32, generator=torch.Generator().manual_seed(_SEED))


def _score(factors: Tensor, histories: Histories) -> Tensor:
    """(B, I): the sum of the history's factors, times every item's."""
    items = torch.from_numpy(histories.items).to(torch.int64)
    offsets = torch.from_numpy(histories.offsets[:-1])
    users = torch.nn.functional.embedding_bag(items, factors, offsets, mode="sum")
    return users @ factors.T
