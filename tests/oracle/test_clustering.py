"""k-means against planted groups and against the best of all partitions."""

from itertools import product

import numpy as np
import pytest
from numpy.typing import NDArray

from diffrec_core.common.errors import DataError
from diffrec_core.models.diffrec.item_clusters import ClusteringConfig, cluster_items

Points = NDArray[np.float32]


def blobs(groups: int, per_group: int, seed: int = 0) -> tuple[Points, NDArray[np.int64]]:
    """Far apart groups in shuffled order, and the group of each point."""
    rng = np.random.default_rng(seed)
    truth = rng.permutation(np.repeat(np.arange(groups), per_group))
    centres = 20.0 * rng.permutation(np.eye(groups, 6))
    return (centres[truth] + rng.normal(size=(len(truth), 6))).astype(np.float32), truth


def spread(points: Points, labels: NDArray[np.int64]) -> float:
    """Sum of squared distances to the own cluster's mean."""
    total = 0.0
    for label in set(labels.tolist()):
        group = points[labels == label].astype(np.float64)
        total += float(((group - group.mean(axis=0)) ** 2).sum())
    return total


def in_order_of_first_item(labels: NDArray[np.int64]) -> list[int]:
    """Rename labels 0, 1, … as they first occur."""
    names: dict[int, int] = {}
    return [names.setdefault(label, len(names)) for label in labels.tolist()]


@pytest.mark.parametrize("groups", [1, 2, 5])
def test_planted_groups_are_found(groups: int) -> None:
    points, truth = blobs(groups, 30)
    found = cluster_items(points, ClusteringConfig(n_clusters=groups), seed=3)
    assert found.dtype == np.int64
    assert found.tolist() == in_order_of_first_item(truth)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("n_clusters", [2, 3])
def test_no_partition_of_few_points_is_tighter(n_clusters: int, seed: int) -> None:
    points = np.random.default_rng(seed).normal(size=(7, 2)).astype(np.float32)
    found = cluster_items(points, ClusteringConfig(n_clusters=n_clusters, restarts=40), seed=seed)
    best = min(
        spread(points, np.array([0, *labels]))
        for labels in product(range(n_clusters), repeat=len(points) - 1)
        if len({0, *labels}) == n_clusters
    )
    assert spread(points, found) == pytest.approx(best, rel=1e-4)


def test_distance_is_euclidean_and_not_the_angle() -> None:
    """Three points on one ray: only their length tells them apart."""
    points = np.array([[1.0, 1], [9, 9], [1.1, 1.1]], dtype=np.float32)
    assert cluster_items(points, ClusteringConfig(), seed=0).tolist() == [0, 1, 0]


def test_the_same_seed_gives_the_same_clusters() -> None:
    points = np.random.default_rng(1).normal(size=(200, 8)).astype(np.float32)
    config = ClusteringConfig(n_clusters=10, restarts=1)
    first, again, other = (cluster_items(points, config, seed=s) for s in (5, 5, 6))
    assert first.tolist() == again.tolist()
    assert first.tolist() != other.tolist()


def test_seeds_beyond_a_c_int_are_allowed() -> None:
    points, truth = blobs(2, 10)
    found = cluster_items(points, ClusteringConfig(), seed=2**62 + 1)
    assert found.tolist() == in_order_of_first_item(truth)


def test_equal_points_give_fewer_clusters_without_gaps() -> None:
    points = np.array([[5.0, 5], [0, 0], [5, 5], [0, 0], [0, 0]], dtype=np.float32)
    found = cluster_items(points, ClusteringConfig(n_clusters=4), seed=0)
    assert found.tolist() == [0, 1, 0, 1, 1]


def test_all_points_equal_are_one_cluster() -> None:
    found = cluster_items(np.zeros((6, 3), np.float32), ClusteringConfig(n_clusters=3), seed=0)
    assert found.tolist() == [0] * 6


def test_as_many_clusters_as_items() -> None:
    points = 10 * np.eye(5, dtype=np.float32)
    found = cluster_items(points, ClusteringConfig(n_clusters=5), seed=0)
    assert found.tolist() == [0, 1, 2, 3, 4]


def test_more_clusters_than_items_are_refused() -> None:
    with pytest.raises(DataError, match="n_clusters = 4 exceeds the 3 items"):
        cluster_items(np.eye(3, dtype=np.float32), ClusteringConfig(n_clusters=4), seed=0)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_embeddings_that_are_not_finite_are_refused(bad: float) -> None:
    points = np.eye(3, dtype=np.float32)
    points[1, 2] = bad
    with pytest.raises(DataError, match="not finite"):
        cluster_items(points, ClusteringConfig(), seed=0)


def test_large_catalogues_are_not_subsampled() -> None:
    """Beyond 256 points per cluster a sample could miss the far group altogether."""
    points = np.random.default_rng(2).normal(size=(3000, 4)).astype(np.float32)
    points[-2:] += 1000.0
    found = cluster_items(points, ClusteringConfig(n_clusters=2), seed=1)
    assert np.flatnonzero(found == 1).tolist() == [2998, 2999]
