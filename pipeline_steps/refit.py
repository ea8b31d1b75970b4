"""Train the winner on all data, for the number of epochs that validation chose.

With refit.hold_out_test: true it is trained on the training and validation parts only: the newest
part stays unseen, and the gate can compare the model with the champion there.

Reads params.yaml: seed, refit, and for latent models pretrain_item_embeddings and cluster_items:
their embeddings and clusters are made anew from the same data.
"""

import argparse
import logging
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from diffrec_core.common.artifacts import read_json, read_manifest
from diffrec_core.common.config import Config
from diffrec_core.common.rng import derive_seed
from diffrec_core.data.histories import Histories, concatenate
from diffrec_core.data.interactions import Interactions, read_interactions
from diffrec_core.data.schema import INTERACTIONS_SCHEMA
from diffrec_core.data.splits import read_part
from diffrec_core.models.base import TrainingData
from diffrec_core.models.diffrec.item_clusters import ClusteringConfig, cluster_items
from diffrec_core.models.kinds import create
from diffrec_core.models.lightgcn.network import LightGCNConfig, fit_lightgcn
from pipeline_steps.runtime.command import Step, execute
from pipeline_steps.runtime.fitting import (
    fit_and_save,
    fit_report,
    join_processes,
    leave_if_not_writer,
    prepare_device,
    training_options,
)

log = logging.getLogger("pipeline")


class RefitConfig(Config):
    """What the winner is trained on in the end."""

    hold_out_test: bool = False
    """Leave the test part out, so that models can be compared on data that none has seen."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare where the data lie."""
    parser.add_argument("--selection", type=Path, required=True, help="the choice of `select`")
    parser.add_argument("--interactions", type=Path, required=True, help="all interactions")
    parser.add_argument("--train", type=Path, required=True, help="read by refit.hold_out_test")
    parser.add_argument("--validation", type=Path, required=True, help="likewise")
    parser.add_argument("--out", type=Path, required=True, help="model directory to write")


def run(step: Step) -> None:
    """Fit the selected model and write it."""
    args = step.args
    selection = read_json(args.selection)
    model = create(selection["config"], f"train.{selection['model']}", prepare_device(step))
    histories, interactions, inputs = _read_data(step)
    clusters = None
    if model.needs_item_clusters:
        epochs, paths = selection["embedding_epochs"], list(inputs.values())
        clusters = _clusters(step, histories, len(interactions.items), epochs, paths)
    data = TrainingData(histories=histories, items=interactions.items, item_clusters=clusters)
    inputs["selection"] = args.selection
    step.report["model"] = selection["model"]
    epochs = max(1, selection["epochs"])  # 0 where a model is not trained in epochs
    report = fit_and_save(
        step, "refit/model", model, data, out=args.out, inputs=inputs, fixed_epochs=epochs
    )
    leave_if_not_writer(join_processes(model.device))
    step.report |= fit_report(model, report)
    log.info("refitted %s on %d interactions", selection["model"], len(histories.items))


def _read_data(step: Step) -> tuple[Histories, Interactions, dict[str, Path]]:
    """What to train on, the data with their vocabularies, and where it came from, by role.

    The vocabulary is that of all data either way: indices mean the same in every later stage.
    """
    args = step.args
    read_manifest(args.interactions, INTERACTIONS_SCHEMA)
    interactions = read_interactions(args.interactions)
    inputs = {"interactions": args.interactions}
    if not step.section("refit", RefitConfig).hold_out_test:
        return interactions.histories(), interactions, inputs
    inputs |= {"train": args.train, "validation": args.validation}
    histories = concatenate(read_part(args.train), read_part(args.validation))
    return histories, interactions, inputs


def _clusters(
    step: Step, histories: Histories, n_items: int, epochs: int, inputs: list[Path]
) -> NDArray[np.int64]:
    config = step.section("pretrain_item_embeddings", LightGCNConfig)
    with training_options(
        step,
        "refit/item_embeddings",
        config=config,
        inputs=inputs,
        epochs=epochs,
        fixed_epochs=epochs,
    ) as options:
        embeddings, _ = fit_lightgcn(
            histories, n_items, config, options, None, name="pretrain_item_embeddings"
        )
    read_out = embeddings.read_out.cpu().numpy()
    clustering = step.section("cluster_items", ClusteringConfig)
    return cluster_items(read_out, clustering, seed=derive_seed(step.seed, "cluster_items"))


if __name__ == "__main__":
    execute(run, add_arguments, __doc__)
