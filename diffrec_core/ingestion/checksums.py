"""Checksums of raw files, some of which are being written while they are listed."""

import logging
import os
import time
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import psutil

from diffrec_core.common.artifacts import read_json
from diffrec_core.common.errors import ArtifactError, DataError, StorageError
from diffrec_core.ingestion.raw_bytes import is_plain_text, last_line_end, sha256_of_starts
from diffrec_core.ingestion.raw_manifest import RawFile

log = logging.getLogger(__name__)


class ChecksumCache:
    """Checksums of files whose path, size, inode and times have not changed.

    The time of change (ctime) moves with every write, also where a program sets the time of
    modification back.

    Args:
        known: what an earlier run remembered: path -> size, inode, mtime_ns, ctime_ns, sha256.
    """

    def __init__(self, known: Mapping[str, Mapping[str, Any]] | None = None) -> None:
        self._known = dict(known or {})
        self._seen: dict[str, Mapping[str, Any]] = {}
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

    def record(self, path: Path, *, may_grow: bool = True) -> RawFile:
        """Return the file's record, hashing it only when it has changed.

        Args:
            path: the file.
            may_grow: lines may be appended to plain text meanwhile. Of a text that is being
                written, only the whole lines are recorded; the last line of any other counts even
                without a line end, which many programs leave out.

        Raises:
            DataError: the file cannot be read.
            StorageError: it changes while it is hashed, unless lines are appended to plain text;
                a later try may succeed.
        """
        try:
            return self._record(path, may_grow=may_grow)
        except FileNotFoundError as error:
            raise _changing(path) from error
        except OSError as error:
            raise DataError(
                f"{path} cannot be read ({error.strerror}): check its permission"
            ) from error

    def _record(self, path: Path, *, may_grow: bool) -> RawFile:
        name, before = _name(path), path.stat()
        size, known = before.st_size, self._known.get(name, {})
        if _state_of(known) == _state(before):
            self.lookups["remembered"] += 1
            self._seen[name] = known
            return RawFile(name, size, known["sha256"])
        self.lookups["hashed"] += 1
        is_text = may_grow and is_plain_text(path)
        lines = last_line_end(path, size) if is_text else size
        sha256_of_lines, sha256 = sha256_of_starts(path, lines, size)
        if _state(path.stat()) == _state(before):
            if lines == size or os.path.realpath(path) not in self._being_written:
                if not _may_hide_a_write(before):
                    self._seen[name] = _entry(*_state(before), sha256)
                return RawFile(name, size, sha256)
        elif not is_text or sha256_of_starts(path, size) != [sha256]:
            raise _changing(path)
        log.info("%s is being written: %d bytes of whole lines are listed", name, lines)
        return RawFile(name, lines, sha256_of_lines)

    @cached_property
    def _being_written(self) -> frozenset[str]:
        """Files open for writing, by the processes that the operating system lets us look at."""
        paths: set[str] = set()
        for process in psutil.process_iter():
            with suppress(psutil.Error):
                paths |= {f.path for f in process.open_files() if getattr(f, "mode", "r") != "r"}
        return frozenset(paths)


_STATE: Final = ("inode", "size", "mtime_ns", "ctime_ns")


def _entry(inode: int, size: int, mtime_ns: int, ctime_ns: int, sha256: str) -> dict[str, Any]:
    """Return one entry of the cache, checked: a wrong checksum would not be noticed later."""
    if len(sha256) != 64 or not set(sha256) <= set("0123456789abcdef"):
        raise ValueError(f"{sha256!r} is not a SHA-256")
    return dict(zip((*_STATE, "sha256"), (inode, size, mtime_ns, ctime_ns, sha256), strict=True))


def _state(stat: os.stat_result) -> tuple[int, int, int, int]:
    return stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns


def _state_of(entry: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple(entry.get(name) for name in _STATE)


def _may_hide_a_write(stat: os.stat_result) -> bool:
    """Whether a later write could leave the same times: a file system that counts in seconds."""
    coarse = stat.st_ctime_ns % 10**9 == 0 and stat.st_mtime_ns % 10**9 == 0
    return coarse and time.time_ns() - stat.st_ctime_ns < 3 * 10**9


def _changing(path: Path) -> StorageError:
    return StorageError(
        f"{path} was written, replaced or removed while it was listed: list it again when it is "
        f"complete. Only plain text may grow meanwhile"
    )


def _name(path: Path) -> str:
    name = path.as_posix()
    try:
        name.encode()
    except UnicodeEncodeError as error:
        raise DataError(f"the file name {name!r} is not valid UTF-8: rename it") from error
    return name
