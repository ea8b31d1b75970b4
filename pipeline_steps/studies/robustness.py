"""Retrain models on noisier and noisier data, and see how much worse they rank clean test data.

Off unless `robustness.models` names some. Noise is added to train and validation: random pairs of
users and items, and natural noise, the events that `build_interactions.min_value` left out.
Finished fits are kept: a killed run goes on where it stopped.

Reads params.yaml: seed, robustness, train, pretrain_item_embeddings, cluster_items,
build_interactions.min_value, evaluate.batch_size; settings that `tune` found go before those of
`train`, as they do for the step of that name.
"""

import argparse
from pathlib import Path
from typing import Annotated

from pydantic import Field, Strict

from diffrec_core.common.artifacts import write_text
from diffrec_core.common.config import Config, StringTuple
from diffrec_core.data.splits import PARTS
from pipeline_steps.runtime.command import Step, execute

HEADER = "model,noise,share,seed,recall@20,ndcg@20"

Shares = Annotated[
    tuple[Annotated[float, Field(gt=0.0, le=5.0)], ...], Strict(strict=False), Field(max_length=20)
]


class RobustnessConfig(Config):
    """Which models are retrained, and on how much noise."""

    models: StringTuple = ()
    """Entries under `models`; none: the step does nothing."""

    random_shares: Shares = (0.1, 0.2, 0.3, 0.4, 0.5)
    """Random pairs added, as shares of the number of interactions."""

    natural: bool = True
    """Also add what users had and rated below `build_interactions.min_value`."""

    seeds: int = Field(default=3, ge=1)
    """Fits of each model on each noise, for the error bars."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare where the data lie."""
    parser.add_argument("--events", type=Path, required=True, help="for natural noise")
    parser.add_argument("--interactions", type=Path, required=True, help="for the vocabulary")
    for part in PARTS:
        parser.add_argument(f"--{part}", type=Path, required=True, help=f"{part} part")
    parser.add_argument("--tuned", type=Path, help="folder of settings that `tune` found")
    parser.add_argument("--out", type=Path, required=True, help="folder to write: rows, pictures")
    parser.add_argument("--kept", type=Path, default=Path(".robustness/rows.json"), metavar="FILE")


def run(step: Step) -> None:
    """Retrain what is asked for, or write that nothing was."""
    config = step.section("robustness", RobustnessConfig)
    if config.models:
        # torch takes seconds to load, which a stage that is off can do without
        from pipeline_steps.studies.noise_study import retrain  # noqa: PLC0415

        retrain(step, config)
        return
    write_text(step.args.out / "rows.csv", HEADER + "\n")


if __name__ == "__main__":
    execute(run, add_arguments, __doc__)
