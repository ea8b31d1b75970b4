"""Item embeddings and clusters on disk, keyed by item id: a re-indexed catalogue permutes none."""

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from diffrec_core.common.errors import ArtifactError
from diffrec_core.data.schema import CLUSTER, EMBEDDING, ITEM_ID
from diffrec_core.data.tables import read_table
from diffrec_core.data.vocabulary import UNKNOWN, Vocabulary

_EMBEDDINGS, _CLUSTERS = "item_embeddings.parquet", "item_clusters.parquet"


def write_item_embeddings(
    directory: Path, items: Vocabulary, embeddings: NDArray[np.float32]
) -> None:
    """Write (I, D) embeddings in vocabulary order."""
    column = pl.Series(EMBEDDING, embeddings, dtype=pl.Array(pl.Float32, embeddings.shape[1]))
    frame = pl.DataFrame({ITEM_ID: items.ids}).with_columns(column)
    frame.write_parquet(directory / _EMBEDDINGS, compression="zstd")


def read_item_embeddings(directory: Path, items: Vocabulary) -> NDArray[np.float32]:
    """Read (I, D) embeddings in the order of `items`.

    Raises:
        ArtifactError: an item has none, as after a change of the catalogue.
    """
    values = _read(directory / _EMBEDDINGS, EMBEDDING, items, stage="pretrain_item_embeddings")
    return values.astype(np.float32)


def write_item_clusters(directory: Path, items: Vocabulary, clusters: NDArray[np.int64]) -> None:
    """Write (I,) cluster numbers in vocabulary order."""
    frame = pl.DataFrame({ITEM_ID: items.ids, CLUSTER: clusters.astype(np.int32)})
    frame.write_parquet(directory / _CLUSTERS, compression="zstd")


def read_item_clusters(directory: Path, items: Vocabulary) -> NDArray[np.int64]:
    """Read (I,) cluster numbers in the order of `items`.

    Raises:
        ArtifactError: an item has none, as after a change of the catalogue.
    """
    values = _read(directory / _CLUSTERS, CLUSTER, items, stage="cluster_items")
    return values.astype(np.int64)


def _read(path: Path, column: str, items: Vocabulary, *, stage: str) -> NDArray[Any]:
    frame = read_table(path, ITEM_ID, column)
    rows = Vocabulary(tuple(frame[ITEM_ID])).indices(items.ids)
    missing = [item for item, row in zip(items.ids, rows, strict=True) if row == UNKNOWN]
    if missing:
        raise ArtifactError(
            f"{path.parent} has no {column} for {len(missing)} items, among them {missing[:3]}: "
            f"run `dvc repro {stage}`"
        )
    return frame[column].to_numpy()[rows]
