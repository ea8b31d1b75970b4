"""Make a run's recommendations the current ones, and mark the run as finished.

`recommend-champion` has uploaded the table under the run's name. It is checked and compared with
the current one, and then `recommendations/latest.json` names it: a consumer that reads that file
first, and the table that it names second, sees one whole night or the other.

  published/recommendations/latest.json          {"run": …, "path": …, "end": …, "changes": …, …}
  published/recommendations/RUN/….parquet        user_id, rank, item_id, score, source
  published/recommendations/RUN/changes.json     what the table changes, published or not

A table that is outside of a bound of the section `publish` is not published: the current one stays.
If the change is right, say why:

  python -m pipeline_steps publish --run RUN --accept "half of the catalogue was replaced"

A table of another version is refused: the champion has changed since. If the champion's table of a
later window is the current one, that stays.

Exit codes: 0 published; 99 a newer table is the current one; 2 another version is champion; 4 the
table is missing, damaged or of another schema; 5 MLflow is unavailable; 7 outside of a bound.
"""

import logging
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import Field

from diffrec_core.common.artifacts import canonical_json
from diffrec_core.common.errors import AlarmError
from diffrec_core.contest.config import PublishConfig
from pipeline_steps.champion.promotion_store import ChampionMovedError
from pipeline_steps.champion.published_tables import LATEST, Table, current, new_table
from pipeline_steps.champion.table_comparison import compare_with_current
from pipeline_steps.nights.runs import Run, RunSpec, run_name
from pipeline_steps.nights.settings import settings
from pipeline_steps.nights.store import Store
from pipeline_steps.params.steps import RegisterConfig
from pipeline_steps.registry import versions
from pipeline_steps.registry.tracking import registry
from pipeline_steps.runtime.command import Inputs
from pipeline_steps.shared import SKIPPED

log = logging.getLogger("pipeline")
_NEWER = (
    "not published: the champion's %(path)s, of run %(run)s, is of data until %(end)s, which is "
    "later"
)


class TableHeldError(AlarmError):
    """A table is outside of a bound, and is not published."""


class PublishInputs(Inputs):
    """The run."""

    run: str
    """The run whose table to publish."""

    accept: Annotated[str, Field(min_length=1)] | None = None
    """Publish it though it is outside of a bound: why, recorded in latest.json."""


def run(inputs: PublishInputs, register: RegisterConfig, publish: PublishConfig) -> None:
    """Check and compare the table, and switch to it.

    Raises:
        ArtifactError: the table is missing, damaged or empty; the current one stays.
        ChampionMovedError: the table was not made by the champion.
        TableHeldError: it is outside of a bound.
    """
    config, name = settings(), run_name(inputs.run)
    run, published = Run.load(config.store, name), config.published
    table, latest = new_table(published, name), current(published)
    _check_champion(table, register.model_name)
    if _is_newer(latest, table, run.spec):
        run.finish()
        log.warning(_NEWER, latest)
        sys.exit(SKIPPED)
    facts = _judged(published, latest, table, publish, inputs)
    now = datetime.now(UTC).isoformat(timespec="seconds")
    named = {"path": table.path, "published": now, "end": _end(run.spec)}
    published.write(LATEST, canonical_json({**table.manifest, **facts, **named}).encode())
    run.finish()
    log.info("published %s: %d users", table.path, table.manifest["users"])


def _check_champion(table: Table, name: str) -> None:
    """Refuse the table of a version that is no longer champion."""
    with registry():
        champion = versions.aliases(name).get(versions.CHAMPION)
    made = (table.manifest["model"]["name"], str(table.manifest["model"]["version"]))
    if made != (name, champion):
        raise ChampionMovedError(
            f"{table.path} is not the champion's: it was made by {made[0]} version {made[1]}, and "
            f"the champion of {name} is version {champion} now. The current table stays. Run "
            f"recommend and publish of the run again (in Airflow, clear recommend and after)"
        )


def _is_newer(latest: Mapping[str, Any], table: Table, spec: RunSpec) -> bool:
    """True if the current table is of the same version and of later data.

    A run that was specified again replaces its own table, whatever its window is now.
    """
    if "end" not in latest or latest["run"] == spec.run:
        return False
    if latest["model"] != table.manifest["model"]:
        return False
    return datetime.fromisoformat(latest["end"]) > datetime.fromisoformat(_end(spec))


def _end(spec: RunSpec) -> str:
    """The end of a run's data; of an open window, when the run was specified."""
    return spec.end or spec.created


def _judged(
    published: Store,
    latest: Mapping[str, Any],
    table: Table,
    limits: PublishConfig,
    inputs: PublishInputs,
) -> dict[str, Any]:
    """What the table changes in the current one, and what a person has accepted, if need be."""
    if latest.get("path") == table.path:  # it is current already: what was found then still holds
        return {key: latest.get(key) for key in ("changes", "accepted")}
    compared = compare_with_current(published, latest, table, limits)
    outside = [f"publish.{guard.key}: {guard}" for guard in compared.outside]
    if outside and not inputs.accept:
        raise TableHeldError(_held(table.path, compared.run, outside, inputs.run))
    if not inputs.accept:
        return {"changes": compared.changes, "accepted": None}
    log.warning("accepted (%s): %s", inputs.accept, "; ".join(outside) or "every bound is kept")
    accepted = {"reason": inputs.accept, "outside": outside}
    return {"changes": compared.changes, "accepted": accepted}


def _held(path: str, current: str | None, outside: Sequence[str], run: str) -> str:
    """The message about a table that is outside of bounds."""
    said = "\n  ".join(outside)
    return (
        f"{path} is not published: it is too far from the current table, of run {current}, which "
        f"stays:\n  {said}\n"
        f"Are data or model at fault? Correct them, and run recommend and publish again (in "
        f"Airflow, clear what was wrong and after). Is the change right? Publish the table with\n"
        f'  python -m pipeline_steps publish --run {run} --accept "why"\n'
        f"or, where it will happen again, change the bound, for the runs from then on; null: none. "
        f"docs/runbook.md#a-table-was-not-published says more"
    )
