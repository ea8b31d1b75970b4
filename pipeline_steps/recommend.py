"""Write the table of recommendations: the best unseen items of every user.

Reads params.yaml: recommend.
"""

import argparse
import logging
from pathlib import Path

from pydantic import Field

from diffrec_core.common.artifacts import read_json
from diffrec_core.common.config import Config
from diffrec_core.data.schema import RECOMMENDATIONS_SCHEMA
from diffrec_core.models.kinds import load
from diffrec_core.serving import RecommendationService
from pipeline_steps.runtime.command import Step, execute
from pipeline_steps.runtime.fitting import prepare_device

log = logging.getLogger("pipeline")


class RecommendConfig(Config):
    """How many, and how."""

    k: int = Field(default=20, ge=1)
    """Items per user; fewer where a user has seen nearly everything."""

    batch_size: int = Field(default=1024, ge=1)
    """Users scored at a time; does not change results."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare where the data lie."""
    parser.add_argument("--model-dir", type=Path, required=True, help="model directory")
    parser.add_argument("--interactions", type=Path, required=True, help="everybody's history")
    parser.add_argument("--registration", type=Path, required=True, help="what `register` wrote")
    parser.add_argument("--out", type=Path, required=True, help="folder to write")


def run(step: Step) -> None:
    """Recommend for every user and write one parquet file."""
    args = step.args
    config = step.section("recommend", RecommendConfig)
    model = load(args.model_dir, prepare_device(step))
    service = RecommendationService.load(model, args.interactions)
    with step.progress("recommend", len(service.users)) as advance:
        table = service.table(
            config.k, batch_size=config.batch_size, on_batch=lambda done: advance(done, "users")
        )
    registration = read_json(args.registration)
    with step.output(
        args.out,
        schema=RECOMMENDATIONS_SCHEMA,
        params=config.model_dump(mode="json"),
        inputs={"model": args.model_dir, "interactions": args.interactions},
    ) as (directory, manifest):
        table.write_parquet(directory / "recommendations.parquet", compression="zstd")
        manifest["model_version"] = {key: registration[key] for key in ("name", "version")}
    step.report = {"users": len(service.users), "rows": len(table)}
    log.info("%d recommendations for %d users", len(table), len(service.users))


if __name__ == "__main__":
    execute(run, add_arguments, __doc__)
