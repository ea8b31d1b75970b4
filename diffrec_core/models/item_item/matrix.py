"""A sparse matrix over items, multiplied with batches of sparse histories on the device."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import pairwise

import torch
from scipy import sparse
from torch import Tensor

from diffrec_core.nn.sparse_rows import SparseRows

_MAX_VOTES = 1 << 22
"""Products that are laid out at a time, 24 bytes each; does not change results."""


@dataclass(frozen=True, slots=True)
class ItemItemMatrix:
    """W (I, I): row i holds what having item i speaks for each other item.

    Where the rows are so full that a dense matrix takes no more memory (from a third of all
    entries), it is dense on the device: its rows are then read in one go.

    Attributes:
        rows: the entries that are not 0.
    """

    rows: SparseRows
    _dense: Tensor | None = field(init=False, default=None, repr=False)

    def __post_init__(self) -> None:
        """Lay out the dense form where it is the smaller one."""
        n_items, entry = self.rows.n_items, 8 + 4
        if entry * len(self.rows.items) >= 4 * n_items**2:
            object.__setattr__(self, "_dense", self.rows.dense())

    @classmethod
    def from_scipy(cls, weights_II: sparse.csr_matrix, device: torch.device) -> "ItemItemMatrix":
        """Copy a matrix to the device, as float32."""
        return cls(
            SparseRows(
                torch.from_numpy(weights_II.indptr).to(device, torch.int64),
                torch.from_numpy(weights_II.indices).to(device, torch.int64),
                torch.from_numpy(weights_II.data).to(device, torch.float32),
                weights_II.shape[1],
            )
        )

    def tensors(self) -> dict[str, Tensor]:
        """Return what `restore` takes."""
        items = self.rows.items.to(torch.int32)
        return {"offsets": self.rows.offsets, "items": items, "weights": self.rows.weights}

    @classmethod
    def restore(cls, tensors: Mapping[str, Tensor], device: torch.device) -> "ItemItemMatrix":
        """Take back what `tensors` gave."""
        offsets, items = tensors["offsets"].to(device), tensors["items"].to(device, torch.int64)
        rows = SparseRows(offsets, items, tensors["weights"].to(device), len(offsets) - 1)
        return cls(rows)

    def score(self, rows_BI: SparseRows) -> Tensor:
        """(B, I) rows W, reading only the rows of W that occur."""
        if self._dense is not None:
            return rows_BI.project(self._dense)
        scores = torch.zeros(len(rows_BI) * rows_BI.n_items, device=rows_BI.weights.device)
        starts = rows_BI.rows * rows_BI.n_items
        for part in self._parts(rows_BI.items):
            votes = self.rows.take(rows_BI.items[part])
            voters = votes.rows
            weights = votes.weights * rows_BI.weights[part][voters]
            scores.index_add_(0, votes.items + starts[part][voters], weights)
        return scores.view(len(rows_BI), rows_BI.n_items)

    def _parts(self, items: Tensor) -> Iterator[slice]:
        """Cut history entries into runs of about `_MAX_VOTES` entries of W."""
        votes = self.rows.offsets.diff()[items].cumsum(0)
        n_parts = 1 + (int(votes[-1]) // _MAX_VOTES if len(votes) else 0)
        limits = torch.arange(1, n_parts, device=items.device) * _MAX_VOTES
        for start, stop in pairwise([0, *torch.searchsorted(votes, limits).tolist(), len(items)]):
            yield slice(start, stop)
