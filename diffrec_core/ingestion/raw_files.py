"""Raw files: which ones a run is made from, and whether they are still the ones that were listed.

Knows no Polars: `list_raw` runs before every pipeline run and must start at once.
"""

import glob
import hashlib
import logging
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, Final

from pydantic import Field, Strict

from diffrec_core.common.artifacts import read_json, sha256_file
from diffrec_core.common.config import Config
from diffrec_core.common.errors import ArtifactError, DataError
from diffrec_core.data.schema import RAW_MANIFEST_SCHEMA as SCHEMA

log = logging.getLogger(__name__)

VOCABULARIES: Final = ("users.parquet", "items.parquet")
_WHAT_TO_DO: Final = (
    "Fetch the sample data with `make sample`, or set list_raw.logs in params.yaml "
    "to the files, folders or patterns of your own logs"
)

_LIST_AGAIN: Final = (
    "Run the pipeline again from list_raw, which lists the files anew: `dvc repro`, or in Airflow "
    "clear the task list_raw and all after it"
)
_BLOCK: Final = 2**20
_GZIP: Final = b"\x1f\x8b"

_Path = Annotated[str, Field(min_length=1)]


class ListRawConfig(Config):
    """Section `list_raw` of params.yaml: where the raw logs are."""

    logs: Annotated[tuple[_Path, ...], Field(min_length=1), Strict(strict=False)]
    """Files, folders (every file below them) or patterns, relative to the project or absolute."""

    titles: _Path | None = None
    """One file that names the items; null: there is none."""

    known_ids: _Path | None = None
    """Folder of interactions, those of the run before, whose ids keep their indices; null: none."""


@dataclass(frozen=True, slots=True)
class RawFile:
    """A raw file as `list_raw` saw it.

    Attributes:
        path: as it was given or found, with forward slashes; relative ones stay relative.
        size: bytes.
        sha256: of its bytes, in hexadecimal.
    """

    path: str
    size: int
    sha256: str

    def check_unchanged(self, *, may_grow: bool = False) -> None:
        """Check that the file is still the one that was listed.

        Args:
            may_grow: lines may have been appended: so many bytes as were listed are as they were.

        Raises:
            DataError: it is gone, or its size or its bytes are other ones.
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
        if _hash(path, self.size) != self.sha256:
            raise DataError(
                f"{path} has changed since list_raw: its SHA-256 differs. {_LIST_AGAIN}"
            )
        if size > self.size:
            _check_line_end(path, self.size)
            log.info("%s has grown since list_raw: the rest is left to a later run", path)


@dataclass(frozen=True, slots=True)
class RawManifest:
    """The run's raw material: the logs, sorted by path, and the titles file, if any."""

    logs: tuple[RawFile, ...]
    titles: RawFile | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the manifest's content, for `write_json`."""
        titles = asdict(self.titles) if self.titles else None
        return {"schema": SCHEMA, "logs": [asdict(file) for file in self.logs], "titles": titles}


def read_raw_manifest(path: Path) -> RawManifest:
    """Read what `list_raw` wrote.

    Raises:
        ArtifactError: the file is missing, is not JSON or is not a raw manifest.
    """
    content = read_json(path)
    try:
        if content["schema"] != SCHEMA:
            raise ArtifactError(
                f"{path} has schema {content['schema']!r}, expected {SCHEMA!r}: re-run list_raw"
            )
        titles = RawFile(**content["titles"]) if content["titles"] else None
        return RawManifest(tuple(RawFile(**file) for file in content["logs"]), titles)
    except (KeyError, TypeError) as error:
        raise ArtifactError(f"{path} is not a raw manifest ({error!r}): re-run list_raw") from error


def list_raw_files(config: ListRawConfig, checksums: "ChecksumCache") -> RawManifest:
    """Find the raw files and take their size and checksum.

    Raises:
        DataError: a path leads nowhere, a folder or pattern holds no file, or a file is empty,
            cannot be read or is being written.
    """
    titles = _titles_path(config.titles) if config.titles is not None else None
    # one entry per real file, under the first of its names: two patterns may meet in one file
    found = {os.path.realpath(path): path for path in sorted(expand(config.logs), reverse=True)}
    if titles is not None and os.path.realpath(titles) in found:
        del found[os.path.realpath(titles)]
        log.info("%s names the items (list_raw.titles) and is not read as a log", titles)
    if not found:
        raise DataError(f"list_raw.logs holds nothing but the titles file. {_WHAT_TO_DO}")
    logs = tuple(checksums.record(path) for path in sorted(found.values()))
    _warn_of_copies(logs)
    return RawManifest(logs, checksums.record(titles) if titles else None)


def expand(patterns: Iterable[str]) -> list[Path]:
    """Turn files, folders and patterns into the files that they mean; hidden ones are skipped.

    Raises:
        DataError: one of them leads to no file; says what was found instead.
    """
    return [file for pattern in patterns for file in _expand_one(pattern)]


def _expand_one(pattern: str) -> list[Path]:
    path = Path(pattern)
    if path.exists():  # before taking it for a pattern: brackets are legal in names
        files = _files_of(path)
        if not files:
            raise DataError(
                f"list_raw.logs: the folder {pattern} holds no files "
                f"(hidden ones do not count). {_WHAT_TO_DO}"
            )
        return files
    if not glob.has_magic(pattern):
        raise DataError(
            f"list_raw.logs: there is nothing at {pattern}; {_nearest(path)}. {_WHAT_TO_DO}"
        )
    # Path.glob takes no absolute pattern
    matches = [Path(match) for match in glob.glob(pattern, recursive=True)]  # noqa: PTH207
    files = [file for match in matches for file in _files_of(match)]
    if not files:
        raise DataError(
            f"list_raw.logs: no file matches {pattern}; {_nearest(path)}. {_WHAT_TO_DO}"
        )
    return files


