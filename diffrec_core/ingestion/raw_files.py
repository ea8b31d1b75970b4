"""Raw files: which ones a run is made from.

Knows no Polars: `list_raw` runs before every pipeline run and must start at once.
"""

import glob
import logging
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Final

from pydantic import Field, Strict

from diffrec_core.common.config import Config
from diffrec_core.common.errors import DataError
from diffrec_core.ingestion.checksums import ChecksumCache
from diffrec_core.ingestion.raw_manifest import RawFile, RawManifest

log = logging.getLogger(__name__)

VOCABULARIES: Final = ("users.parquet", "items.parquet")
_WHAT_TO_DO: Final = (
    "Fetch the sample data with `make sample`, or set list_raw.logs in params.yaml "
    "to the files, folders or patterns of your own logs"
)

_Path = Annotated[str, Field(min_length=1)]


class ListRawConfig(Config):
    """Section `list_raw` of params.yaml: where the raw logs are."""

    logs: Annotated[tuple[_Path, ...], Field(min_length=1), Strict(strict=False)]
    """Files, folders (every file below them) or patterns, relative to the project or absolute."""

    titles: _Path | None = None
    """One file that names the items; null: there is none."""

    known_ids: _Path | None = None
    """Folder of interactions, those of the run before, whose ids keep their indices; null: none."""


def list_raw_files(config: ListRawConfig, checksums: ChecksumCache) -> RawManifest:
    """Find the raw files and take their size and checksum.

    Raises:
        DataError: a path leads nowhere, a folder or pattern holds no file, a file cannot be read,
            or the titles file or all logs are empty.
        StorageError: a file changes while it is listed, other than a text that grows.
    """
    titles = _titles_path(config.titles) if config.titles is not None else None
    # one entry per real file, under the first of its names: two patterns may meet in one file
    found = {os.path.realpath(path): path for path in sorted(expand(config.logs), reverse=True)}
    if titles is not None and os.path.realpath(titles) in found:
        del found[os.path.realpath(titles)]
        log.info("%s names the items (list_raw.titles) and is not read as a log", titles)
    if not found:
        raise DataError(f"list_raw.logs holds nothing but the titles file. {_WHAT_TO_DO}")
    recorded = [checksums.record(path) for path in sorted(found.values())]
    logs = tuple(file for file in recorded if file.size)
    empty = tuple(file.path for file in recorded if not file.size)
    if not logs:
        raise DataError(f"list_raw.logs holds empty files only: {_some(empty)}. {_WHAT_TO_DO}")
    if empty:
        log.warning("%d empty files are skipped: %s", len(empty), _some(empty))
    _warn_of_copies(logs)
    return RawManifest(logs, _record_titles(titles, checksums) if titles else None, empty)


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
    return f"the nearest folder, {folder.absolute()}, holds {_some(names) or 'nothing'}"


def _some(names: Sequence[str]) -> str:
    """The first few names."""
    return ", ".join(names[:8]) + (", …" if len(names) > 8 else "")


def _titles_path(titles: str) -> Path:
    path = Path(titles)
    if path.is_file():
        return path
    what = "is a folder" if path.is_dir() else f"does not exist; {_nearest(path)}"
    raise DataError(
        f"list_raw.titles: {titles} {what}. Name one file, "
        f"or set list_raw.titles to null to go without titles"
    )


def _record_titles(path: Path, checksums: ChecksumCache) -> RawFile:
    titles = checksums.record(path, may_grow=False)
    if not titles.size:
        raise DataError(
            f"list_raw.titles: {path} is empty. Fill it, or set list_raw.titles to null"
        )
    return titles


def _warn_of_copies(logs: Iterable[RawFile]) -> None:
    """The same bytes twice are the same events twice: allowed, but rarely meant."""
    names: dict[str, list[str]] = {}
    for file in logs:
        names.setdefault(file.sha256, []).append(file.path)
    for copies in names.values():
        if len(copies) > 1:
            log.warning("files with the same content are all read: %s", ", ".join(copies))
