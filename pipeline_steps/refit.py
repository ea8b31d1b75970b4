"""Train the winner on all data, for the number of epochs that validation chose.

With `refit.hold_out_test` the test part is left out. Latent models get their own item clusters,
from the same data.
"""

import logging
from dataclasses import replace
from pathlib import Path

from diffrec_core.common.artifacts import read_json, read_manifest
from diffrec_core.common.rng import derive_seed
from diffrec_core.data.histories import Histories, concatenate
from diffrec_core.data.interactions import Interactions, read_interactions
from diffrec_core.data.schema import INTERACTIONS_SCHEMA
from diffrec_core.data.splits import read_part
from diffrec_core.models.base import TrainingData
from diffrec_core.models.diffrec.item_clusters import ClusteringConfig
from diffrec_core.models.kinds import build, parse_config
from diffrec_core.models.lightgcn.network import LightGCNConfig
from pipeline_steps.params.steps import RefitConfig
from pipeline_steps.runtime.command import Report, execute
from pipeline_steps.runtime.config import Models, RuntimeConfig
from pipeline_steps.runtime.fitting import LIGHTGCN, Training, fit_report
from pipeline_steps.runtime.inputs import PartsInputs
from pipeline_steps.runtime.item_clusters import fit_item_clusters
from pipeline_steps.runtime.processes import join_processes, leave_if_not_writer, prepare_device
from pipeline_steps.runtime.sections import Seed

log = logging.getLogger("pipeline")


class RefitInputs(PartsInputs):
    """The choice, the data and the output."""

    selection: Path
    """The choice of `select`."""

    interactions: Path
    """All interactions."""

    out: Path
    """Model directory to write."""


def run(
    inputs: RefitInputs,
    *,
    seed: Seed,
    models: Models,
    refit: RefitConfig,
    pretrain_item_embeddings: LightGCNConfig,
    cluster_items: ClusteringConfig,
    runtime: RuntimeConfig,
) -> Report:
    """Fit the selected model and write it."""
    selection = read_json(inputs.selection)
    name = selection["model"]
    config = parse_config(selection["config"], f"train.{name}")
    model = build(config, prepare_device(runtime))
    histories, interactions, sources = _read_data(inputs, hold_out_test=refit.hold_out_test)
    training = Training(
        name="refit/model",
        seed=derive_seed(seed, "refit/model"),
        code=Path(models[name].code),
        inputs={**sources, "selection": inputs.selection},
        runtime=runtime,
        fixed_epochs=max(1, selection["epochs"]),  # 0 where a model is not trained in epochs
    )
    clusters = None
    if model.needs_item_clusters:
        embedding = replace(
            training,
            name="refit/item_embeddings",
            seed=derive_seed(seed, "refit/item_embeddings"),
            code=LIGHTGCN,
            inputs=sources,
            fixed_epochs=selection["embedding_epochs"],
        )
        clusters, _ = fit_item_clusters(
            histories,
            len(interactions.items),
            pretrain_item_embeddings,
            cluster_items,
            training=embedding,
            seed=seed,
        )
    data = TrainingData(histories=histories, items=interactions.items, item_clusters=clusters)
    report = training.fit_and_save(model, data, inputs.out)
    leave_if_not_writer(join_processes(model.device))
    log.info("refitted %s on %d interactions", name, len(histories.items))
    return {"model": name, **fit_report(model, report)}


def _read_data(
    inputs: RefitInputs, *, hold_out_test: bool
) -> tuple[Histories, Interactions, dict[str, Path]]:
    """Histories to train on, all data with their vocabularies, and the folders read, by role.

    The vocabulary is always that of all data: indices mean the same in every later stage.
    """
    read_manifest(inputs.interactions, INTERACTIONS_SCHEMA)
    interactions = read_interactions(inputs.interactions)
    sources = {"interactions": inputs.interactions}
    if not hold_out_test:
        return interactions.histories(), interactions, sources
    sources |= {"train": inputs.train, "validation": inputs.validation}
    histories = concatenate(read_part(inputs.train), read_part(inputs.validation))
    return histories, interactions, sources


if __name__ == "__main__":
    execute(run)
