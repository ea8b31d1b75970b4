"""Group items by k-means over their embeddings.

Reads params.yaml: seed, cluster_items.
"""

import argparse
import logging
from pathlib import Path

import numpy as np

from diffrec_core.common.artifacts import read_manifest
from diffrec_core.common.rng import derive_seed
from diffrec_core.data.item_tables import read_item_embeddings, write_item_clusters
from diffrec_core.data.schema import CLUSTERS_SCHEMA, EMBEDDINGS_SCHEMA
from diffrec_core.models.diffrec.item_clusters import ClusteringConfig, cluster_items
from pipeline_steps.runtime.command import Step, execute

log = logging.getLogger("pipeline")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare where the data lie."""
    parser.add_argument("--embeddings", type=Path, required=True, help="folder of embeddings")
    parser.add_argument("--out", type=Path, required=True, help="folder to write")


def run(step: Step) -> None:
    """Cluster and write."""
    args = step.args
    config = step.section("cluster_items", ClusteringConfig)
    source = read_manifest(args.embeddings, EMBEDDINGS_SCHEMA)
    ids, embeddings = read_item_embeddings(args.embeddings)
    clusters = cluster_items(embeddings, config, seed=derive_seed(step.seed, "cluster_items"))
    sizes = np.bincount(clusters).tolist()
    with step.output(
        args.out,
        schema=CLUSTERS_SCHEMA,
        params=config.model_dump(mode="json"),
        inputs={"embeddings": args.embeddings},
    ) as (directory, manifest):
        write_item_clusters(directory, ids, clusters)
        manifest |= {"vocabulary": source["vocabulary"], "embedding_epochs": source["epochs"]}
    step.report = {"items": len(ids), "cluster_sizes": sizes}
    log.info("%d items in clusters of %s", len(ids), sizes)


if __name__ == "__main__":
    execute(run, add_arguments, __doc__)
