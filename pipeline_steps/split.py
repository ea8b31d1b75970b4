"""Divide interactions by time into train, validation and test.

Reads params.yaml: split. The three parts are outputs of their own, so that a stage which is not
given the test part cannot read it.
"""

import argparse
import logging
from pathlib import Path

from diffrec_core.common.artifacts import read_manifest
from diffrec_core.data.interactions import read_interactions
from diffrec_core.data.schema import INTERACTIONS_SCHEMA, SPLIT_SCHEMA
from diffrec_core.data.splits import (
    PARTS,
    SplitConfig,
    describe_split,
    split_interactions,
    write_part,
)
from pipeline_steps.runtime.command import Step, execute

log = logging.getLogger("pipeline")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare where the data lie."""
    parser.add_argument("--interactions", type=Path, required=True, help="folder of interactions")
    for part in PARTS:
        parser.add_argument(f"--{part}", type=Path, required=True, help="folder to write")


def run(step: Step) -> None:
    """Split and write the parts."""
    args = step.args
    config = step.section("split", SplitConfig)
    manifest = read_manifest(args.interactions, INTERACTIONS_SCHEMA)
    interactions = read_interactions(args.interactions)
    split = split_interactions(interactions.frame, config)
    step.report = describe_split(split)
    for part, facts in step.report.items():
        with step.output(
            getattr(args, part),
            schema=SPLIT_SCHEMA,
            params=config.model_dump(mode="json"),
            inputs={"interactions": args.interactions},
        ) as (directory, extra):
            write_part(directory, getattr(split, part))
            extra |= {"part": part, "facts": facts, "n_users": len(interactions.users)}
            extra["item_vocabulary"] = manifest["item_vocabulary"]
        log.info("%s: %s", part, ", ".join(f"{key} {value}" for key, value in facts.items()))


if __name__ == "__main__":
    execute(run, add_arguments, __doc__)
