"""Artifacts: files and directories that appear at once, with a manifest of what is in them.

A file or directory appears under its name complete or not at all: it is written beside its target
under a temporary name, synced, and renamed. `manifest.json` holds the schema version, the
parameters, the fingerprints of the inputs and the SHA-256 of every file; it holds no time and no
path, so that the same inputs give the same bytes.
"""

import errno
import glob
import hashlib
import json
import os
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

from diffrec_core.common.errors import ArtifactError, DiffRecError, StorageError

MANIFEST_NAME = "manifest.json"
_TEMPORARY, _RETIRED = ".tmp", ".old"
_ABANDONED_SECONDS = 86400.0
"""Age of a temporary file whose writer was surely killed: others of its name may be at work."""
_STORAGE_ERRORS = {
    errno.ENOSPC: "no space is left on the device",
    errno.EDQUOT: "the disk quota is used up",
    errno.EFBIG: "a file grew past the size limit",
    errno.EROFS: "the file system is read-only",
    errno.EACCES: "permission was denied",
}


def sha256_file(path: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sha256_json(value: object) -> str:
    """SHA-256 of a value's canonical JSON."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()


def canonical_json(value: object) -> str:
    """JSON with sorted keys, two-space indent and a final newline: equal values, equal bytes."""
    return json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n"


def write_json(path: Path, value: object) -> None:
    """Write a value as canonical JSON, atomically."""
    write_text(path, canonical_json(value))


def write_text(path: Path, text: str) -> None:
    """Write text to a file that appears complete or not at all; see `write_bytes`."""
    write_bytes(path, text.encode())


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file that appears complete or not at all.

    Raises:
        StorageError: the disk is full or not writable; the old file, if any, is untouched.
    """
    with storage_errors(path), atomic_file(path) as temporary:
        temporary.write_bytes(content)


@contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """Yield a temporary path; the file written there replaces `path` when the block succeeds.

    Raises:
        OSError: it cannot be written; nothing temporary stays behind, `path` is untouched.
    """
    with temporary_file(path) as temporary:
        yield temporary
        sync_file(temporary)
        temporary.replace(path)


@contextmanager
def temporary_file(path: Path) -> Iterator[Path]:
    """Yield an unused path beside `path`; the file written there is removed when the block ends.

    Also removes what writers of `path` left that were killed more than a day ago.

    Raises:
        OSError: the folder cannot be made.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    for leftover in _temporaries(path):
        with suppress(FileNotFoundError):  # another writer of the same file removed it
            if time.time() - leftover.stat().st_mtime > _ABANDONED_SECONDS:
                leftover.unlink()
    temporary = _beside(path)
    try:
        yield temporary
    finally:
        temporary.unlink(missing_ok=True)


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises:
        ArtifactError: the file is missing or is not JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ArtifactError(f"{path} is missing: run the stage that writes it") from error
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ArtifactError(f"{path} is not valid JSON ({error}): remove it and re-run") from error


@contextmanager
def atomic_directory(path: Path) -> Iterator[Path]:
    """Yield a temporary directory that becomes `path` when the block ends without an error.

    A directory already at `path` is replaced; until then, and if that fails, it stays. What a
    killed writer left is removed, and the directory that it was about to replace put back. There
    must be no other writer of `path` at the same time.

    Raises:
        StorageError: the disk is full or not writable; nothing half-written stays behind.
    """
    with storage_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        _recover(path)
        temporary = _beside(path)
        try:
            temporary.mkdir()
            yield temporary
            for file in _files(temporary):
                sync_file(file)
            _exchange(temporary, path)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


def _exchange(temporary: Path, path: Path) -> None:
    """Replace `path` by a directory; it is put back if that fails."""
    retired = _beside(path, _RETIRED)
    try:
        with suppress(FileNotFoundError):
            path.replace(retired)
        temporary.replace(path)
    except BaseException:
        with suppress(OSError):  # then it stays beside it, and the next writer puts it back
            retired.replace(path)
        raise
    _recover(path)


def _recover(path: Path) -> None:
    """Put a retired directory back where nothing took its place; remove what else was left.

    A directory has the suffix of a retired one only as long as it is whole.
    """
    with suppress(OSError):
        for retired in _temporaries(path, _RETIRED):
            retired.replace(_beside(path) if path.exists() else path)
        for leftover in _temporaries(path):
            shutil.rmtree(leftover, ignore_errors=True)


def _temporaries(path: Path, suffix: str = _TEMPORARY) -> list[Path]:
    """Paths that `_beside` made; `.a.json.1f.tmp` belongs to `a.json`, not to `a`."""
    prefix = f".{path.name}."
    siblings = path.parent.glob(f"{glob.escape(prefix)}*{suffix}")
    return [s for s in siblings if "." not in s.name[len(prefix) : -len(suffix)]]


def _beside(path: Path, suffix: str = _TEMPORARY) -> Path:
    return path.with_name(f".{path.name}.{uuid4().hex}{suffix}")


@contextmanager
def storage_errors(path: Path) -> Iterator[None]:
    """Turn the operating system's write errors into a `StorageError` that names the path."""
    try:
        yield
    except DiffRecError:  # already a clear message
        raise
    except OSError as error:
        reason = _STORAGE_ERRORS.get(error.errno or 0) or _storage_reason(str(error))
        if reason is None:
            raise
        raise _storage_error(path, reason) from error
    except Exception as error:  # Polars and Arrow wrap the operating system's error in their own
        reason = _storage_reason(str(error))
        if reason is None:
            raise
        raise _storage_error(path, reason) from error


def _storage_reason(message: str) -> str | None:
    matches = (text for code, text in _STORAGE_ERRORS.items() if os.strerror(code) in message)
    return next(matches, None)


def _storage_error(path: Path, reason: str) -> StorageError:
    return StorageError(
        f"cannot write {path}: {reason}. Nothing was left half-written; "
        f"free space or choose another path, then re-run"
    )


def write_manifest(
    directory: Path,
    *,
    schema: str,
    params: Mapping[str, Any] | None = None,
    inputs: Mapping[str, str] | None = None,
    **extra: Any,
) -> None:
    """Write `manifest.json` for the files that are now in `directory`.

    Args:
        directory: holds the finished files.
        schema: name and version of the layout, such as ``events/1``.
        params: the parameters that shaped the data.
        inputs: fingerprints of what was read, by role.
        extra: further facts, such as the vocabulary's fingerprint.
    """
    files = {
        file.relative_to(directory).as_posix(): sha256_file(file) for file in _files(directory)
    }
    files.pop(MANIFEST_NAME, None)
    content = {"schema": schema, "params": dict(params or {}), "inputs": dict(inputs or {})}
    write_json(directory / MANIFEST_NAME, {**content, **extra, "files": files})


def read_manifest(directory: Path, schema: str) -> dict[str, Any]:
    """Read a directory's manifest and check its schema.

    Raises:
        ArtifactError: the directory or its manifest is missing, or the schema is another one.
    """
    manifest: dict[str, Any] = read_json(directory / MANIFEST_NAME)
    check_schema(manifest, schema, directory, "re-run the stage that writes it")
    return manifest


def check_schema(content: Mapping[str, Any], schema: str, source: Path, remedy: str) -> None:
    """Check that stored content says the expected schema.

    Raises:
        ArtifactError: it says another one, or none; the message ends with the remedy.
    """
    if content.get("schema") != schema:
        raise ArtifactError(
            f"{source} has schema {content.get('schema')!r}, expected {schema!r}: {remedy}"
        )


def verify_files(directory: Path, files: Mapping[str, str]) -> None:
    """Check files against their recorded SHA-256.

    Raises:
        ArtifactError: a file is missing or its bytes are not the ones recorded.
    """
    for name, expected in files.items():
        file = directory / name
        if not file.is_file():
            raise ArtifactError(f"{file} is missing: restore the artifact or re-run its stage")
        actual = sha256_file(file)
        if actual != expected:
            raise ArtifactError(
                f"{file} is corrupt: SHA-256 {actual[:12]}… found, {expected[:12]}… recorded. "
                f"Remove it and restore it (dvc checkout, dvc pull) or re-run its stage"
            )


def fingerprint(path: Path) -> str:
    """Fingerprint of an artifact: the hash of its manifest, or of the file itself.

    Raises:
        ArtifactError: there is nothing at `path`.
    """
    if path.is_dir():
        path = path / MANIFEST_NAME
    if not path.is_file():
        raise ArtifactError(f"{path} is missing: run the stage that writes it (dvc repro)")
    return sha256_file(path)


def _files(directory: Path) -> list[Path]:
    return sorted(path for path in directory.rglob("*") if path.is_file())


def sync_file(path: Path) -> None:
    """Make sure that a file's content is on the disk before it is renamed into place."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
