"""Item embeddings and clusters on disk, keyed by item id: a re-indexed catalogue permutes none."""

from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from diffrec_core.common.errors import ArtifactError
from diffrec_core.data.schema import CLUSTER, EMBEDDING, ITEM_ID
from diffrec_core.data.tables import read_table
from diffrec_core.data.vocabulary import Vocabulary

_EMBEDDINGS, _CLUSTERS = "item_embeddings.parquet", "item_clusters.parquet"


def write_item_embeddings(
    directory: Path, items: Vocabulary, embeddings: NDArray[np.float32]
) -> None:
    """Write (I, D) embeddings in vocabulary order."""
    column = pl.Series(EMBEDDING, embeddings, dtype=pl.Array(pl.Float32, embeddings.shape[1]))
    frame = pl.DataFrame({ITEM_ID: items.ids}).with_columns(column)
    frame.write_parquet(directory / _EMBEDDINGS, compression="zstd")


def read_item_embeddings(directory: Path) -> tuple[tuple[str, ...], NDArray[np.float32]]:
    """Read item ids and their (I, D) embeddings."""
    frame = read_table(directory / _EMBEDDINGS, ITEM_ID, EMBEDDING)
    return tuple(frame[ITEM_ID]), frame[EMBEDDING].to_numpy().astype(np.float32)


def read_item_embeddings_of(directory: Path, items: Vocabulary) -> NDArray[np.float32]:
    """Read embeddings in the order of `items`.

    Returns:
        (I, D) float32.

    Raises:
        ArtifactError: an item has no embedding, as after a change of the catalogue.
    """
    ids, embeddings = read_item_embeddings(directory)
    row_of = {item: row for row, item in enumerate(ids)}
    missing = [item for item in items.ids if item not in row_of]
    if missing:
        raise ArtifactError(
            f"{directory} has no embedding for {len(missing)} items, among them {missing[:3]}: "
            f"run `dvc repro pretrain_item_embeddings`"
        )
    return embeddings[[row_of[item] for item in items.ids]]


def write_item_clusters(directory: Path, ids: tuple[str, ...], clusters: NDArray[np.int64]) -> None:
    """Write (I,) cluster numbers."""
    frame = pl.DataFrame({ITEM_ID: ids, CLUSTER: clusters.astype(np.int32)})
    frame.write_parquet(directory / _CLUSTERS, compression="zstd")


def read_item_clusters(directory: Path, items: Vocabulary) -> NDArray[np.int64]:
    """Read clusters in the order of `items`.

    Returns:
        (I,) int64.

    Raises:
        ArtifactError: an item has no cluster, as after a change of the catalogue.
    """
    frame = read_table(directory / _CLUSTERS, ITEM_ID, CLUSTER)
    by_id = dict(frame.select(ITEM_ID, CLUSTER).iter_rows())
    missing = [item for item in items.ids if item not in by_id]
    if missing:
        raise ArtifactError(
            f"{directory} has no cluster for {len(missing)} items, among them {missing[:3]}: "
            f"run `dvc repro cluster_items`"
        )
    return np.array([by_id[item] for item in items.ids], dtype=np.int64)
