"""The raw manifest: the files that a run is made from, and whether they are still the same."""

import logging
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

from diffrec_core.common.artifacts import read_json
from diffrec_core.common.errors import ArtifactError, DataError
from diffrec_core.data.schema import RAW_MANIFEST_SCHEMA
from diffrec_core.ingestion.raw_bytes import is_plain_text, last_line_end, sha256_of_starts

log = logging.getLogger(__name__)

_LIST_AGAIN: Final = (
    "Run the pipeline again from list_raw, which lists the files anew: `dvc repro`, or in Airflow "
    "clear the task list_raw and all after it"
)


@dataclass(frozen=True, slots=True)
class RawFile:
    """A raw file as `list_raw` saw it.

    Attributes:
        path: as it was given or found, with forward slashes; relative ones stay relative.
        size: how many of its first bytes the run reads; whole lines where it is being written.
        sha256: of these bytes, in hexadecimal.
    """

    path: str
    size: int
    sha256: str

    def check_unchanged(self, *, may_grow: bool = False) -> "RawFile":
        """Check that the file is still the one that was listed; return what to read of it.

        Args:
            may_grow: lines may have been appended: the listed bytes are as they were. If they end
                in the middle of a line, that line was unfinished and is left to a later run.

        Raises:
            DataError: it is gone, cannot be read, or its size or its bytes have changed.
        """
        path = Path(self.path)
        if not path.is_file():
            raise DataError(f"{path} was listed by list_raw and is gone. {_LIST_AGAIN}")
        size = path.stat().st_size
        if size < self.size or (size > self.size and not may_grow):
            raise DataError(
                f"{path} has changed since list_raw: {size} bytes now, {self.size} listed. "
                f"{_LIST_AGAIN}"
            )
        if self._checksum() != self.sha256:
            raise DataError(
                f"{path} has changed since list_raw: its SHA-256 differs. {_LIST_AGAIN}"
            )
        if size == self.size:
            return self
        log.info("%s has grown since list_raw: the rest is left to a later run", path)
        return replace(self, size=last_line_end(path, self.size)) if is_plain_text(path) else self

    def _checksum(self) -> str:
        try:
            return sha256_of_starts(Path(self.path), self.size)[0]
        except OSError as error:
            raise DataError(
                f"{self.path} cannot be read ({error.strerror}): check its permission"
            ) from error


@dataclass(frozen=True, slots=True)
class RawManifest:
    """The run's raw material.

    Attributes:
        logs: the logs that hold something, sorted by path.
        titles: the titles file, if any.
        empty: paths of the logs that held nothing, not even a whole line.
    """

    logs: tuple[RawFile, ...]
    titles: RawFile | None = None
    empty: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return the manifest's content, for `write_json`."""
        return {
            "schema": RAW_MANIFEST_SCHEMA,
            "logs": [asdict(file) for file in self.logs],
            "titles": asdict(self.titles) if self.titles else None,
            "empty": list(self.empty),
        }


def read_raw_manifest(path: Path) -> RawManifest:
    """Read what `list_raw` wrote.

    Raises:
        ArtifactError: the file is missing, is not JSON or is not a raw manifest.
    """
    content = read_json(path)
    try:
        if content["schema"] != RAW_MANIFEST_SCHEMA:
            raise ArtifactError(
                f"{path} has schema {content['schema']!r}, expected "
                f"{RAW_MANIFEST_SCHEMA!r}: re-run list_raw"
            )
        titles = RawFile(**content["titles"]) if content["titles"] else None
        logs = tuple(RawFile(**file) for file in content["logs"])
        return RawManifest(logs, titles, tuple(content.get("empty", ())))
    except (KeyError, TypeError) as error:
        raise ArtifactError(f"{path} is not a raw manifest ({error!r}): re-run list_raw") from error
