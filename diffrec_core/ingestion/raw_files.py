"""Raw files: which ones a run is made from.

Knows no Polars: `list_raw` runs before every pipeline run and must start at once.
"""

import glob
import itertools
import logging
import os
import stat
from collections.abc import Iterable, Iterator, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated, Final

from pydantic import Field, Strict

from diffrec_core.common.config import Config
from diffrec_core.common.errors import DataError
from diffrec_core.ingestion.checksums import ChecksumCache
from diffrec_core.ingestion.raw_manifest import EVERY_EVENT, RawFile, RawManifest, Wanted

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


def list_raw_files(
    config: ListRawConfig, checksums: ChecksumCache, wanted: Wanted = EVERY_EVENT
) -> RawManifest:
    """Find the raw files and take their size and checksum.

    Args:
        config: where to look.
        checksums: of files that have not changed.
        wanted: which events the run is about.

    Raises:
        DataError: a path leads nowhere, nothing is found, files or folders cannot be read, or the
            titles file or all logs are empty.
        StorageError: a file changes while it is listed, other than a text that grows.
    """
    titles = _titles_path(config.titles) if config.titles is not None else None
    search = _Search()
    # one entry per real file, under the first of its names: two patterns may meet in one file
    paths = sorted(search.all_of(config.logs), reverse=True)
    found = {os.path.realpath(path): path for path in paths}
    search.report()
    if titles is not None and os.path.realpath(titles) in found:
        del found[os.path.realpath(titles)]
        log.info("%s names the items (list_raw.titles) and is not read as a log", titles)
    if not found:
        raise DataError(f"list_raw.logs holds nothing but the titles file. {_WHAT_TO_DO}")
    recorded = _recorded(sorted(found.values()), checksums)
    logs = tuple(file for file in recorded if file.size)
    empty = tuple(file.path for file in recorded if not file.size)
    if not logs:
        raise DataError(f"list_raw.logs holds empty files only: {_some(empty)}. {_WHAT_TO_DO}")
    if empty:
        log.warning("%d empty files are skipped: %s", len(empty), _some(empty))
    _warn_of_copies(logs)
    return RawManifest(
        logs,
        _record_titles(titles, checksums) if titles else None,
        empty,
        tuple(sorted(f"{path}: {why}" for path, why in search.skipped.items())),
        wanted,
    )


def _recorded(paths: Iterable[Path], checksums: ChecksumCache) -> list[RawFile]:
    files, errors = [], []
    for path in paths:
        try:
            files.append(checksums.record(path))
        except DataError as error:
            errors.append(str(error))
    if errors:
        raise DataError("\n  ".join(errors))
    return files


def expand(patterns: Sequence[str]) -> list[Path]:
    """Turn files, folders and patterns into the files that they mean.

    Raises:
        DataError: one of them leads nowhere, all of them to no file, or a folder cannot be read.
    """
    return _Search().all_of(patterns)


