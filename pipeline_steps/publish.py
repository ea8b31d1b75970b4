"""Make a run's recommendations the current ones, and note that the run came to its end.

The table lies among what is published already, under the run's name. It is checked, and then
`recommendations/latest.json` names it: whoever reads that file first, and the table that it names
second, sees one whole night or the other.

  published/recommendations/latest.json                        {"run": …, "path": …, …}
  published/recommendations/RUN/recommendations.parquet        user_id, rank, item_id, score
"""

import argparse
import hashlib
import io
import json
import logging
from datetime import UTC, datetime
from typing import Any

import polars as pl

from diffrec_core.artifacts import canonical_json
from diffrec_core.data.schema import RANK, RECOMMENDATIONS, USER_ID
from diffrec_core.errors import ArtifactError
from pipeline_steps._runs import Run, run_name
from pipeline_steps._runtime import command_line
from pipeline_steps._settings import settings

log = logging.getLogger("pipeline")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the run."""
    parser.add_argument("--run", required=True, help="whose table to publish")


def main(args: argparse.Namespace) -> None:
    """Check the table and switch to it.

    Raises:
        ArtifactError: the table is missing, damaged or empty; the current one stays.
    """
    found, name = settings(), run_name(args.run)
    folder = f"recommendations/{name}"
    path = f"{folder}/recommendations.parquet"
    manifest = _manifest(found.published.read(f"{folder}/manifest.json"), path)
    content = found.published.read(path)
    if hashlib.sha256(content).hexdigest() != manifest["sha256"]:
        raise ArtifactError(f"{path} fails its checksum: run recommend_champion again")
    check_table(pl.read_parquet(io.BytesIO(content)), manifest, path)
    now = datetime.now(UTC).isoformat(timespec="seconds")
    latest = {**manifest, "path": path, "published": now}
    found.published.write("recommendations/latest.json", canonical_json(latest).encode())
    Run.load(found.store, name).finish()
    log.info("published %s: %d users, %s", path, manifest["users"], manifest["model"])


def _manifest(content: bytes, path: str) -> dict[str, Any]:
    try:
        manifest: dict[str, Any] = json.loads(content)
    except ValueError as error:
        raise ArtifactError(f"the manifest of {path} is damaged: {error}") from error
    return manifest


def check_table(table: pl.DataFrame, manifest: dict[str, object], path: str) -> None:
    """Check that a table of recommendations is what its manifest says.

    Raises:
        ArtifactError: it has other columns or another number of rows, or is empty, or a user's
            ranks do not count 1, 2, 3, ….
    """
    if table.schema != RECOMMENDATIONS or len(table) != manifest["rows"] or table.is_empty():
        raise ArtifactError(
            f"{path} has {len(table)} rows of {table.schema}, its manifest says "
            f"{manifest['rows']}: run recommend_champion again"
        )
    ranks = table.select(pl.col(RANK) == pl.int_range(1, pl.len() + 1).over(USER_ID))
    if not ranks[RANK].all():
        raise ArtifactError(f"{path}: ranks do not count from 1: run recommend_champion again")


if __name__ == "__main__":
    command_line(main, add_arguments, __doc__)
