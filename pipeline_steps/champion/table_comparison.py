"""A new table of recommendations beside the current one: figures, and bounds that are not kept."""

import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from diffrec_core.common.artifacts import canonical_json
from diffrec_core.contest.config import PublishConfig
from diffrec_core.contest.guards import Guard
from diffrec_core.contest.table_changes import check_changes, compare_tables
from pipeline_steps.champion.published_tables import Table, current_table
from pipeline_steps.nights.store import Store

log = logging.getLogger("pipeline")


@dataclass(frozen=True, slots=True)
class Compared:
    """The result of a comparison.

    Attributes:
        run: of the current table; None if there is none.
        changes: the figures, as they are published; None if there was nothing to compare with.
        outside: bounds that the new table does not keep.
    """

    run: str | None = None
    changes: Mapping[str, Any] | None = None
    outside: tuple[Guard, ...] = ()


def compare_with_current(
    published: Store,
    latest: Mapping[str, Any],
    new: Table,
    limits: PublishConfig,
) -> Compared:
    """Compare a table with the current one, log the figures and upload them beside the table.

    Args:
        published: what is published.
        latest: the content of latest.json; empty if there is none.
        new: the new table.
        limits: the section `publish`.
    """
    before = current_table(published, latest) if latest else None
    if before is None:
        return Compared()
    found = compare_tables(before, new.rows)
    log.info("compared with the current table, of run %s: %s", latest.get("run"), found)
    guards = check_changes(found, limits, expects_overlap=_expects_overlap(latest, new.manifest))
    changes = {
        "compared_with": {key: latest.get(key) for key in ("run", "path", "model", "end")},
        "figures": asdict(found),
        "bounds": [asdict(guard) for guard in guards],
    }
    content = canonical_json({"path": new.path, **changes}).encode()
    published.write(f"{new.path.rpartition('/')[0]}/changes.json", content)
    outside = tuple(guard for guard in guards if not guard.kept)
    return Compared(latest.get("run"), changes, outside)


def _expects_overlap(latest: Mapping[str, Any], manifest: Mapping[str, Any]) -> bool:
    """True unless another recipe answers now, or an older version: somebody has rolled back.

    Tables that do not say their recipe are taken to be of one.
    """
    recipes = {latest.get("recipe"), manifest.get("recipe")} - {None}
    before, now = latest.get("model") or {}, manifest["model"]
    older = before.get("name") == now["name"] and int(now["version"]) < int(before["version"])
    return len(recipes) < 2 and not older
