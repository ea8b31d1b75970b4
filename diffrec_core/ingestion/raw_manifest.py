"""The raw manifest: the files that a run is made from, and whether they are still the same."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final

from pydantic import ConfigDict

from diffrec_core.common.artifacts import read_json
from diffrec_core.common.config import Config, StringTuple, UtcTime
from diffrec_core.common.errors import ArtifactError, DataError
from diffrec_core.data.schema import RAW_MANIFEST_SCHEMA

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

    @contextmanager
    def open(self, *, may_grow: bool = False) -> Iterator[BinaryIO]:
        """Open the file if it still has the bytes that were listed, as far as its size tells.

        Args:
            may_grow: bytes may have been appended.

        Raises:
            DataError: it is gone, cannot be read, is smaller, or is larger and may not be.
        """
        try:
            file = Path(self.path).open("rb")  # noqa: SIM115
        except FileNotFoundError:
            raise DataError(
                f"{self.path} was listed by list_raw and is gone. {_LIST_AGAIN}"
            ) from None
        except OSError as error:
            raise DataError(
                f"{self.path} cannot be read ({error.strerror}): check its permission"
            ) from error
        with file:
            size = os.fstat(file.fileno()).st_size
            if size < self.size or (size > self.size and not may_grow):
                raise self.changed(f"{size} bytes now, {self.size} listed")
            yield file

    def has_grown(self) -> bool:
        """Whether bytes were appended since it was listed."""
        return Path(self.path).stat().st_size > self.size

    def check(self, sha256: str) -> None:
        """Check that what was read is what was listed.

        Raises:
            DataError: the checksum is another one.
        """
        if sha256 != self.sha256:
            raise self.changed("its SHA-256 differs")

    def changed(self, how: str) -> DataError:
        """Return the error for a file that is not the one that was listed."""
        return DataError(f"{self.path} has changed since list_raw: {how}. {_LIST_AGAIN}")


class Wanted(Config):
    """Which events `build_interactions` will keep, of its section: damaged others are no loss."""

    model_config = ConfigDict(extra="ignore")

    event_types: StringTuple | None = None
    """Events of these types; null: all."""

    start: UtcTime | None = None
    """Events from this time on; null: all."""

    end: UtcTime | None = None
    """Events before this time; null: all."""


EVERY_EVENT: Final = Wanted()


@dataclass(frozen=True, slots=True)
class RawManifest:
    """The run's raw material.

    Attributes:
        logs: the logs that hold something, sorted by path.
        titles: the titles file, if any.
        empty: paths of the logs that held nothing, not even a whole line.
        skipped: paths that were passed over, each with the reason.
        wanted: which events the run is about.
    """

    logs: tuple[RawFile, ...]
    titles: RawFile | None = None
    empty: tuple[str, ...] = ()
    skipped: tuple[str, ...] = ()
    wanted: Wanted = EVERY_EVENT

    def to_json(self) -> dict[str, Any]:
        """Return the manifest's content, for `write_json`."""
        return {
            "schema": RAW_MANIFEST_SCHEMA,
            "logs": [asdict(file) for file in self.logs],
            "titles": asdict(self.titles) if self.titles else None,
            "empty": list(self.empty),
            "skipped": list(self.skipped),
            "wanted": self.wanted.model_dump(mode="json"),
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
        wanted = Wanted.model_validate_json(json.dumps(content.get("wanted", {})))
        empty, skipped = (tuple(content.get(name, ())) for name in ("empty", "skipped"))
        return RawManifest(logs, titles, empty, skipped, wanted)
    except (KeyError, TypeError, ValueError) as error:
        raise ArtifactError(f"{path} is not a raw manifest ({error!r}): re-run list_raw") from error
