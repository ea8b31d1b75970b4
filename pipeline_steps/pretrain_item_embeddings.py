"""Train LightGCN on the training part and keep the item embeddings, keyed by item id.

Reads params.yaml: seed, pretrain_item_embeddings.
"""

import argparse
from pathlib import Path

from diffrec_core.common.artifacts import read_manifest
from diffrec_core.data.item_tables import write_item_embeddings
from diffrec_core.data.schema import EMBEDDINGS_SCHEMA, INTERACTIONS_SCHEMA
from diffrec_core.data.splits import read_part
from diffrec_core.data.vocabulary import read_items
from diffrec_core.evaluation.ranking import RankingTask
from diffrec_core.models.lightgcn.network import LightGCNConfig, fit_lightgcn
from pipeline_steps.runtime.command import Step, execute
from pipeline_steps.runtime.fitting import leave_if_not_writer, training_options, write_curves


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare where the data lie."""
    parser.add_argument("--interactions", type=Path, required=True, help="for the vocabulary")
    parser.add_argument("--train", type=Path, required=True, help="training part")
    parser.add_argument("--validation", type=Path, required=True, help="validation part")
    parser.add_argument("--out", type=Path, required=True, help="folder to write")
    parser.add_argument("--curves", type=Path, required=True, help="CSV of losses to write")


def run(step: Step) -> None:
    """Train and write the embeddings."""
    args = step.args
    config = step.section("pretrain_item_embeddings", LightGCNConfig)
    read_manifest(args.interactions, INTERACTIONS_SCHEMA)
    items = read_items(args.interactions / "items.parquet")
    histories = read_part(args.train)
    task = RankingTask("validation", histories, read_part(args.validation))
    inputs = {"train": args.train, "validation": args.validation}
    with training_options(
        step, "item_embeddings", config=config, inputs=list(inputs.values()), epochs=config.epochs
    ) as options:
        embeddings, report = fit_lightgcn(
            histories, len(items), config, options, task, name="pretrain_item_embeddings"
        )
        leave_if_not_writer(options.processes)
        with step.output(
            args.out, schema=EMBEDDINGS_SCHEMA, params=config.model_dump(mode="json"), inputs=inputs
        ) as (directory, manifest):
            write_item_embeddings(directory, items, embeddings.read_out.cpu().numpy())
            manifest |= {"vocabulary": items.fingerprint, "epochs": report.best_epoch}
        write_curves(args.curves, report)
    step.report = {
        "epochs": report.epochs,
        "best_epoch": report.best_epoch,
        "validation_recall@20": report.best_value,
        "fit_seconds": round(report.seconds, 3),
    }


if __name__ == "__main__":
    execute(run, add_arguments, __doc__)
