"""Write the table of recommendations: every user's best items of those not seen."""

import logging
from pathlib import Path

from diffrec_core.common.artifacts import read_json
from diffrec_core.data.schema import RECOMMENDATIONS_SCHEMA
from diffrec_core.models.kinds import load
from diffrec_core.serving import RecommendationService
from pipeline_steps.params.steps import RecommendConfig
from pipeline_steps.runtime.command import Inputs, Report, execute
from pipeline_steps.runtime.config import RuntimeConfig
from pipeline_steps.runtime.outputs import output_directory
from pipeline_steps.runtime.processes import prepare_device
from pipeline_steps.runtime.progress import progress

log = logging.getLogger("pipeline")


class RecommendInputs(Inputs):
    """The model, the histories and the output."""

    model_dir: Path
    """Model directory."""

    interactions: Path
    """Everybody's history."""

    registration: Path
    """The registration, of `register`."""

    out: Path
    """Folder to write."""


def run(inputs: RecommendInputs, recommend: RecommendConfig, runtime: RuntimeConfig) -> Report:
    """Recommend for every user and write one parquet file."""
    model = load(inputs.model_dir, prepare_device(runtime))
    service = RecommendationService.load(model, inputs.interactions, recommend.repeats)
    with progress("recommend", len(service.users)) as advance:
        table = service.table(
            recommend.k,
            batch_size=recommend.batch_size,
            on_batch=lambda done: advance(done, "users"),
        )
    registration = read_json(inputs.registration)
    with output_directory(
        inputs.out,
        schema=RECOMMENDATIONS_SCHEMA,
        config=recommend,
        inputs={"model": inputs.model_dir, "interactions": inputs.interactions},
    ) as (directory, manifest):
        table.write_parquet(directory / "recommendations.parquet", compression="zstd")
        manifest["model_version"] = {key: registration[key] for key in ("name", "version")}
    log.info("%d recommendations for %d users", len(table), len(service.users))
    return {"users": len(service.users), "rows": len(table)}


if __name__ == "__main__":
    execute(run)
