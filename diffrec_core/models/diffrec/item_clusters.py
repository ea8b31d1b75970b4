"""k-means over item embeddings: the clusters of the latent models."""

import logging

import faiss
import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from diffrec_core.common.config import Config
from diffrec_core.common.errors import DataError

log = logging.getLogger(__name__)


class ClusteringConfig(Config):
    """How items are grouped."""

    n_clusters: int = Field(default=2, ge=1)
    """C of the paper; at most the number of items."""

    iterations: int = Field(default=25, ge=1)
    """Lloyd iterations per restart."""

    restarts: int = Field(default=5, ge=1)
    """The best of several starts, by the sum of squared distances."""


def cluster_items(
    embeddings: NDArray[np.float32], config: ClusteringConfig, *, seed: int
) -> NDArray[np.int64]:
    """Group items by k-means (Euclidean), seeded.

    Clusters that end empty, as happens when many embeddings are equal, are dropped, and the rest
    numbered from 0 without gaps in the order of their first item.

    Args:
        embeddings: (I, D), finite.
        config: how many clusters, how long.
        seed: of the initial centroids.

    Returns:
        (I,) cluster of each item.

    Raises:
        DataError: more clusters than items, or an embedding that is not finite.
    """
    n_items, dim = embeddings.shape
    if config.n_clusters > n_items:
        raise DataError(
            f"cluster_items.n_clusters = {config.n_clusters} exceeds the {n_items} items"
        )
    if not np.isfinite(embeddings).all():
        raise DataError("an item embedding is not finite: lower pretrain's learning_rate")
    kmeans = faiss.Kmeans(
        dim,
        config.n_clusters,
        niter=config.iterations,
        nredo=config.restarts,
        seed=seed % 2**31,  # faiss keeps it in a C int
        min_points_per_centroid=1,
        max_points_per_centroid=max(256, -(-n_items // config.n_clusters)),  # no subsampling
    )
    points = np.ascontiguousarray(embeddings, dtype=np.float32)
    kmeans.train(points)
    _, assigned = kmeans.index.search(points, 1)
    clusters = _renumber(assigned[:, 0])
    found = int(clusters.max()) + 1
    if found < config.n_clusters:
        log.warning(
            "%d of %d clusters are empty and dropped", config.n_clusters - found, config.n_clusters
        )
    return clusters


def _renumber(labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """Number labels from 0 in the order of first occurrence."""
    _, first, inverse = np.unique(labels, return_index=True, return_inverse=True)
    numbers = np.empty(len(first), dtype=np.int64)
    numbers[np.argsort(first)] = np.arange(len(first))
    renumbered: NDArray[np.int64] = numbers[inverse]
    return renumbered
