"""Train the winner on all data, for the number of epochs that validation chose.

Reads params.yaml: seed, and for latent models pretrain_item_embeddings and cluster_items: their
embeddings and clusters are made anew from all data.
"""

import argparse
import logging
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from diffrec_core.artifacts import read_json, read_manifest
from diffrec_core.data.interactions import Interactions, read_interactions
from diffrec_core.data.schema import INTERACTIONS_SCHEMA
from diffrec_core.embedding.clustering import ClusteringConfig, cluster_items
from diffrec_core.embedding.lightgcn import LightGCNConfig, fit_lightgcn
from diffrec_core.models.base import TrainingData
from diffrec_core.models.registry import create
from diffrec_core.rng import derive_seed
from pipeline_steps._runtime import Step, execute
from pipeline_steps._training import (
    fit_and_save,
    fit_report,
    join_processes,
    leave_if_not_writer,
    prepare_device,
    training_options,
)

log = logging.getLogger("pipeline")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare where the data lie."""
    parser.add_argument("--selection", type=Path, required=True, help="the choice of `select`")
    parser.add_argument("--interactions", type=Path, required=True, help="all interactions")
    parser.add_argument("--out", type=Path, required=True, help="model directory to write")


def run(step: Step) -> None:
    """Fit the selected model on everything and write it."""
    args = step.args
    selection = read_json(args.selection)
    model = create(selection["config"], f"train.{selection['model']}", prepare_device(step))
    read_manifest(args.interactions, INTERACTIONS_SCHEMA)
    interactions = read_interactions(args.interactions)
    clusters = None
    if model.needs_item_clusters:
        clusters = _clusters(step, interactions, selection["embedding_epochs"])
    data = TrainingData(
        histories=interactions.histories(), items=interactions.items, item_clusters=clusters
    )
    inputs = {"interactions": args.interactions, "selection": args.selection}
    step.report["model"] = selection["model"]
    epochs = max(1, selection["epochs"])  # 0 where a model is not trained in epochs
    report = fit_and_save(
        step, "refit/model", model, data, out=args.out, inputs=inputs, fixed_epochs=epochs
    )
    leave_if_not_writer(join_processes(model.device))
    step.report |= fit_report(model, report)
    log.info("refitted %s on %d interactions", selection["model"], len(interactions.frame))


def _clusters(step: Step, interactions: Interactions, epochs: int) -> NDArray[np.int64]:
    config = step.section("pretrain_item_embeddings", LightGCNConfig)
    with training_options(
        step,
        "refit/item_embeddings",
        config=config,
        inputs=[step.args.interactions],
        epochs=epochs,
        fixed_epochs=epochs,
    ) as options:
        histories, n_items = interactions.histories(), len(interactions.items)
        embeddings, _ = fit_lightgcn(histories, n_items, config, options, None)
    read_out = embeddings.read_out.cpu().numpy()
    clustering = step.section("cluster_items", ClusteringConfig)
    return cluster_items(read_out, clustering, seed=derive_seed(step.seed, "cluster_items"))


if __name__ == "__main__":
    execute(run, add_arguments, __doc__)
