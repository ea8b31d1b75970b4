"""Group items by k-means over their embeddings; the clusters of the latent models."""

import logging
from pathlib import Path

import numpy as np

from diffrec_core.common.artifacts import read_manifest
from diffrec_core.common.rng import derive_seed
from diffrec_core.data.item_tables import (
    read_item_embeddings,
    write_item_clusters,
)
from diffrec_core.data.schema import CLUSTERS_SCHEMA, EMBEDDINGS_SCHEMA
from diffrec_core.data.vocabulary import read_items
from diffrec_core.models.diffrec.item_clusters import ClusteringConfig
from diffrec_core.models.diffrec.item_clusters import cluster_items as clusters_of
from pipeline_steps.runtime.command import Inputs, Report, execute
from pipeline_steps.runtime.outputs import output_directory
from pipeline_steps.runtime.sections import Seed

log = logging.getLogger("pipeline")


class ClusterItemsInputs(Inputs):
    """Embeddings and outputs."""

    interactions: Path
    """Folder with the vocabulary."""

    embeddings: Path
    """Folder of item embeddings."""

    out: Path
    """Folder to write: items with their clusters."""


def run(inputs: ClusterItemsInputs, seed: Seed, cluster_items: ClusteringConfig) -> Report:
    """Cluster and write."""
    source = read_manifest(inputs.embeddings, EMBEDDINGS_SCHEMA)
    items = read_items(inputs.interactions / "items.parquet")
    embeddings = read_item_embeddings(inputs.embeddings, items)
    clusters = clusters_of(embeddings, cluster_items, seed=derive_seed(seed, "cluster_items"))
    sizes = np.bincount(clusters).tolist()
    with output_directory(
        inputs.out,
        schema=CLUSTERS_SCHEMA,
        config=cluster_items,
        inputs={"embeddings": inputs.embeddings},
    ) as (directory, manifest):
        items.to_items_frame().write_parquet(directory / "items.parquet", compression="zstd")
        write_item_clusters(directory, items, clusters)
        manifest |= {"vocabulary": source["vocabulary"], "embedding_epochs": source["epochs"]}
    log.info("%d items in clusters of %s", len(items), sizes)
    return {"items": len(items), "cluster_sizes": sizes}


if __name__ == "__main__":
    execute(run)
