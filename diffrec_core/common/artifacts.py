"""Artifacts: atomically written files and directories, and their manifests.

A file or directory is written beside its target under a temporary name, synced, and renamed.
`manifest.json` holds the schema version, the parameters, the fingerprints of the inputs and the
SHA-256 of every file; no time and no path, so that the same inputs give the same bytes.
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
"""Age from which a temporary file is taken to be left by a killed writer, not in use by another."""
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
    """Write a text file atomically; see `write_bytes`."""
    write_bytes(path, text.encode())


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file atomically.

    Raises:
        StorageError: the disk is full or not writable; the old file, if any, is untouched.
    """
    with storage_errors(path), atomic_file(path) as temporary:
        temporary.write_bytes(content)


@contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """Yield a temporary path; the file written there replaces `path` when the block succeeds.

    Raises:
        OSError: it cannot be written; the temporary file is removed, `path` is untouched.
    """
    with temporary_file(path) as temporary:
        yield temporary
        sync_file(temporary)
        temporary.replace(path)


@contextmanager
def temporary_file(path: Path) -> Iterator[Path]:
    """Yield an unused path beside `path`; the file written there is removed when the block ends.

    Temporary files of `path` that are older than a day are removed as well.

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
    """Yield a temporary directory that replaces `path` when the block ends without an error.

    If that fails, `path` stays as it was. First, temporary files of a killed writer are removed,
    and a directory that it had moved away is put back. `path` must have no other writer meanwhile.

    Raises:
        StorageError: the disk is full or not writable; the temporary directory is removed.
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
    """Replace `path` by a directory, or restore it if that fails."""
    retired = _beside(path, _RETIRED)
    try:
        with suppress(FileNotFoundError):
            path.replace(retired)
        temporary.replace(path)
    except BaseException:
        with suppress(OSError):  # then the next writer restores it
            retired.replace(path)
        raise
    _recover(path)


def _recover(path: Path) -> None:
    """Restore a retired directory where nothing took its place; remove all other leftovers.

    A directory has the suffix of a retired one only as long as it is complete.
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
    except Exception as error:
        code = getattr(error, "errno", None)
        for known, reason in _STORAGE_ERRORS.items():
            # Polars and Arrow wrap the operating system's error in their own
            if code == known or os.strerror(known) in str(error):
                raise StorageError(
                    f"cannot write {path}: {reason}. Nothing was left half-written; "
                    f"free space or choose another path, then re-run"
                ) from error
        raise


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
        inputs: fingerprints of the inputs, by role.
        extra: further entries, such as the vocabulary's fingerprint.
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
        ArtifactError: the manifest is missing or has another schema.
    """
    manifest: dict[str, Any] = read_json(directory / MANIFEST_NAME)
    check_schema(manifest, schema, directory, "re-run the stage that writes it")
    return manifest


def check_schema(content: Mapping[str, Any], schema: str, source: Path, remedy: str) -> None:
    """Check the schema version of stored content.

    Raises:
        ArtifactError: it is another one, or missing; the message ends with the remedy.
    """
    if content.get("schema") != schema:
        raise ArtifactError(
            f"{source} has schema {content.get('schema')!r}, expected {schema!r}: {remedy}"
        )


def verify_files(directory: Path, files: Mapping[str, str]) -> None:
    """Check files against their recorded SHA-256.

    Raises:
        ArtifactError: a file is missing or differs.
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
    """SHA-256 of a directory's manifest, or of a file.

    Raises:
        ArtifactError: nothing is at `path`.
    """
    if path.is_dir():
        path = path / MANIFEST_NAME
    if not path.is_file():
        raise ArtifactError(f"{path} is missing: run the stage that writes it (dvc repro)")
    return sha256_file(path)


def _files(directory: Path) -> list[Path]:
    return sorted(path for path in directory.rglob("*") if path.is_file())


def sync_file(path: Path) -> None:
    """Flush a file's content to the disk, as is due before it is renamed into place."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
