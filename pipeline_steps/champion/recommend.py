"""The champion's best unseen items for every user, from the histories of this run.

The champion may be older than the run: its items are those that it knows, its histories are
tonight's. Written to RUN/ among what is published; `publish` then makes it the current table.
"""

import logging
import tempfile
from pathlib import Path

import polars as pl

from diffrec_core.common.artifacts import canonical_json, sha256_file
from diffrec_core.common.errors import ArtifactError
from diffrec_core.contest.cases import by_external_ids, histories
from diffrec_core.data.interactions import read_interactions
from diffrec_core.data.schema import ITEM_ID, RANK, RECOMMENDATIONS_SCHEMA, SCORE, USER_ID
from diffrec_core.data.tables import RECOMMENDATIONS
from pipeline_steps.nights.settings import settings
from pipeline_steps.params.steps import RecommendConfig, RegisterConfig
from pipeline_steps.registry import versions
from pipeline_steps.registry.scoring import ITEM_IDS, SCORES, answer
from pipeline_steps.registry.tracking import tracking
from pipeline_steps.runtime.command import Inputs

log = logging.getLogger("pipeline")


class RecommendChampionInputs(Inputs):
    """The histories and the run."""

    interactions: Path
    """Everybody's history."""

    run: str
    """Name of the run, for the folder to write."""


def run(
    inputs: RecommendChampionInputs, recommend: RecommendConfig, register: RegisterConfig
) -> None:
    """Ask the champion, write its answers and what they are.

    Raises:
        ArtifactError: there is no champion.
    """
    published = settings().published
    cases = histories(by_external_ids(read_interactions(inputs.interactions)))
    with tracking(register.experiment) as uri, tempfile.TemporaryDirectory() as folder:
        champion = versions.by_alias(register.model_name, versions.CHAMPION)
        if champion is None:
            raise ArtifactError(
                f"{register.model_name} has no champion: `python -m pipeline_steps promote VERSION "
                f"--reason TEXT` makes one, and so does a night whose gate promotes"
            )
        answers, _ = answer(cases, champion.uri, recommend.k, Path(folder), tracking_uri=uri)
        path = Path(folder) / "recommendations.parquet"
        table = recommendations(answers)
        table.write_parquet(path, compression="zstd")
        manifest = {
            "schema": RECOMMENDATIONS_SCHEMA,
            "run": inputs.run,
            "model": {"name": champion.name, "version": champion.number},
            "users": table[USER_ID].n_unique(),
            "rows": len(table),
            "sha256": sha256_file(path),
        }
        folder_name = f"recommendations/{inputs.run}"
        published.upload(f"{folder_name}/recommendations.parquet", path)
        published.write(f"{folder_name}/manifest.json", canonical_json(manifest).encode())
    log.info("%(rows)d recommendations for %(users)d users", manifest)


def recommendations(answers: pl.DataFrame) -> pl.DataFrame:
    """Lists of items and scores as the RECOMMENDATIONS table, ranks from 1.

    Args:
        answers: a row per user: `user_id`, `item_ids`, best first, and their `scores`.
    """
    return (
        answers.filter(pl.col(ITEM_IDS).list.len() > 0)
        .with_columns(pl.int_ranges(1, pl.col(ITEM_IDS).list.len() + 1).alias(RANK))
        .explode(ITEM_IDS, SCORES, RANK)
        .select(
            pl.col(USER_ID),
            pl.col(RANK).cast(pl.Int32),
            pl.col(ITEM_IDS).alias(ITEM_ID),
            pl.col(SCORES).cast(pl.Float32).alias(SCORE),
        )
        .match_to_schema(RECOMMENDATIONS)
    )
