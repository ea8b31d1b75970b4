"""Look at the outside world once: write down which raw files this run is made from.

Paths, sizes and SHA-256 of the logs that `list_raw` in params.yaml names, and the ids that an
earlier run has given indices to. Everything after this step works from these. Checksums of
unchanged files are remembered from run to run.
"""

import argparse
import logging
import shutil
from pathlib import Path

from diffrec_core.common.artifacts import canonical_json, write_json
from diffrec_core.ingestion.checksums import ChecksumCache
from diffrec_core.ingestion.raw_files import (
    KNOWN_IDS_SCHEMA,
    VOCABULARIES,
    ListRawConfig,
    list_raw_files,
)
from pipeline_steps.runtime.command import Step, execute

log = logging.getLogger("pipeline")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say where the list goes and where checksums are remembered."""
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="the raw manifest")
    parser.add_argument(
        "--known-ids", type=Path, metavar="FOLDER", help="the ids known before: a folder to write"
    )
    parser.add_argument(
        "--checksum-cache",
        type=Path,
        default=Path(".checkpoints/raw_checksums.json"),
        metavar="FILE",
        help="remembers the checksums of unchanged files (default: %(default)s)",
    )


def run(step: Step) -> None:
    """List the raw files."""
    config = step.section("list_raw", ListRawConfig)
    checksums = ChecksumCache.load(step.args.checksum_cache)
    manifest = list_raw_files(config, checksums)
    write_json(step.args.out, manifest.to_json())
    if step.args.known_ids:
        _write_known_ids(step, config.known_ids)
    write_json(step.args.checksum_cache, checksums.to_json())
    size = sum(file.size for file in manifest.logs)
    step.report.update(
        files=len(manifest.logs),
        empty_files=len(manifest.empty),
        bytes=size,
        titles=manifest.titles.path if manifest.titles else None,
        checksums=dict(checksums.lookups),
    )
    log.info(
        "%d raw files, %.1f MiB; %s titles file",
        len(manifest.logs),
        size / 2**20,
        "with a" if manifest.titles else "no",
    )
    log.debug("%s", canonical_json(manifest.to_json()))


def _write_known_ids(step: Step, folder: str | None) -> None:
    """Copy the vocabularies of a folder of interactions; without one, there are none."""
    inputs = {} if folder is None else {"interactions": Path(folder)}
    with step.output(step.args.known_ids, schema=KNOWN_IDS_SCHEMA, params={}, inputs=inputs) as (
        directory,
        _,
    ):
        for source in inputs.values():
            for name in VOCABULARIES:
                shutil.copyfile(source / name, directory / name)


if __name__ == "__main__":
    execute(run, add_arguments, __doc__)
