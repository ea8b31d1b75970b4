"""Others' models: what we measure of them, and what lets them run; and kmeans_pytorch.

Their checkouts are given by path and are no part of this project; no line of theirs is here.
"""

import importlib.util
import inspect
import sys
import time
from collections.abc import Mapping
from types import ModuleType, SimpleNamespace
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from benchmarks._laps import Laps

CUTOFFS = [10, 20, 50, 100]
_EVERY_EPOCHS = 5
_SEED = 1


class Peer(Protocol):
    """A model of somebody else's in training."""

    def train_epoch(self) -> None:
        """Train one epoch."""

    def evaluate(self, part: str) -> dict[str, float]:
        """Rank all items for all users, and measure on `valid` or `test`."""


def drive(peer: Peer, settings: Mapping[str, Any], laps: Laps) -> None:
    """Measure what `settings["measure"]` says of a model."""
    if settings["measure"] == "train_epoch":
        laps.lap_forever(peer.train_epoch)
    elif settings["measure"] == "evaluate":
        for _ in range(settings["train_epochs"]):
            peer.train_epoch()
        laps.lap_forever(lambda: peer.evaluate("valid"))
    else:
        _schedule(peer, settings["epochs"], laps)


def _schedule(peer: Peer, epochs: int, laps: Laps) -> None:
    """Every 5 epochs, which are a lap, both parts are evaluated, as in the authors' script.

    Each lap tells the `test seconds` in it.
    """
    laps.lap()
    best: dict[str, float] = {}
    for _ in range(0, epochs, _EVERY_EPOCHS):
        for _ in range(_EVERY_EPOCHS):
            peer.train_epoch()
        valid, started = peer.evaluate("valid"), time.perf_counter()
        test, seconds = peer.evaluate("test"), time.perf_counter() - started
        if valid["recall@20"] > best.get("best validation", -1.0):
            best = {"best validation": valid["recall@20"], **test}
        laps.lap({**best, "test seconds": seconds})


def until_no_better(peer: Peer, epochs: int, patience: int) -> dict[str, Any]:
    """Train until the best validation is `patience` epochs old, or `epochs` are over.

    Returns:
        The test metrics of the best epoch, and `best_epoch`.
    """
    best, found = -1.0, {}
    for epoch in range(1, epochs + 1):
        peer.train_epoch()
        if epoch % _EVERY_EPOCHS == 0:
            value = peer.evaluate("valid")["recall@20"]
            if value > best:
                best, found = value, {**peer.evaluate("test"), "best_epoch": epoch}
        if found and epoch - found["best_epoch"] >= patience:
            break
    return found


def kmeans_pytorch(settings: dict[str, Any], laps: Laps) -> None:
    """Cluster points with kmeans_pytorch; settings as of `_ours.kmeans`, and `kmeans_pytorch`."""
    from benchmarks._ours import points  # noqa: PLC0415  # loads our library, which peers do without

    # it compiles a part with numba that we do not use
    stand_in_for("numba", jit=_as_it_is, cuda=SimpleNamespace(jit=_as_it_is))
    sys.path.insert(0, settings["kmeans_pytorch"])
    function = module("kmeans_pytorch").kmeans
    data = torch.from_numpy(points(settings))
    if "iter_limit" not in inspect.signature(function).parameters:
        raise ValueError("this kmeans_pytorch has no iter_limit: take the one of its repository")
    options = {"tol": 0.0, "tqdm_flag": False, "iter_limit": settings["iterations"]}
    few = data[: 10 * settings["clusters"]]
    function(few, num_clusters=settings["clusters"], **options)
    laps.lap()
    while True:
        function(data, num_clusters=settings["clusters"], **options)
        laps.lap()


def module(name: str) -> Any:
    """Import a module of somebody else's, of which no type checker knows anything."""
    return importlib.import_module(name)


def stand_in_for(name: str, **functions: Any) -> None:
    """Let an import succeed of a package that is not installed."""
    if importlib.util.find_spec(name) is None:
        stand_in = ModuleType(name)
        vars(stand_in).update(functions)
        sys.modules[name] = stand_in


def _as_it_is(*arguments: Any, **options: Any) -> Any:
    """A decorator, or one that takes options, which changes nothing."""
    if arguments and callable(arguments[0]):
        return arguments[0]
    return _as_it_is


def faiss_kmeans(X: Tensor, num_clusters: int, **others: Any) -> tuple[Tensor, Tensor]:
    """What their autoencoder asks of kmeans_pytorch, by faiss; not a part of what is measured."""
    import faiss  # noqa: PLC0415

    embeddings = np.ascontiguousarray(X.numpy(), dtype=np.float32)
    kmeans = faiss.Kmeans(embeddings.shape[1], num_clusters, seed=_SEED, min_points_per_centroid=1)
    kmeans.train(embeddings)
    _, labels = kmeans.index.search(embeddings, 1)
    return torch.from_numpy(labels[:, 0]), torch.from_numpy(kmeans.centroids)
