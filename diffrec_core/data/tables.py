"""Tables that stages write for each other: their columns with types, and how they are read."""

from pathlib import Path
from typing import Final, Literal

import polars as pl

from diffrec_core.common.errors import ArtifactError
from diffrec_core.data.schema import (
    EVENT_TYPE,
    FIRST_SEEN,
    INDEX,
    ITEM,
    ITEM_ID,
    LAST_SEEN,
    RANK,
    RAW,
    REASON,
    SCORE,
    SOURCE,
    SOURCE_FILE,
    SOURCE_ROW,
    TIMESTAMP,
    TITLE,
    USER,
    USER_ID,
    VALUE,
    WEIGHT,
)

TIMESTAMP_TYPE: Final = pl.Datetime("us", "UTC")

EVENTS: Final = pl.Schema(
    {
        USER_ID: pl.String(),
        ITEM_ID: pl.String(),
        TIMESTAMP: TIMESTAMP_TYPE,
        EVENT_TYPE: pl.String(),
        VALUE: pl.Float64(),
        SOURCE_FILE: pl.String(),
        SOURCE_ROW: pl.Int64(),
    }
)
"""One accepted raw row. `source_row` counts the lines of the file from 1, the header included."""

QUARANTINE: Final = pl.Schema(
    {SOURCE_FILE: pl.String(), SOURCE_ROW: pl.Int64(), RAW: pl.String(), REASON: pl.String()}
)
"""One rejected raw row: where it stood, its text, and why it was rejected."""

INTERACTIONS: Final = pl.Schema(
    {USER: pl.Int32(), ITEM: pl.Int32(), TIMESTAMP: TIMESTAMP_TYPE, WEIGHT: pl.Float32()}
)
"""One (user, item) fact by vocabulary index, sorted by (user, timestamp, item id)."""

SEEN: Final = pl.Schema(
    {
        USER: pl.Int32(),
        ITEM: pl.Int32(),
        FIRST_SEEN: TIMESTAMP_TYPE,
        LAST_SEEN: TIMESTAMP_TYPE,
    }
)
"""One pair of a user and an item that met, liked or not, sorted by (user, first_seen, item)."""

USERS: Final = pl.Schema({INDEX: pl.Int32(), USER_ID: pl.String()})
ITEMS: Final = pl.Schema({INDEX: pl.Int32(), ITEM_ID: pl.String(), TITLE: pl.String()})
"""The vocabularies; `title` is null where no titles were given."""

Source = Literal["history", "popularity"]
"""What a user is answered from."""

RECOMMENDATIONS: Final = pl.Schema(
    {
        USER_ID: pl.String(),
        RANK: pl.Int32(),
        ITEM_ID: pl.String(),
        SCORE: pl.Float32(),
        SOURCE: pl.String(),
    }
)
"""A user's items, ranks from 1. `source` is the same in all rows of a user: `history`, or
`popularity` where the model knows no item of the user's history."""


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
