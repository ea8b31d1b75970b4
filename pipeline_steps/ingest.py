"""Raw rows to typed events; every rejected row goes to quarantine with its reason.

Writes events by day, the quarantine, and the titles of the items. Nothing is dropped silently:
accepted, set aside and rejected rows are checked to add up to the rows read. If more rows are
rejected than `ingest.max_rejected_share` allows, of all or of a single file, the stage fails and
leaves the quarantine for inspection. A log that has grown since `list_raw` is read as far as it was
listed. docs/your-logs.md explains the settings.
"""

import logging
import time
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from diffrec_core.data.schema import EVENTS_SCHEMA, QUARANTINE_SCHEMA, TITLES_SCHEMA
from diffrec_core.ingestion.counts import IngestCounts
from diffrec_core.ingestion.event_store import EventSpill, quarantine_file, summarise
from diffrec_core.ingestion.ingest import ingest_logs, read_titles
from diffrec_core.ingestion.layout import IngestConfig
from diffrec_core.ingestion.raw_manifest import RawFile, read_raw_manifest
from diffrec_core.ingestion.validation import Rules
from pipeline_steps.runtime.command import Inputs, Report, execute
from pipeline_steps.runtime.outputs import output_directory
from pipeline_steps.runtime.progress import progress

log = logging.getLogger("pipeline")
_MIB = 2**20


class IngestInputs(Inputs):
    """The raw files and the three outputs."""

    raw_manifest: Path
    """The list of raw files, of list_raw."""

    events: Path
    """Folder to write: accepted rows."""

    quarantine: Path
    """Folder to write: rejected rows."""

    titles: Path
    """Folder to write: the titles of the items."""


def run(inputs: IngestInputs, ingest: IngestConfig) -> Report:
    """Ingest the raw files of this run."""
    manifest = read_raw_manifest(inputs.raw_manifest)
    rules = Rules.of(ingest, manifest.wanted, datetime.now(UTC))
    output = partial(output_directory, config=ingest, inputs={"raw_manifest": inputs.raw_manifest})
    with output(inputs.titles, schema=TITLES_SCHEMA) as (folder, _):
        titles = read_titles(manifest.titles, ingest.titles)
        titles.frame.write_parquet(folder / "titles.parquet")
    with output(inputs.events, schema=EVENTS_SCHEMA) as (folder, _):
        spill = EventSpill(folder / ".spill")
        with output(inputs.quarantine, schema=QUARANTINE_SCHEMA) as (rejected, _):
            path = rejected / "quarantine.parquet"
            counts, rows_per_second = _read_logs(manifest.logs, rules, spill, path)
        counts.check(ingest.max_rejected_share, inputs.quarantine)
        spill.write_partitions(folder)
        events = summarise(folder)
    events.check(counts.accepted, ingest.timestamp_format)
    aside = counts.set_aside.total()
    log.info("%d rows accepted, %d set aside, %d rejected", counts.accepted, aside, counts.rejected)
    for what, count in (*counts.set_aside.items(), *counts.normalised.items()):
        log.info("%s: %d", what, count)
    log.info("%d users, %d items, %s to %s", events.users, events.items, events.first, events.last)
    facts = {**counts.to_json(), **events.to_json()}
    return {**facts, "titles": titles.to_json(), "rows_per_second": rows_per_second}


def _read_logs(
    logs: tuple[RawFile, ...], rules: Rules, spill: EventSpill, path: Path
) -> tuple[IngestCounts, int]:
    """Read all logs; return the counts and the rows read per second."""
    started = time.perf_counter()
    size = sum(file.size for file in logs)
    with quarantine_file(path) as quarantine, progress("MiB read", -(-size // _MIB)) as advance:
        counts = ingest_logs(
            logs,
            rules,
            spill,
            quarantine,
            lambda done, rows: advance(-(-done // _MIB), f"{rows} rows"),
        )
    return counts, round(counts.read / (time.perf_counter() - started))


if __name__ == "__main__":
    execute(run)
