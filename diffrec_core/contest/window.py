"""The newest nights of a sequence without end, as one array."""

import numpy as np
from numpy.typing import NDArray

from diffrec_core.contest.evidence import Floats


class Window:
    """Arrays of the newest nights, equal in shape; older ones are overwritten.

    Args:
        nights: at most so many are kept.
    """

    def __init__(self, nights: int) -> None:
        self._size, self._added = nights, 0
        self._kept: Floats = np.zeros((0, 0, 0))

    def __len__(self) -> int:
        return min(self._added, self._size)

    @property
    def newest(self) -> Floats:
        """(T, R, ...) the nights that are kept, in no order; do not change them."""
        return self._kept[: len(self)]

    @property
    def in_order(self) -> Floats:
        """(T, R, ...) a copy, oldest first."""
        return np.roll(self.newest, -(self._added % self._size) if len(self) else 0, axis=0)

    def add(self, night: Floats) -> None:
        """Keep (R, ...) of a night, in the place of the oldest one if there are enough."""
        if self._added == 0:
            self._kept = np.zeros((self._size, *night.shape))
        self._kept[self._added % self._size] = night
        self._added += 1

    def total(self) -> Floats:
        """(R, ...) sum over the nights that are kept."""
        total: Floats = self.newest.sum(axis=0)
        return total

    def clear(self, contests: NDArray[np.bool_]) -> None:
        """Set all nights of the chosen contests, (R,), to 0."""
        if len(self) and contests.any():
            self._kept[:, contests] = 0.0
