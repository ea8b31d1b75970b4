"""Outputs of stages, which appear complete or not at all: directories with a manifest, CSV."""

import csv
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from diffrec_core.common.artifacts import (
    atomic_directory,
    fingerprint,
    write_manifest,
    write_text,
)
from diffrec_core.common.config import Config


@contextmanager
def output_directory(
    path: Path, *, schema: str, config: Config | None, inputs: Mapping[str, Path]
) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Yield a directory to fill and a dict of further manifest entries.

    When the block ends without an error, the manifest is written and the directory appears.

    Args:
        path: of the directory.
        schema: name and version of its layout.
        config: the parameters that shaped the data.
        inputs: what was read, by role; its fingerprints go into the manifest.
    """
    fingerprints = {name: fingerprint(source) for name, source in inputs.items()}
    params = config.model_dump(mode="json") if config else {}
    extra: dict[str, Any] = {}
    with atomic_directory(path) as directory:
        yield directory, extra
        write_manifest(directory, schema=schema, params=params, inputs=fingerprints, **extra)


def write_csv(path: Path, columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> None:
    """Write the columns of rows as CSV; a cell is empty where a row has none, or None."""
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(path, text.getvalue())
