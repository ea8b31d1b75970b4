"""Fit one model on the training part; the validation part says when to stop.

Reads params.yaml: seed, train.<model>; settings that `tune` found go before.
"""

import argparse
from pathlib import Path
from typing import Any

from diffrec_core.artifacts import read_json
from diffrec_core.config import lookup
from diffrec_core.models.registry import create
from diffrec_core.search_space import with_value
from pipeline_steps._runtime import Step, execute
from pipeline_steps._training import (
    fit_and_save,
    prepare_device,
    read_training_data,
    write_curves,
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the model and where the data lie."""
    parser.add_argument("--model", required=True, help="an entry under `train` in params.yaml")
    parser.add_argument("--interactions", type=Path, required=True, help="for the vocabulary")
    parser.add_argument("--train", type=Path, required=True, help="training part")
    parser.add_argument("--validation", type=Path, required=True, help="validation part")
    parser.add_argument("--item-clusters", type=Path, required=True, help="read by latent models")
    parser.add_argument("--tuned", type=Path, help="settings that `tune` found, if it looked")
    parser.add_argument("--out", type=Path, required=True, help="model directory to write")
    parser.add_argument("--curves", type=Path, required=True, help="CSV of losses to write")


def run(step: Step) -> None:
    """Fit the model and write its directory, curves and report."""
    args = step.args
    key = f"train.{args.model}"
    section = _tuned(lookup(step.params, key), args.tuned)
    model = create(section, key, prepare_device(step))
    data, inputs = read_training_data(step, model)
    report = fit_and_save(step, f"train/{args.model}", model, data, inputs=inputs)
    write_curves(args.curves, report)


def _tuned(section: dict[str, Any], path: Path | None) -> dict[str, Any]:
    """The section with the settings that `tune` found, if it looked for any."""
    for key, value in (read_json(path)["settings"] if path else {}).items():
        section = with_value(section, key, value)
    return section


if __name__ == "__main__":
    execute(run, add_arguments, __doc__)
