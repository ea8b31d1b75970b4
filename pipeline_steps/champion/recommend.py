"""Recommend unseen items to every user with the champion, from the histories of this run.

The champion may be older than the run: it recommends the items that it knows. The table is uploaded
to recommendations/RUN; `publish` then makes it the current one. Its file is named after its
content, so a run that recommends again leaves the table that is the current one as it is.
"""

import hashlib
import io
import logging
import tempfile
from pathlib import Path

import polars as pl

from diffrec_core.common.artifacts import canonical_json
from diffrec_core.common.errors import ArtifactError
from diffrec_core.contest.cases import by_external_ids, histories, seen_by_external_ids
from diffrec_core.data.interactions import read_interactions
from diffrec_core.data.schema import (
    ITEM_ID,
    RANK,
    RECOMMENDATIONS_SCHEMA,
    SCORE,
    SOURCE,
    USER_ID,
)
from diffrec_core.data.tables import RECOMMENDATIONS
from pipeline_steps.nights.settings import settings
from pipeline_steps.params.steps import RecommendConfig, RegisterConfig
from pipeline_steps.registry import versions
from pipeline_steps.registry.scoring import ITEM_IDS, SCORES, answer
from pipeline_steps.registry.tracking import tracking
from pipeline_steps.registry.versions import Version
from pipeline_steps.runtime.command import Inputs

log = logging.getLogger("pipeline")


class RecommendChampionInputs(Inputs):
    """The histories and the run."""

    interactions: Path
    """Histories of all users."""

    run: str
    """Name of the run and of the folder to write."""


def run(
    inputs: RecommendChampionInputs, recommend: RecommendConfig, register: RegisterConfig
) -> None:
    """Ask the champion; upload its answers and their manifest.

    Raises:
        ArtifactError: there is no champion.
    """
    known, repeats = read_interactions(inputs.interactions), recommend.repeats
    cases = histories(by_external_ids(known), seen_by_external_ids(known), repeats)
    with tracking(register.experiment), tempfile.TemporaryDirectory() as folder:
        champion = versions.by_alias(register.model_name, versions.CHAMPION)
        if champion is None:
            raise ArtifactError(
                f"{register.model_name} has no champion: `python -m pipeline_steps promote VERSION "
                f"--reason TEXT` makes one, and so does a night whose gate promotes"
            )
        answers = answer(
            cases, champion.uri, recommend.k, Path(folder), exclude_history=repeats == "never"
        )
    _upload(recommendations(answers), inputs.run, champion)


def _upload(table: pl.DataFrame, run: str, champion: Version) -> None:
    """Upload a table, and its manifest after it."""
    content = io.BytesIO()
    table.write_parquet(content, compression="zstd")
    sha256 = hashlib.sha256(content.getbuffer()).hexdigest()
    manifest = {
        "schema": RECOMMENDATIONS_SCHEMA,
        "run": run,
        "file": f"recommendations-{sha256[:12]}.parquet",
        "model": {"name": champion.name, "version": champion.number},
        "recipe": champion.tags.get("model"),
        "users": table[USER_ID].n_unique(),
        "rows": len(table),
        "sha256": sha256,
    }
    settings().published.write_all(
        {
            f"recommendations/{run}/{manifest['file']}": content.getvalue(),
            f"recommendations/{run}/manifest.json": canonical_json(manifest).encode(),
        }
    )
    log.info("%(rows)d recommendations for %(users)d users", manifest)


def recommendations(answers: pl.DataFrame) -> pl.DataFrame:
    """Lists of items and scores as the RECOMMENDATIONS table, ranks from 1.

    Args:
        answers: a row per user: `user_id`, `item_ids`, best first, their `scores`, and `source`.
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
            pl.col(SOURCE),
        )
        .match_to_schema(RECOMMENDATIONS)
    )
