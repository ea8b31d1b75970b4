"""Histories cut to the length that a sequential model reads, and laid out for it.

Shapes: B windows, L entries of the longest one.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from diffrec_core.data.histories import Histories


def newest(histories: Histories, length: int) -> Histories:
    """Keep the newest `length` entries of every history.

    >>> newest(Histories.from_lists([[1, 2, 3], [4]]), 2).items.tolist()
    [2, 3, 4]
    """
    lengths = np.minimum(histories.lengths, length)
    return histories.runs(histories.offsets[1:] - lengths, lengths)


def cut(histories: Histories, length: int) -> Histories:
    """Cut every history into windows such that each entry but a history's first follows another.

    A window ends with what is to be predicted last, hence holds up to `length` entries to read
    and one more. The newest window is full, the oldest one gets what is left; neighbours share an
    entry, the last of the one being the first of the other. Single entries give no window.

    >>> windows = cut(Histories.from_lists([[1, 2, 3, 4, 5, 6], [7]]), 2)
    >>> windows.items.tolist(), windows.offsets.tolist()
    ([1, 2, 2, 3, 4, 4, 5, 6], [0, 2, 5, 8])
    """
    counts = _windows_per_row(histories, length)
    rows = rows_of_windows(histories, length)
    newer = counts[rows] - 1 - _places(counts)  # windows of the row that come after this one
    stops = histories.offsets[1:][rows] - newer * length
    starts = np.maximum(stops - length - 1, histories.offsets[:-1][rows])
    return histories.runs(starts, stops - starts)


def rows_of_windows(histories: Histories, length: int) -> NDArray[np.int64]:
    """The row that each window of `cut` comes from."""
    return np.repeat(np.arange(len(histories)), _windows_per_row(histories, length))


def _windows_per_row(histories: Histories, length: int) -> NDArray[np.int64]:
    return -(-np.maximum(histories.lengths - 1, 0) // length)


def _places(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """0, 1, … within each run of the given lengths."""
    first = np.cumsum(counts) - counts
    return np.arange(counts.sum()) - np.repeat(first, counts)


@dataclass(frozen=True, slots=True)
class Padded:
    """A batch of sequences, padded on the left: the newest entry is in the last column.

    Attributes:
        items: (B, L) int64; 0 where there is none.
        weights: (B, L) float32; 0 where there is none.
        filled: (B, L) bool, where there is one.
    """

    items: Tensor
    weights: Tensor
    filled: Tensor

    @classmethod
    def from_histories(
        cls, histories: Histories, weights: NDArray[np.float32], device: torch.device
    ) -> "Padded":
        """Lay out histories, the longest of which has an entry."""
        lengths = torch.from_numpy(histories.lengths)
        longest = int(lengths.max())
        filled = torch.arange(longest) >= longest - lengths[:, None]
        items = torch.zeros(filled.shape, dtype=torch.long)
        shown = torch.zeros(filled.shape)
        items[filled] = torch.from_numpy(histories.items.astype(np.int64))
        shown[filled] = torch.from_numpy(weights)
        return cls(items.to(device), shown.to(device), filled.to(device))

    def split_last(self) -> tuple["Padded", Tensor]:
        """The sequences without their last column, and (N,) the item after each entry of those."""
        before = Padded(self.items[:, :-1], self.weights[:, :-1], self.filled[:, :-1])
        return before, self.items[:, 1:][before.filled]
