"""Our sides of the comparisons (see `benchmarks._laps`)."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

import pipeline_steps  # noqa: F401  # our sides run as our steps do: it sets up the process
from benchmarks import _synthetic
from benchmarks._laps import Laps
from benchmarks._ml1m import (
    Protocol,
    load_split,
    measure,
    protocol,
    read_reference_embeddings,
)
from diffrec_core.common.errors import ArtifactError, DataError
from diffrec_core.evaluation.evaluator import EvaluationConfig
from diffrec_core.evaluation.metrics import hits, mean_metrics, per_user_metrics
from diffrec_core.evaluation.ranking import RankingTask, Score, rank_task
from diffrec_core.models.base import Recommender, TrainingData
from diffrec_core.models.diffrec.item_clusters import ClusteringConfig, cluster_items
from diffrec_core.models.diffrec.model import DiffRec
from diffrec_core.models.kinds import create
from diffrec_core.training.trainer import TrainingOptions

CUTOFFS = (10, 20, 50, 100)
_SEED = 1
_UNTIL_STOPPED = 1_000_000
_EVERY_EPOCHS = 5


def train_epoch(settings: dict[str, Any], laps: Laps) -> None:
    """One epoch of the training loop as it is, without validation, a lap."""
    model, data, _ = _ml1m_model(settings)
    options = TrainingOptions(
        seed=_SEED, fixed_epochs=_UNTIL_STOPPED, advance=lambda done, note: laps.lap()
    )
    model.fit(data, options)


def evaluate(settings: dict[str, Any], laps: Laps) -> None:
    """Rank and measure all users: a float32 model, scored in the precision that is asked for."""
    precision = settings["model"]["precision"]
    exact = {**settings, "model": {**settings["model"], "precision": "float32"}}
    model, data, chosen = _ml1m_model(exact)
    model.fit(data, TrainingOptions(seed=_SEED, fixed_epochs=settings["train_epochs"]))
    facts = {f"float32 {name}": value for name, value in _metrics(model, chosen.selection).items()}
    # the same weights in another precision, which only the network's configuration tells
    model.network.config = model.config.model_copy(update={"precision": precision})
    laps.lap_forever(lambda: facts | _metrics(model, chosen.selection))


def _metrics(model: Recommender, task: RankingTask) -> dict[str, float]:
    return _ranked(model.score, task, batch_size=EvaluationConfig().batch_size)


def _ranked(score: Score, task: RankingTask, *, batch_size: int) -> dict[str, float]:
    """Rank all items for all users of a task, and measure at every cutoff."""
    top_items = rank_task(score, task, max(CUTOFFS), batch_size=batch_size)
    targets = task.targets.take(task.users)
    hit = hits(top_items, targets)
    return mean_metrics(per_user_metrics(hit, targets.lengths, CUTOFFS))


def schedule(settings: dict[str, Any], laps: Laps) -> None:
    """Train with validation every 5 epochs, which are a lap, and tell the test's recall@20.

    The test is scored once, at the end of the last lap.
    """
    epochs = settings["epochs"]
    limits = {"epochs": epochs, "validate_every_epochs": _EVERY_EPOCHS, "patience_epochs": epochs}
    told = {**settings, "model": {**settings["model"], **limits}}
    model, data, chosen = _ml1m_model(told)
    laps.lap()

    def advance(done: int, note: str) -> None:
        if done % _EVERY_EPOCHS == 0 and done < epochs:
            laps.lap()

    report = model.fit(data, TrainingOptions(seed=_SEED, advance=advance))
    laps.lap({"best validation": report.best_value, **measure(model.score, chosen)})


def _ml1m_model(settings: dict[str, Any]) -> tuple[DiffRec, TrainingData, Protocol]:
    folder = Path(settings["data"])
    split = load_split(folder)
    chosen = protocol(split, "A")
    model = create(settings["model"], "benchmark")
    if not isinstance(model, DiffRec):
        raise DataError(f"{settings['model']['kind']} is not measured here")
    clusters = None
    if model.needs_item_clusters:
        embeddings = read_reference_embeddings(folder)
        if embeddings is None:
            raise ArtifactError(f"{folder}/reference_item_embeddings.npy is missing")
        clusters = cluster_items(embeddings, ClusteringConfig(), seed=_SEED)
    data = TrainingData(
        histories=chosen.train,
        items=split.items,
        validation=chosen.selection,
        item_clusters=clusters,
    )
    return model, data, chosen


def catalogue(settings: dict[str, Any], laps: Laps) -> None:
    """Train some steps of a large catalogue a lap, then rank for some users a lap.

    Settings: `shape`, `model`, `clusters`, `steps` in an epoch, `epochs` of those, `users` that
    are scored. The last epoch ends with a validation, so that the memory of the best weights is
    in the peak; its lap is told as phase `validate`.
    """
    shape = _synthetic.Shape(*settings["shape"])
    past = _synthetic.histories(shape, seed=_SEED)
    task = _synthetic.task(past, settings["users"], n_items=shape.items, seed=_SEED)
    epochs, batch = settings["epochs"], settings["model"]["batch_size"]
    limits = {"epochs": epochs, "validate_every_epochs": epochs, "patience_epochs": epochs}
    model = create({**settings["model"], **limits}, "benchmark")
    clusters = settings["clusters"]
    data = TrainingData(
        histories=past.take(np.arange(min(settings["steps"] * batch, shape.users))),
        items=_synthetic.vocabulary(shape.items),
        validation=task,
        item_clusters=_synthetic.categories(shape.items, clusters, seed=_SEED)
        if clusters
        else None,
    )
    phase = _phases(epochs)
    options = TrainingOptions(
        seed=_SEED, advance=lambda done, note: laps.lap({"phase": next(phase)})
    )
    model.fit(data, options)
    while True:
        _ranked(model.score, task, batch_size=EvaluationConfig().batch_size)
        laps.lap({"phase": "evaluate"})


def _phases(epochs: int) -> Iterator[str]:
    """What each call of `advance` ends; the last one says that training is over."""
    yield from ["train"] * (epochs - 1)
    yield from ("validate", "end")


def kmeans(settings: dict[str, Any], laps: Laps) -> None:
    """Cluster points; settings: `points`, `dim`, `clusters`, `iterations`."""
    embeddings = points(settings)
    config = ClusteringConfig(
        n_clusters=settings["clusters"], iterations=settings["iterations"], restarts=1
    )

    def run() -> None:
        cluster_items(embeddings, config, seed=_SEED)

    laps.lap_forever(run)


def points(settings: dict[str, Any]) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
    """(points, dim) normal random numbers."""
    shape = (settings["points"], settings["dim"])
    return np.random.default_rng(_SEED).standard_normal(shape, dtype=np.float32)
