"""Look for better settings of one model than those in params.yaml; off unless `tune.enabled`.

Writes the best settings, which `train` then uses (none when off), and the trials as CSV and
pictures. Validation alone judges. A killed study goes on where it stopped.

Reads params.yaml: seed, tune, train.<model>, select.metric, evaluate.batch_size.
"""

import argparse
from pathlib import Path

from pydantic import Field

from diffrec_core.common.artifacts import write_json, write_text
from diffrec_core.common.config import Config, StringTuple
from pipeline_steps.runtime.command import Step, execute


class TuneConfig(Config):
    """Whether and how long to look; the budget is the same for every model."""

    enabled: bool = False
    """Off: models are trained as params.yaml says."""

    models: StringTuple | None = None
    """Entries under `models`; null: all."""

    trials: int | None = Field(default=20, ge=1)
    """Settings to try for each model, those of params.yaml first; null: no limit."""

    seconds: float | None = Field(default=None, gt=0.0)
    """Begin no trial of a model after so many seconds in its trials, and end the one under way at
    its next validation if another is complete; null: no limit."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the model and where the data lie."""
    parser.add_argument("--model", required=True, help="an entry under `train` in params.yaml")
    parser.add_argument("--interactions", type=Path, required=True, help="for the vocabulary")
    parser.add_argument("--train", type=Path, required=True, help="training part")
    parser.add_argument("--validation", type=Path, required=True, help="validation part")
    parser.add_argument("--item-clusters", type=Path, required=True, help="read by latent models")
    parser.add_argument("--out", type=Path, required=True, help="best settings to write, as JSON")
    parser.add_argument("--trials", type=Path, required=True, help="folder to write trials to")
    parser.add_argument(
        "--study", type=Path, default=Path(".tuning/studies.db"), help="SQLite file of the trials"
    )


def run(step: Step) -> None:
    """Tune the model, or write that there is nothing to change."""
    config = step.section("tune", TuneConfig)
    name = step.args.model
    if config.enabled and (config.models is None or name in config.models):
        # torch, MLflow and Optuna take seconds to load, which a stage that is off can do without
        from pipeline_steps.studies.tuning import tune  # noqa: PLC0415

        tune(step, trials=config.trials, seconds=config.seconds)
        return
    write_json(step.args.out, {"model": name, "settings": {}})
    write_text(step.args.trials / "trials.csv", "")


if __name__ == "__main__":
    execute(run, add_arguments, __doc__)
