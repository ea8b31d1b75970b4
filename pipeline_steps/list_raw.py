"""List the raw files of this run, once: every later stage works from the list.

It holds paths, sizes and SHA-256 of the logs that `list_raw` in params.yaml names, and which events
`build_interactions` will keep; beside it go the ids that an earlier run has given indices.
Checksums of unchanged files are cached between runs.
"""

import logging
import shutil
from pathlib import Path

from diffrec_core.common.artifacts import canonical_json, write_json
from diffrec_core.data.schema import KNOWN_IDS_SCHEMA
from diffrec_core.ingestion.checksums import ChecksumCache
from diffrec_core.ingestion.raw_files import (
    VOCABULARIES,
    ListRawConfig,
    list_raw_files,
)
from diffrec_core.ingestion.raw_manifest import Wanted
from pipeline_steps.runtime.command import Inputs, Report, execute
from pipeline_steps.runtime.outputs import output_directory
from pipeline_steps.runtime.sections import read_params

log = logging.getLogger("pipeline")


class ListRawInputs(Inputs):
    """The list, the known ids and the cache of checksums."""

    out: Path
    """The raw manifest to write."""

    known_ids: Path | None = None
    """Folder to write: the ids known before."""

    checksum_cache: Path = Path(".checkpoints/raw_checksums.json")
    """Checksums of unchanged files."""


def run(inputs: ListRawInputs, list_raw: ListRawConfig, params: Path) -> Report:
    """List the raw files."""
    checksums = ChecksumCache.load(inputs.checksum_cache)
    # in the manifest, not read by ingest: so a change of other filters does not read the logs anew
    section = read_params(params).get("build_interactions") or {}
    wanted = Wanted.parse(section, "build_interactions")
    manifest = list_raw_files(list_raw, checksums, wanted)
    write_json(inputs.out, manifest.to_json())
    if inputs.known_ids:
        _write_known_ids(inputs.known_ids, list_raw.known_ids)
    write_json(inputs.checksum_cache, checksums.to_json())
    size = sum(file.size for file in manifest.logs)
    log.info(
        "%d raw files, %.1f MiB; %s titles file",
        len(manifest.logs),
        size / 2**20,
        "with a" if manifest.titles else "no",
    )
    log.debug("%s", canonical_json(manifest.to_json()))
    return {
        "files": len(manifest.logs),
        "empty_files": len(manifest.empty),
        "skipped": list(manifest.skipped),
        "bytes": size,
        "titles": manifest.titles.path if manifest.titles else None,
        "checksums": dict(checksums.lookups),
    }


def _write_known_ids(path: Path, folder: str | None) -> None:
    """Copy the vocabularies of a folder of interactions; without one, there are none."""
    inputs = {} if folder is None else {"interactions": Path(folder)}
    output = output_directory(path, schema=KNOWN_IDS_SCHEMA, config=None, inputs=inputs)
    with output as (directory, _):
        for source in inputs.values():
            for name in VOCABULARIES:
                shutil.copyfile(source / name, directory / name)


if __name__ == "__main__":
    execute(run)
