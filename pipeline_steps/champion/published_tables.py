"""Tables of recommendations among what is published: the current one, and those of runs.

published/recommendations/latest.json             names the current table, and what is known of it
published/recommendations/RUN/manifest.json       names the last table that the run has made
published/recommendations/RUN/recommendations-….parquet
"""

import hashlib
import io
import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, get_args

import polars as pl

from diffrec_core.common.errors import ArtifactError
from diffrec_core.data.schema import ITEM_ID, RANK, RECOMMENDATIONS_SCHEMA, SOURCE, USER_ID
from diffrec_core.data.tables import RECOMMENDATIONS, Source
from pipeline_steps.nights.store import Store

log = logging.getLogger("pipeline")

LATEST: Final = "recommendations/latest.json"
"""Name of the file that names the current table."""

_NEEDED = {USER_ID, RANK, ITEM_ID}


@dataclass(frozen=True, slots=True)
class Table:
    """A table of recommendations.

    Attributes:
        path: in the store of what is published.
        manifest: who made it, and from what.
        rows: of RECOMMENDATIONS.
    """

    path: str
    manifest: Mapping[str, Any]
    rows: pl.DataFrame


def current(published: Store) -> dict[str, Any]:
    """The content of latest.json; empty if there is none, or it is damaged."""
    content = published.read_if_there(LATEST)
    try:
        latest: dict[str, Any] = json.loads(content or b"{}")
    except ValueError:
        log.warning("%s is damaged and is replaced", LATEST)
        return {}
    return latest


def current_table(published: Store, latest: Mapping[str, Any]) -> pl.DataFrame | None:
    """The table that latest.json names; None, with a warning, if nobody can read it.

    Args:
        published: what is published.
        latest: the content of latest.json.
    """
    path = str(latest.get("path", ""))
    content = published.read_if_there(path) if path else None
    why = "is missing"
    if content is not None:
        why = "is damaged"
        if hashlib.sha256(content).hexdigest() == latest.get("sha256"):
            table = pl.read_parquet(io.BytesIO(content))
            if set(table.columns) >= _NEEDED and not table.is_empty():
                return table
    log.warning("nothing to compare with: the current table, %s, %s", path or "of latest.json", why)
    return None


def new_table(published: Store, run: str) -> Table:
    """The table of a run, checked against its manifest.

    Raises:
        ArtifactError: it is missing, damaged, empty or of another schema.
    """
    folder = f"recommendations/{run}"
    manifest = _manifest(published, folder)
    path = f"{folder}/{manifest['file']}"
    content = published.read(path)
    if hashlib.sha256(content).hexdigest() != manifest["sha256"]:
        raise ArtifactError(f"{path} fails its checksum: run recommend-champion again")
    table = pl.read_parquet(io.BytesIO(content))
    check_table(table, manifest, path)
    return Table(path, manifest, table)


def _manifest(published: Store, folder: str) -> dict[str, Any]:
    try:
        manifest: dict[str, Any] = json.loads(published.read(f"{folder}/manifest.json"))
    except ValueError as error:
        raise ArtifactError(f"the manifest in {folder} is damaged: {error}") from error
    if manifest.get("schema") != RECOMMENDATIONS_SCHEMA:
        raise ArtifactError(
            f"the table in {folder} has the schema {manifest.get('schema')}, this version of "
            f"publish reads {RECOMMENDATIONS_SCHEMA}: have it made again by this version's code. "
            f"Specify the run again (start-run), then run its stages, recommend and publish; in "
            f"Airflow, clear start_run and after. The current table stays"
        )
    return manifest


def check_table(table: pl.DataFrame, manifest: Mapping[str, object], path: str) -> None:
    """Check that a table of recommendations is what its manifest says.

    Raises:
        ArtifactError: it has other columns or another number of rows, or is empty, a user's ranks
            are not 1, 2, 3, …, or a source is not known.
    """
    if table.schema != RECOMMENDATIONS or len(table) != manifest["rows"] or table.is_empty():
        raise ArtifactError(
            f"{path} has {len(table)} rows of {table.schema}, its manifest says "
            f"{manifest['rows']}: run recommend-champion again"
        )
    ranks = table.select(pl.col(RANK) == pl.int_range(1, pl.len() + 1).over(USER_ID))
    if not ranks[RANK].all():
        raise ArtifactError(f"{path}: ranks do not count from 1: run recommend-champion again")
    unknown = table.filter(~pl.col(SOURCE).is_in(get_args(Source)).fill_null(value=False))
    if len(unknown):
        raise ArtifactError(
            f"{path}: the source {unknown[SOURCE][0]!r} is none of {', '.join(get_args(Source))}: "
            f"run recommend-champion again"
        )
