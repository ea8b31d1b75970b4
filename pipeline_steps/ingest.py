"""Raw rows to typed events; every rejected row goes to quarantine with its reason.

Writes events by day, the quarantine, and the titles of the items. Nothing is dropped silently:
accepted and rejected rows are checked to add up to the rows read. When more rows are rejected
than `ingest.max_rejected_share` allows, of all or of a single file, the stage fails and leaves the
quarantine to look at. Of a log that has grown since `list_raw`, what was listed is read.
"""

import argparse
import logging
import time
from functools import partial
from pathlib import Path

from diffrec_core.data.schema import EVENTS_SCHEMA, QUARANTINE_SCHEMA, TITLES_SCHEMA
from diffrec_core.ingestion.event_store import EventSpill, quarantine_file, summarise
from diffrec_core.ingestion.ingest import IngestCounts, ingest_logs, read_titles
from diffrec_core.ingestion.raw_manifest import RawFile, read_raw_manifest
from diffrec_core.ingestion.readers import IngestConfig
from pipeline_steps.runtime.command import Step, execute

log = logging.getLogger("pipeline")
_MIB = 2**20


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what is read and where the three outputs go."""
    for name, what in {
        "--raw-manifest": "what list_raw wrote",
        "--events": "folder for accepted rows",
        "--quarantine": "folder for rejected rows",
        "--titles": "folder for the titles of the items",
    }.items():
        parser.add_argument(name, type=Path, required=True, metavar="PATH", help=what)


def run(step: Step) -> None:
    """Ingest the raw files of this run."""
    args, config = step.args, step.section("ingest", IngestConfig)
    manifest = read_raw_manifest(args.raw_manifest)
    logs = tuple(file.check_unchanged(may_grow=config.may_grow) for file in manifest.logs)
    if manifest.titles:
        manifest.titles.check_unchanged()
    output = partial(
        step.output, params=config.model_dump(), inputs={"raw_manifest": args.raw_manifest}
    )
    with output(args.titles, schema=TITLES_SCHEMA) as (folder, _):
        titles = read_titles(manifest.titles, config.titles)
        titles.frame.write_parquet(folder / "titles.parquet")
    with output(args.events, schema=EVENTS_SCHEMA) as (folder, _):
        spill = EventSpill(folder / ".spill")
        with output(args.quarantine, schema=QUARANTINE_SCHEMA) as (rejected, _):
            counts = _read_logs(step, logs, config, spill, rejected / "quarantine.parquet")
        counts.check(config.max_rejected_share, args.quarantine)
        spill.write_partitions(folder)
        events = summarise(folder)
    events.check(counts.accepted, config.timestamp_format)
    step.report.update(counts.to_json(), **events.to_json(), titles=titles.to_json())
    log.info("%d rows accepted, %d rejected", counts.accepted, counts.rejected)
    log.info("%d users, %d items, %s to %s", events.users, events.items, events.first, events.last)


def _read_logs(
    step: Step, logs: tuple[RawFile, ...], config: IngestConfig, spill: EventSpill, path: Path
) -> IngestCounts:
    started = time.perf_counter()
    size = sum(file.size for file in logs)
    with quarantine_file(path) as quarantine, step.progress("MiB read", -(-size // _MIB)) as bar:
        counts = ingest_logs(
            logs,
            config,
            spill,
            quarantine,
            lambda done, rows: bar(-(-done // _MIB), f"{rows} rows"),
        )
    step.report["rows_per_second"] = round(counts.read / (time.perf_counter() - started))
    return counts


if __name__ == "__main__":
    execute(run, add_arguments, __doc__)