def _files_of(path: Path) -> list[Path]:
    if path.is_dir():
        return list(_walk(path))
    if not path.is_file():
        raise DataError(f"list_raw.logs: {path} is neither a regular file nor a folder")
    return [path]


def _walk(folder: Path) -> Iterator[Path]:
    for directory, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        files = (Path(directory, name) for name in names if not name.startswith("."))
        yield from (file for file in files if file.is_file())


def _nearest(path: Path) -> str:
    """Say what there is at the nearest existing folder above `path`."""
    folder = next((parent for parent in path.parents if parent.is_dir()), Path())
    names = sorted(entry.name for entry in folder.iterdir() if not entry.name.startswith("."))
    shown = ", ".join(names[:8]) + (", …" if len(names) > 8 else "")
    return f"the nearest folder, {folder.absolute()}, holds {shown or 'nothing'}"


def _titles_path(titles: str) -> Path:
    path = Path(titles)
    if path.is_file():
        return path
    what = "is a folder" if path.is_dir() else f"does not exist; {_nearest(path)}"
    raise DataError(
        f"list_raw.titles: {titles} {what}. Name one file, "
        f"or set list_raw.titles to null to go without titles"
    )


def _warn_of_copies(logs: Iterable[RawFile]) -> None:
    """The same bytes twice are the same events twice: allowed, but rarely meant."""
    names: dict[str, list[str]] = {}
    for file in logs:
        names.setdefault(file.sha256, []).append(file.path)
    for copies in names.values():
        if len(copies) > 1:
            log.warning("files with the same content are all read: %s", ", ".join(copies))


class ChecksumCache:
    """Checksums of files whose path, size and modification time have not changed.

    Args:
        known: what an earlier run remembered: path -> size, mtime_ns and sha256.
    """

    def __init__(self, known: Mapping[str, Mapping[str, Any]] | None = None) -> None:
        self._known = dict(known or {})
        self._seen: dict[str, dict[str, Any]] = {}
        self.lookups: Counter[str] = Counter()

    @classmethod
    def load(cls, path: Path) -> "ChecksumCache":
        """Read a cache file; one that is missing is empty, a corrupt one is empty and warned of."""
        if not path.exists():
            return cls()
        try:
            return cls({name: _entry(**entry) for name, entry in read_json(path)["files"].items()})
        except (ArtifactError, AttributeError, KeyError, TypeError, ValueError) as error:
            log.warning("%s is corrupt and ignored; files are hashed anew (%s)", path, error)
            return cls()

    def to_json(self) -> dict[str, Any]:
        """Return what to remember: the files of this run, so that the cache does not grow."""
        return {"files": self._seen}

    def record(self, path: Path) -> RawFile:
        """Return the file's record, hashing it only when it has changed.

        Raises:
            DataError: the file is empty, cannot be read, or changes while it is hashed.
        """
        name = _name(path)
        before = path.stat()
        if before.st_size == 0:
            raise DataError(f"{name} is empty (0 bytes): fetch it again or leave it out")
        known = self._known.get(name, {})
        same = (known.get("size"), known.get("mtime_ns")) == (before.st_size, before.st_mtime_ns)
        self.lookups["remembered" if same else "hashed"] += 1
        sha256 = str(known["sha256"]) if same else _hash(path)
        after = path.stat()
        if (after.st_size, after.st_mtime_ns) != (before.st_size, before.st_mtime_ns):
            raise DataError(f"{name} is being written: run again when it is complete")
        self._seen[name] = _entry(before.st_size, before.st_mtime_ns, sha256)
        return RawFile(name, before.st_size, sha256)


def _entry(size: int, mtime_ns: int, sha256: str) -> dict[str, Any]:
    """Return one entry of the cache, checked: a wrong checksum would not be noticed later."""
    if len(sha256) != 64 or not set(sha256) <= set("0123456789abcdef"):
        raise ValueError(f"{sha256!r} is not a SHA-256")
    return {"size": size, "mtime_ns": mtime_ns, "sha256": sha256}


def _name(path: Path) -> str:
    name = path.as_posix()
    try:
        name.encode()
    except UnicodeEncodeError as error:
        raise DataError(f"the file name {name!r} is not valid UTF-8: rename it") from error
    return name


def _hash(path: Path, size: int | None = None) -> str:
    """SHA-256 of a file, or of its first bytes."""
    try:
        return sha256_file(path) if size is None else _sha256_of_start(path, size)
    except OSError as error:
        raise DataError(
            f"{path} cannot be read ({error.strerror}): check its permission"
        ) from error


def _sha256_of_start(path: Path, size: int) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(min(_BLOCK, size)):
            digest.update(block)
            size -= len(block)
    return digest.hexdigest()


def _check_line_end(path: Path, size: int) -> None:
    """Refuse a text that was listed while its last line was being written: half a row is none."""
    with path.open("rb") as file:
        is_packed = file.read(len(_GZIP)) == _GZIP
        file.seek(size - 1)
        if not is_packed and file.read(1) != b"\n":
            raise DataError(
                f"{path} has grown since list_raw, which met it in the middle of a line. "
                f"{_LIST_AGAIN}"
            )
