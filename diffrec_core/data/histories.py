"""Histories: a batch of users, each an ordered list of items, oldest first.

The input of every model and evaluation. Matrix models derive a weighted row from it, sequential
models read the order itself.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
import polars as pl
from numpy.typing import NDArray

from diffrec_core.common.errors import DataError
from diffrec_core.data.schema import ITEM, MICROSECONDS_PER_DAY, TIMESTAMP, USER, WEIGHT


@dataclass(frozen=True, slots=True, eq=False)
class Histories:
    """B users' items in compressed rows; row b holds `items[offsets[b]:offsets[b + 1]]`.

    Attributes:
        offsets: (B + 1,) int64, from 0, never decreasing.
        items: (N,) int32, item indices, oldest first within a row.
        timestamps: (N,) int64, microseconds since 1970 UTC.
        weights: (N,) float32, strength of each interaction, 1 unless the data say otherwise.
    """

    offsets: NDArray[np.int64]
    items: NDArray[np.int32]
    timestamps: NDArray[np.int64]
    weights: NDArray[np.float32]

    def __post_init__(self) -> None:
        """Check that the arrays belong together.

        Raises:
            DataError: they do not.
        """
        count = len(self.items)
        if len(self.offsets) < 1 or self.offsets[0] != 0 or self.offsets[-1] != count:
            raise DataError(f"offsets must run from 0 to {count}, found {self.offsets!r}")
        if np.any(np.diff(self.offsets) < 0):
            raise DataError("offsets must never decrease")
        if len(self.timestamps) != count or len(self.weights) != count:
            raise DataError(
                f"{count} items need as many timestamps and weights, found "
                f"{len(self.timestamps)} and {len(self.weights)}"
            )

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def lengths(self) -> NDArray[np.int64]:
        """(B,) number of items of each row."""
        return np.diff(self.offsets)

    @property
    def rows(self) -> NDArray[np.int64]:
        """(N,) the row of each entry."""
        return np.repeat(np.arange(len(self)), self.lengths)

    def take(self, rows: NDArray[np.integer]) -> "Histories":
        """Return the histories of the given rows, in that order.

        >>> Histories.from_lists([[5, 6], [], [7]]).take(np.array([2, 0])).items.tolist()
        [7, 5, 6]
        """
        return self.runs(self.offsets[:-1][rows], self.lengths[rows])

    def runs(self, starts: NDArray[np.int64], lengths: NDArray[np.int64]) -> "Histories":
        """Return runs of entries as rows of their own.

        Args:
            starts: (R,) position of each run's first entry among all N.
            lengths: (R,) its number of entries.

        >>> one = Histories.from_lists([[5, 6, 7]])
        >>> one.runs(np.array([1, 0]), np.array([2, 1])).items.tolist()
        [6, 7, 5]
        """
        offsets = np.concatenate([[0], np.cumsum(lengths)])
        source = np.arange(offsets[-1]) + np.repeat(starts - offsets[:-1], lengths)
        return Histories(offsets, self.items[source], self.timestamps[source], self.weights[source])

    def where(self, kept: NDArray[np.bool_]) -> "Histories":
        """Return the same rows with some of the N entries.

        >>> Histories.from_lists([[5, 6], [7]]).where(np.array([False, True, True])).items.tolist()
        [6, 7]
        """
        ends = np.concatenate([[0], np.cumsum(kept)])
        return Histories(
            ends[self.offsets], self.items[kept], self.timestamps[kept], self.weights[kept]
        )

    @classmethod
    def from_frame(cls, interactions: pl.DataFrame, n_users: int) -> "Histories":
        """Build from interactions sorted by (user, timestamp); row u is user index u.

        Raises:
            DataError: the frame is not sorted by user, or holds a user outside [0, n_users).
        """
        users = interactions[USER].to_numpy()
        if len(users) and (np.any(np.diff(users) < 0) or users[0] < 0 or users[-1] >= n_users):
            raise DataError(f"interactions must be sorted by user index, within [0, {n_users})")
        return cls(
            np.searchsorted(users, np.arange(n_users + 1)),
            interactions[ITEM].to_numpy().astype(np.int32),
            interactions[TIMESTAMP].dt.timestamp("us").to_numpy().astype(np.int64),
            interactions[WEIGHT].to_numpy().astype(np.float32),
        )

    @classmethod
    def from_lists(
        cls, items: Sequence[Sequence[int]], timestamps: Sequence[Sequence[int]] | None = None
    ) -> "Histories":
        """Build from one list of item indices per user, oldest first.

        Without timestamps (microseconds), entries of a row are taken as one day apart.

        Raises:
            DataError: items and timestamps differ in number.
        """
        if timestamps is None:
            day = MICROSECONDS_PER_DAY
            timestamps = [range(0, day * len(row), day) for row in items]
        lengths = [len(row) for row in items]
        if [len(row) for row in timestamps] != lengths:
            raise DataError("each item needs one timestamp")
        flat = np.fromiter(chain.from_iterable(items), dtype=np.int32)
        times = np.fromiter(chain.from_iterable(timestamps), dtype=np.int64)
        offsets = np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])
        return cls(offsets, flat, times, np.ones(len(flat), dtype=np.float32))


def concatenate(earlier: Histories, later: Histories) -> Histories:
    """Append to each row of `earlier` the same row of `later`.

    Raises:
        DataError: they differ in the number of rows.

    >>> a, b = Histories.from_lists([[1], [2]]), Histories.from_lists([[], [3]])
    >>> concatenate(a, b).items.tolist()
    [1, 2, 3]
    """
    if len(earlier) != len(later):
        raise DataError(f"cannot join histories of {len(earlier)} and {len(later)} users")
    order = np.argsort(np.concatenate([earlier.rows, later.rows]), kind="stable")
    return Histories(
        earlier.offsets + later.offsets,
        np.concatenate([earlier.items, later.items])[order],
        np.concatenate([earlier.timestamps, later.timestamps])[order],
        np.concatenate([earlier.weights, later.weights])[order],
    )
