"""Fit one model on the training part; the validation part says when to stop.

Reads params.yaml: seed, train.<model>.
"""

import argparse
from pathlib import Path

from diffrec_core.artifacts import read_manifest
from diffrec_core.config import lookup
from diffrec_core.data.item_tables import read_item_clusters
from diffrec_core.data.schema import CLUSTERS_SCHEMA, INTERACTIONS_SCHEMA
from diffrec_core.data.splits import read_part
from diffrec_core.data.vocabulary import read_items
from diffrec_core.evaluation.ranking import RankingTask
from diffrec_core.models.base import TrainingData
from diffrec_core.models.registry import create
from pipeline_steps._runtime import Step, execute
from pipeline_steps._training import fit_and_save, prepare_device, write_curves


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the model and where the data lie."""
    parser.add_argument("--model", required=True, help="an entry under `train` in params.yaml")
    parser.add_argument("--interactions", type=Path, required=True, help="for the vocabulary")
    parser.add_argument("--train", type=Path, required=True, help="training part")
    parser.add_argument("--validation", type=Path, required=True, help="validation part")
    parser.add_argument("--item-clusters", type=Path, required=True, help="read by latent models")
    parser.add_argument("--out", type=Path, required=True, help="model directory to write")
    parser.add_argument("--curves", type=Path, required=True, help="CSV of losses to write")


def run(step: Step) -> None:
    """Fit the model and write its directory, curves and report."""
    args = step.args
    key = f"train.{args.model}"
    model = create(lookup(step.params, key), key, prepare_device(step))
    read_manifest(args.interactions, INTERACTIONS_SCHEMA)
    items = read_items(args.interactions / "items.parquet")
    histories = read_part(args.train)
    task = RankingTask("validation", histories, read_part(args.validation))
    inputs = {"train": args.train, "validation": args.validation}
    clusters = None
    if model.needs_item_clusters:
        inputs["item_clusters"] = args.item_clusters
        source = read_manifest(args.item_clusters, CLUSTERS_SCHEMA)
        step.report["embedding_epochs"] = source["embedding_epochs"]
        clusters = read_item_clusters(args.item_clusters, items)
    data = TrainingData(histories=histories, items=items, validation=task, item_clusters=clusters)
    report = fit_and_save(step, f"train/{args.model}", model, data, inputs=inputs)
    write_curves(args.curves, report)


if __name__ == "__main__":
    execute(run, add_arguments, __doc__)
