"""Per-user values on disk, the input of comparisons between models.

One table per part, a row for each user that the metrics are averaged over, in the order of their
indices: `user` and a column for each accuracy metric, in full precision, so that the mean of a
column is the metric.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from diffrec_core.common.errors import DataError
from diffrec_core.data.schema import USER
from diffrec_core.data.tables import read_table


def write_per_user(directory: Path, part: str, frame: pl.DataFrame) -> None:
    """Write the table of a part."""
    frame.write_parquet(_path(directory, part), compression="zstd")


def read_per_user(directory: Path, part: str) -> pl.DataFrame:
    """Read the table of a part.

    Raises:
        ArtifactError: it is missing, or not such a table.
    """
    return read_table(_path(directory, part), USER)


def _path(directory: Path, part: str) -> Path:
    return directory / f"per_user_{part}.parquet"


def side_by_side(tables: Mapping[str, pl.DataFrame], metric: str) -> NDArray[np.float64]:
    """Values of one metric: (U, M), a column for each model in the order of `tables`.

    Raises:
        DataError: the tables are not about the same users, or one lacks the metric.
    """
    first_name, first = next(iter(tables.items()))
    for name, table in tables.items():
        if metric not in table.columns:
            raise DataError(f"the per-user values of {name} lack {metric}: dvc repro")
        if not table[USER].equals(first[USER]):
            raise DataError(
                f"{name} and {first_name} were measured on different users: no pairing. Run "
                f"`dvc repro` to evaluate all models on the same split"
            )
    return np.column_stack([table[metric].to_numpy() for table in tables.values()])
