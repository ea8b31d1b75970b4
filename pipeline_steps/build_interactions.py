"""Turn events into interactions: filter, keep each pair's first, index, sort by user and time.

Reads params.yaml: build_interactions.
"""

import argparse
import logging
from pathlib import Path

import polars as pl

from diffrec_core.common.artifacts import read_manifest
from diffrec_core.data.interactions import (
    NOTHING_KNOWN,
    InteractionsConfig,
    build_interactions,
    read_known_ids,
)
from diffrec_core.data.schema import EVENTS_SCHEMA, INTERACTIONS_SCHEMA, TITLES_SCHEMA
from pipeline_steps.runtime.command import Step, execute

log = logging.getLogger("pipeline")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare where the data lie."""
    parser.add_argument("--events", type=Path, required=True, help="folder of events")
    parser.add_argument("--titles", type=Path, required=True, help="folder of item titles")
    parser.add_argument("--known-ids", type=Path, help="folder of ids that keep their indices")
    parser.add_argument("--out", type=Path, required=True, help="folder to write")


def run(step: Step) -> None:
    """Build and write the interactions."""
    args = step.args
    config = step.section("build_interactions", InteractionsConfig)
    read_manifest(args.events, EVENTS_SCHEMA)
    read_manifest(args.titles, TITLES_SCHEMA)
    events = pl.scan_parquet(args.events / "**/*.parquet", hive_partitioning=False)
    titles = pl.read_parquet(args.titles / "titles.parquet")
    known = read_known_ids(args.known_ids) if args.known_ids else NOTHING_KNOWN
    interactions, step.report = build_interactions(events, titles, config, known)
    with step.output(
        args.out,
        schema=INTERACTIONS_SCHEMA,
        params=config.model_dump(mode="json"),
        inputs={"events": args.events, "titles": args.titles},
    ) as (directory, manifest):
        interactions.write(directory)
        manifest["user_vocabulary"] = interactions.users.fingerprint
        manifest["item_vocabulary"] = interactions.items.fingerprint
        manifest["counts"] = step.report
    log.info(
        "%d interactions of %d users and %d items",
        *(step.report[key] for key in ("interactions", "users", "items")),
    )


if __name__ == "__main__":
    execute(run, add_arguments, __doc__)
