"""What users have seen, liked or not: what is not recommended to them again.

Models learn from interactions; masks come from here. A film rated 1 is no reason to recommend, and
is seen.
"""

from datetime import timedelta
from pathlib import Path
from typing import Annotated, Final, Literal

import polars as pl
from pydantic import Field

from diffrec_core.common.errors import ArtifactError
from diffrec_core.data.histories import Histories
from diffrec_core.data.schema import FIRST_SEEN, ITEM, LAST_SEEN, TIMESTAMP, USER, WEIGHT
from diffrec_core.data.tables import SEEN, read_table

SEEN_FILE: Final = "seen.parquet"

Repeats = Literal["never", "allowed"] | Annotated[int, Field(ge=1)]
"""Whether what a user has seen may be recommended again; a number: so many days after the user met
it last, counted to the newest event."""


def seen_of(interactions: pl.DataFrame) -> pl.DataFrame:
    """The SEEN table where nothing was seen but what was interacted with."""
    time = pl.col(TIMESTAMP)
    return interactions.select(USER, ITEM, time.alias(FIRST_SEEN), time.alias(LAST_SEEN))


def read_seen(directory: Path) -> pl.DataFrame:
    """Read a SEEN table.

    Raises:
        ArtifactError: it is missing or has other columns or types.
    """
    frame = read_table(directory / SEEN_FILE)
    if frame.schema != SEEN:
        raise ArtifactError(f"{directory / SEEN_FILE} is no table of seen items: {frame.schema}")
    return frame


def as_histories(seen: pl.DataFrame, n_users: int) -> Histories:
    """The items that users have seen, by the time at which they were first seen; weights are 1."""
    return Histories.from_frame(
        seen.select(
            USER, ITEM, pl.col(FIRST_SEEN).alias(TIMESTAMP), pl.lit(1, pl.Float32).alias(WEIGHT)
        ),
        n_users,
    )


def not_again(seen: pl.DataFrame, repeats: Repeats) -> pl.DataFrame:
    """The pairs that must not be recommended."""
    if repeats == "never":
        return seen
    if repeats == "allowed":
        return seen.clear()
    return seen.filter(pl.col(LAST_SEEN) > pl.col(LAST_SEEN).max() - timedelta(days=repeats))