class _Search:
    """Looks for files below folders; what it passes over is kept to be said.

    Names that begin with `_` or `.` hold no data (Hadoop's rule), nor do the leftovers of editors
    and downloads; a file that is named itself is taken whatever its name. Linked folders are
    followed, each real folder once.

    Attributes:
        skipped: path -> why it was passed over.
    """

    def __init__(self) -> None:
        self.skipped: dict[str, str] = {}
        self._unreadable: list[str] = []
        self._folders: set[str] = set()

    def all_of(self, patterns: Sequence[str]) -> list[Path]:
        """The files of all patterns; see `expand`."""
        found = {}
        for pattern in patterns:
            self._folders.clear()
            found[pattern] = self._one(pattern)
        if self._unreadable:
            raise DataError(
                f"list_raw.logs: these folders cannot be read, check their permission: "
                f"{_some(self._unreadable)}"
            )
        nothing = [pattern for pattern, files in found.items() if not files]
        if len(nothing) == len(found):
            raise DataError(f"{_no_file(nothing[0])}. {_WHAT_TO_DO}")
        for pattern in nothing:
            log.warning("%s", _no_file(pattern))
        return [file for files in found.values() for file in files]

    def report(self) -> None:
        """Say what was passed over."""
        for why in sorted(set(self.skipped.values())):
            paths = sorted(path for path, reason in self.skipped.items() if reason == why)
            level = logging.INFO if why == _HIDDEN else logging.WARNING
            log.log(level, "passed over, %s: %s", why, _some(paths))

    def _one(self, pattern: str) -> list[Path]:
        path = Path(pattern)
        if path.exists():  # before taking it for a pattern: brackets are legal in names
            return self._below(path, named=True)
        if not glob.has_magic(pattern):
            raise DataError(
                f"list_raw.logs: there is nothing at {pattern}; {_nearest(path)}. {_WHAT_TO_DO}"
            )
        if "**" in path.parts:  # glob would follow links that lead in a circle
            base = _fixed(path)
            parts = path.parts[len(base.parts) :]
            return [file for file in self._walk(base) if _leads_to(file, base, parts)]
        # Path.glob takes no absolute pattern
        matches = sorted(Path(match) for match in glob.glob(pattern))  # noqa: PTH207
        by_name = path.name not in ("*", "")
        return [file for match in matches for file in self._below(match, named=by_name)]

    def _below(self, path: Path, *, named: bool) -> list[Path]:
        if not named and (why := _no_data((path.name,))):
            self.skipped[path.as_posix()] = why
            return []
        if path.is_dir():
            return list(self._walk(path))
        if not path.is_file():
            raise DataError(f"list_raw.logs: {path} is neither a regular file nor a folder")
        return [path]

    def _walk(self, folder: Path) -> Iterator[Path]:
        real = os.path.realpath(folder)
        if real in self._folders:
            return
        self._folders.add(real)
        try:
            entries = sorted(folder.iterdir())
        except OSError as error:
            self._unreadable.append(f"{folder} ({error.strerror})")
            return
        for entry in entries:
            why = _no_data((entry.name,)) or _no_file_or_folder(entry)
            if why:
                self.skipped[entry.as_posix()] = why
            elif entry.is_dir():
                yield from self._walk(entry)
            else:
                yield entry


_HIDDEN: Final = "names that begin with _ or . hold no data"
_LEFTOVER: Final = "left by an editor, a download or a copy, or a checksum"
_LEFTOVERS: Final = (
    "~", ".bak", ".swp", ".tmp", ".temp", ".part", ".partial", ".filepart", ".crdownload",
    ".download", "._COPYING_", ".crc", ".md5", ".sha1", ".sha256", ".sha512", ".lock",
)  # fmt: skip
_NO_LOGS: Final = frozenset({"lost+found", "Thumbs.db", "desktop.ini", "__MACOSX"})


def _no_data(names: Iterable[str]) -> str | None:
    """Why a path of these names holds no data; None: it may."""
    for name in names:
        if name.startswith(".") or (name.startswith("_") and "=" not in name):
            return _HIDDEN
        if name.endswith(_LEFTOVERS) or name in _NO_LOGS or name.startswith(("~$", "#")):
            return _LEFTOVER
    return None


def _no_file_or_folder(path: Path) -> str | None:
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        return "a link to nothing"
    except OSError as error:
        return f"cannot be reached ({error.strerror})"
    if stat.S_ISREG(mode) or stat.S_ISDIR(mode):
        return None
    return "neither a file nor a folder"


def _fixed(pattern: Path) -> Path:
    """The folders of a pattern before its first wildcard."""
    parts = itertools.takewhile(lambda part: not glob.has_magic(part), pattern.parts)
    return Path(*parts)


def _leads_to(file: Path, base: Path, parts: Sequence[str]) -> bool:
    """Whether a pattern of these parts matches a file below `base`, or a folder that it is in."""
    names = file.relative_to(base).parts
    return any(_matches(names[:end], parts) for end in range(1, len(names) + 1))


def _matches(names: Sequence[str], parts: Sequence[str]) -> bool:
    if not parts:
        return not names
    if parts[0] == "**":
        return any(_matches(names[at:], parts[1:]) for at in range(len(names) + 1))
    return bool(names) and fnmatchcase(names[0], parts[0]) and _matches(names[1:], parts[1:])


def _no_file(pattern: str) -> str:
    path = Path(pattern)
    if path.exists():
        return f"list_raw.logs: the folder {pattern} holds no files (hidden ones do not count)"
    return f"list_raw.logs: no file matches {pattern}; {_nearest(path)}"


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
