"""Make a run's recommendations the current ones, and mark the run as finished.

`recommend-champion` has uploaded the table under the run's name. It is checked, and then
`recommendations/latest.json` names it: a consumer that reads that file first, and the table that it
names second, sees one whole night or the other.

  published/recommendations/latest.json                        {"run": …, "path": …, …}
  published/recommendations/RUN/recommendations.parquet        user_id, rank, item_id, score

A table of another version is refused: the champion has changed since. If the champion's table of a
later window is the current one, that stays.

Exit codes: 0 published; 99 a newer table is the current one; 2 another version is champion; 4 the
table is missing or damaged; 5 MLflow is unavailable.
"""

import hashlib
import io
import json
import logging
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import polars as pl

from diffrec_core.common.artifacts import canonical_json
from diffrec_core.common.errors import ArtifactError
from diffrec_core.data.schema import RANK, USER_ID
from diffrec_core.data.tables import RECOMMENDATIONS
from pipeline_steps.champion.promotion_store import ChampionMovedError
from pipeline_steps.nights.runs import Run, RunSpec, run_name
from pipeline_steps.nights.settings import settings
from pipeline_steps.nights.store import Store
from pipeline_steps.params.steps import RegisterConfig
from pipeline_steps.registry import versions
from pipeline_steps.registry.tracking import registry
from pipeline_steps.runtime.command import Inputs
from pipeline_steps.shared import SKIPPED

log = logging.getLogger("pipeline")
_LATEST = "recommendations/latest.json"


class PublishInputs(Inputs):
    """The run."""

    run: str
    """The run whose table to publish."""


def run(inputs: PublishInputs, register: RegisterConfig) -> None:
    """Check the table and switch to it.

    Raises:
        ArtifactError: the table is missing, damaged or empty; the current one stays.
        ChampionMovedError: the table was not made by the champion.
    """
    config, name = settings(), run_name(inputs.run)
    run, published = Run.load(config.store, name), config.published
    path = f"recommendations/{name}/recommendations.parquet"
    manifest = _checked(published, path)
    _check_champion(manifest, register.model_name, path)
    current = _current(published)
    if _is_newer(current, manifest, run.spec):
        run.finish()
        log.warning(
            "not published: the champion's %(path)s, of run %(run)s, is of data until %(end)s, "
            "which is later",
            current,
        )
        sys.exit(SKIPPED)
    now = datetime.now(UTC).isoformat(timespec="seconds")
    latest = {**manifest, "path": path, "published": now, "end": _end(run.spec)}
    published.write(_LATEST, canonical_json(latest).encode())
    run.finish()
    log.info("published %s: %d users, %s", path, manifest["users"], manifest["model"])


def _checked(published: Store, path: str) -> dict[str, Any]:
    """The manifest of a table, after the table was checked against it."""
    try:
        text = published.read(f"{path.rpartition('/')[0]}/manifest.json")
        manifest: dict[str, Any] = json.loads(text)
    except ValueError as error:
        raise ArtifactError(f"the manifest of {path} is damaged: {error}") from error
    content = published.read(path)
    if hashlib.sha256(content).hexdigest() != manifest["sha256"]:
        raise ArtifactError(f"{path} fails its checksum: run recommend-champion again")
    check_table(pl.read_parquet(io.BytesIO(content)), manifest, path)
    return manifest


def _check_champion(manifest: Mapping[str, Any], name: str, path: str) -> None:
    """Refuse the table of a version that is no longer champion."""
    with registry():
        champion = versions.aliases(name).get(versions.CHAMPION)
    made = (manifest["model"]["name"], str(manifest["model"]["version"]))
    if made != (name, champion):
        raise ChampionMovedError(
            f"{path} is not the champion's: it was made by {made[0]} version {made[1]}, and the "
            f"champion of {name} is version {champion} now. The current table stays. Run "
            f"recommend and publish of the run again (in Airflow, clear recommend and after)"
        )


def _current(published: Store) -> dict[str, Any]:
    """The content of latest.json; empty if there is none."""
    content = published.read_if_there(_LATEST)
    try:
        current: dict[str, Any] = json.loads(content or b"{}")
    except ValueError:
        log.warning("%s is damaged and is replaced", _LATEST)
        return {}
    return current


def _is_newer(current: Mapping[str, Any], manifest: Mapping[str, Any], spec: RunSpec) -> bool:
    """True if the current table is of the same version and of later data.

    A run that was specified again replaces its own table, whatever its window is now.
    """
    if "end" not in current or current["run"] == spec.run or current["model"] != manifest["model"]:
        return False
    return datetime.fromisoformat(current["end"]) > datetime.fromisoformat(_end(spec))


def _end(spec: RunSpec) -> str:
    """The end of a run's data; of an open window, when the run was specified."""
    return spec.end or spec.created


def check_table(table: pl.DataFrame, manifest: dict[str, object], path: str) -> None:
    """Check that a table of recommendations is what its manifest says.

    Raises:
        ArtifactError: it has other columns or another number of rows, or is empty, or a user's
            ranks are not 1, 2, 3, ….
    """
    if table.schema != RECOMMENDATIONS or len(table) != manifest["rows"] or table.is_empty():
        raise ArtifactError(
            f"{path} has {len(table)} rows of {table.schema}, its manifest says "
            f"{manifest['rows']}: run recommend-champion again"
        )
    ranks = table.select(pl.col(RANK) == pl.int_range(1, pl.len() + 1).over(USER_ID))
    if not ranks[RANK].all():
        raise ArtifactError(f"{path}: ranks do not count from 1: run recommend-champion again")
