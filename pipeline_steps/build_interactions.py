"""Turn events into interactions: filter, one per pair, index, sort by user and time."""

import logging
from pathlib import Path

import polars as pl

from diffrec_core.common.artifacts import read_manifest
from diffrec_core.data.build_interactions import InteractionsConfig
from diffrec_core.data.build_interactions import build_interactions as interactions_of
from diffrec_core.data.interactions import NOTHING_KNOWN, read_known_ids
from diffrec_core.data.schema import EVENTS_SCHEMA, INTERACTIONS_SCHEMA, TITLES_SCHEMA
from pipeline_steps.runtime.command import Inputs, Report, execute
from pipeline_steps.runtime.outputs import output_directory

log = logging.getLogger("pipeline")


class BuildInteractionsInputs(Inputs):
    """Events, titles and known ids."""

    events: Path
    """Folder of events."""

    titles: Path
    """Folder of item titles."""

    known_ids: Path | None = None
    """Folder of ids that keep their indices."""

    out: Path
    """Folder to write."""


def run(inputs: BuildInteractionsInputs, build_interactions: InteractionsConfig) -> Report:
    """Build and write the interactions."""
    read_manifest(inputs.events, EVENTS_SCHEMA)
    read_manifest(inputs.titles, TITLES_SCHEMA)
    events = pl.scan_parquet(inputs.events / "**/*.parquet", hive_partitioning=False)
    titles = pl.read_parquet(inputs.titles / "titles.parquet")
    known = read_known_ids(inputs.known_ids) if inputs.known_ids else NOTHING_KNOWN
    interactions, counts = interactions_of(events, titles, build_interactions, known)
    with output_directory(
        inputs.out,
        schema=INTERACTIONS_SCHEMA,
        config=build_interactions,
        inputs={"events": inputs.events, "titles": inputs.titles},
    ) as (directory, manifest):
        interactions.write(directory)
        manifest["user_vocabulary"] = interactions.users.fingerprint
        manifest["item_vocabulary"] = interactions.items.fingerprint
        manifest["counts"] = counts
    log.info(
        "%d interactions of %d users and %d items",
        *(counts[key] for key in ("interactions", "users", "items")),
    )
    return counts


if __name__ == "__main__":
    execute(run)
