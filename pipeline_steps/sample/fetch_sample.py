"""Fetch sample data, or any file, into data/raw: an operation, not a stage.

  fetch_sample                      MovieLens-100K, which the default params.yaml reads
  fetch_sample ml-1m                MovieLens-1M; says what to set in params.yaml
  fetch_sample https://…/logs.zip   any file; zip archives are unpacked
  fetch_sample /elsewhere/logs.csv  a local file, or a sample's archive fetched on another machine

What is there already is not fetched again. A download that was cut off is continued.
"""

import argparse
import logging
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from diffrec_core.common.artifacts import sha256_file
from diffrec_core.common.errors import ConfigError, DataError
from pipeline_steps.runtime.command import command_line
from pipeline_steps.sample import archives
from pipeline_steps.sample.archives import Sample
from pipeline_steps.sample.download import download, download_wheel

log = logging.getLogger("pipeline")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what to fetch and where to put it."""
    parser.add_argument(
        "source",
        nargs="?",
        default="ml-100k",
        help=f"{', '.join(archives.SAMPLES)}, a URL or a path (default: %(default)s)",
    )
    parser.add_argument(
        "--out", type=Path, default=Path("data/raw"), metavar="DIR", help="default: %(default)s"
    )
    parser.add_argument("--name", help="folder in --out (default: the name of the file)")
    parser.add_argument(
        "--sha256",
        metavar="HEX",
        help="expected checksum of the fetched file; replaces a pinned one",
    )
    parser.add_argument(
        "--retries",
        type=int,
        choices=range(21),
        default=4,
        metavar="N",
        help="default: %(default)s",
    )


def main(args: argparse.Namespace) -> None:
    """Fetch the source, unless it is there."""
    sample = _sample(args.source)
    target = args.out / _folder_name(args, sample)
    expected = args.sha256 or (sample.sha256 if sample else None)
    if archives.is_current(target, args.source, expected):
        log.info("%s is already there and complete", target)
        return
    archives.check_replaceable(target, args.source)
    with _fetched(args, sample, target.name) as archive:
        if expected:
            archives.check_sha256(archive, expected, args.source)
        record = archives.install(archive, target, args.source, sample)
    log.info("%s: %s", target, ", ".join(record.files))
    log.info("SHA-256 of the fetched file: %s", record.sha256)
    if sample:
        log.info("%s", sample.licence)
    if sample and sample.params:
        log.info("to use it, set in params.yaml:\n%s", sample.params)


def _sample(source: str) -> Sample | None:
    """The sample that is asked for by name, or whose archive lies at a path."""
    if source in archives.SAMPLES:
        return archives.SAMPLES[source]
    path = Path(source)
    return archives.sample_of(sha256_file(path)) if path.is_file() else None


def _folder_name(args: argparse.Namespace, sample: Sample | None) -> str:
    if args.name is None:
        return sample.name if sample else archives.folder_name(args.source)
    name = str(args.name)
    if name != archives.file_name(name):
        raise ConfigError(
            f"--name {name!r}: must be the name of one folder, of letters, digits, '_', '-' and "
            f"'.', and not begin with a point"
        )
    return name


@contextmanager
def _fetched(args: argparse.Namespace, sample: Sample | None, name: str) -> Iterator[Path]:
    """Yield the fetched file, called as at its origin where it is not a download in parts."""
    path = Path(args.source)
    origin = sample.origin if sample and args.source == sample.name else str(args.source)
    if re.match(r"https?://", origin):
        part = download(origin, args.out / f".{name}", retries=args.retries, quiet=args.quiet)
        try:
            yield part
        except DataError:  # a wrong or damaged file: the next attempt starts afresh
            part.unlink()
            raise
        part.unlink()
    elif origin != args.source:
        with tempfile.TemporaryDirectory() as folder:
            yield download_wheel(origin, Path(folder))
    elif path.is_file():
        yield path
    else:
        what = "is a folder: name it in list_raw.logs" if path.is_dir() else "does not exist"
        raise DataError(
            f"{origin} {what}. Known samples: {', '.join(archives.SAMPLES)}; "
            f"or give a URL (http, https) or the path of a file"
        )


if __name__ == "__main__":
    command_line(main, add_arguments, __doc__)
