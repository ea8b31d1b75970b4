"""Train LightGCN on the training part and write the item embeddings, keyed by item id."""

from pathlib import Path

from diffrec_core.common.artifacts import read_manifest
from diffrec_core.common.rng import derive_seed
from diffrec_core.data.item_tables import write_item_embeddings
from diffrec_core.data.schema import EMBEDDINGS_SCHEMA, INTERACTIONS_SCHEMA
from diffrec_core.data.vocabulary import read_items
from diffrec_core.models.lightgcn.network import LightGCNConfig, fit_lightgcn
from pipeline_steps.runtime.command import Report, execute
from pipeline_steps.runtime.config import RuntimeConfig
from pipeline_steps.runtime.fitting import (
    LIGHTGCN,
    Training,
    summary,
    validation_task,
    write_curves,
)
from pipeline_steps.runtime.inputs import PartsInputs
from pipeline_steps.runtime.outputs import output_directory
from pipeline_steps.runtime.processes import leave_if_not_writer
from pipeline_steps.runtime.sections import Seed


class PretrainInputs(PartsInputs):
    """Data and outputs."""

    interactions: Path
    """Folder with the vocabulary."""

    out: Path
    """Folder to write."""

    curves: Path
    """CSV of losses to write."""


def run(
    inputs: PretrainInputs,
    seed: Seed,
    pretrain_item_embeddings: LightGCNConfig,
    runtime: RuntimeConfig,
) -> Report:
    """Train and write the embeddings."""
    read_manifest(inputs.interactions, INTERACTIONS_SCHEMA)
    items = read_items(inputs.interactions / "items.parquet")
    task = validation_task(inputs)
    config = pretrain_item_embeddings
    training = Training(
        name="item_embeddings",
        seed=derive_seed(seed, "item_embeddings"),
        code=LIGHTGCN,
        inputs={"train": inputs.train, "validation": inputs.validation},
        runtime=runtime,
    )
    with training.options(config) as options:
        embeddings, report = fit_lightgcn(
            task.histories, len(items), config, options, task, name="pretrain_item_embeddings"
        )
        leave_if_not_writer(options.processes)
        with output_directory(
            inputs.out, schema=EMBEDDINGS_SCHEMA, config=config, inputs=training.inputs
        ) as (directory, manifest):
            write_item_embeddings(directory, items, embeddings.read_out.cpu().numpy())
            manifest |= {"vocabulary": items.fingerprint, "epochs": report.best_epoch}
        write_curves(inputs.curves, report)
    return summary(report)


if __name__ == "__main__":
    execute(run)
