"""Divide interactions by time into train, validation and test.

The three parts are outputs of their own: a stage that is not given the test part cannot read it.
"""

import logging
from pathlib import Path

from diffrec_core.common.artifacts import read_manifest
from diffrec_core.data.interactions import read_interactions
from diffrec_core.data.schema import INTERACTIONS_SCHEMA, SPLIT_SCHEMA
from diffrec_core.data.splits import (
    SplitConfig,
    describe_split,
    split_interactions,
    write_part,
)
from pipeline_steps.runtime.command import Inputs, Report, execute
from pipeline_steps.runtime.outputs import output_directory

log = logging.getLogger("pipeline")


class SplitInputs(Inputs):
    """Interactions and the three parts."""

    interactions: Path
    """Folder of interactions."""

    train: Path
    """Folder to write."""

    validation: Path
    """Folder to write."""

    test: Path
    """Folder to write."""


def run(inputs: SplitInputs, split: SplitConfig) -> Report:
    """Split and write the parts."""
    manifest = read_manifest(inputs.interactions, INTERACTIONS_SCHEMA)
    interactions = read_interactions(inputs.interactions)
    parts = split_interactions(interactions.frame, split)
    report = describe_split(parts)
    for part, facts in report.items():
        with output_directory(
            getattr(inputs, part),
            schema=SPLIT_SCHEMA,
            config=split,
            inputs={"interactions": inputs.interactions},
        ) as (directory, extra):
            write_part(directory, getattr(parts, part))
            extra |= {"part": part, "facts": facts, "n_users": len(interactions.users)}
            extra["item_vocabulary"] = manifest["item_vocabulary"]
        log.info("%s: %s", part, ", ".join(f"{key} {value}" for key, value in facts.items()))
    return report


if __name__ == "__main__":
    execute(run)
