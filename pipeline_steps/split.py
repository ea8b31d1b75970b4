"""Divide interactions by time into train, validation and test.

The three parts are outputs of their own: a stage that is not given the test part cannot read it.
"""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from diffrec_core.common.artifacts import read_manifest
from diffrec_core.common.errors import DataError
from diffrec_core.data.interactions import read_interactions
from diffrec_core.data.schema import INTERACTIONS_SCHEMA, SPLIT_SCHEMA
from diffrec_core.data.splits import (
    SplitConfig,
    describe_split,
    split_interactions,
    split_seen,
    write_part,
)
from pipeline_steps.runtime.command import Inputs, Report, execute
from pipeline_steps.runtime.outputs import output_directory

log = logging.getLogger("pipeline")

_MANY: Final = 0.1
"""A larger share of targets that had been seen is warned of."""


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
    """Split and write the parts.

    Raises:
        DataError: users had seen every item of a part before.
    """
    manifest = read_manifest(inputs.interactions, INTERACTIONS_SCHEMA)
    interactions = read_interactions(inputs.interactions)
    parts = split_interactions(interactions.frame, split)
    seen = split_seen(interactions.seen, parts, split)
    report = describe_split(parts, seen)
    for part, facts in report.items():
        _warn_of_seen(part, facts)
        with output_directory(
            getattr(inputs, part),
            schema=SPLIT_SCHEMA,
            config=split,
            inputs={"interactions": inputs.interactions},
        ) as (directory, extra):
            write_part(directory, getattr(parts, part), getattr(seen, part))
            extra |= {"part": part, "facts": facts, "n_users": len(interactions.users)}
            extra["item_vocabulary"] = manifest["item_vocabulary"]
        log.info("%s: %s", part, ", ".join(f"{key} {value}" for key, value in facts.items()))
    return report


def _warn_of_seen(part: str, facts: Mapping[str, Any]) -> None:
    seen, count = facts["seen_before"], facts["interactions"]
    if not seen:
        return
    text = (
        f"{part}: of {seen} of {count} interactions the user had seen the item before that part: "
        f"they are no targets, since models are judged by items that are new to a user. Which "
        f"events mean that an item was seen: build_interactions.seen_event_types"
    )
    if seen == count:
        raise DataError(text)
    log.log(logging.WARNING if seen > _MANY * count else logging.INFO, text)


if __name__ == "__main__":
    execute(run)
