"""Reading tables that other stages wrote."""

from pathlib import Path

import polars as pl

from diffrec_core.common.errors import ArtifactError


def read_table(path: Path, *columns: str) -> pl.DataFrame:
    """Read a Parquet file and check that it has certain columns.

    Raises:
        ArtifactError: the file is missing or lacks a column.
    """
    if not path.is_file():
        raise ArtifactError(f"{path} is missing: run the stage that writes it (dvc repro)")
    frame = pl.read_parquet(path)
    if not set(columns) <= set(frame.columns):
        raise ArtifactError(f"{path} has columns {frame.columns}, needs {', '.join(columns)}")
    return frame
