"""A batch of weighted histories on the device, sparse."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from diffrec_core.data.histories import Histories


@dataclass(frozen=True)
class SparseRows:
    """B rows of the user-item matrix in compressed form.

    Attributes:
        offsets: (B + 1,) int64; row b holds entries offsets[b] … offsets[b + 1].
        items: (N,) int64, distinct within a row.
        weights: (N,) float32.
        n_items: I.
    """

    offsets: Tensor
    items: Tensor
    weights: Tensor
    n_items: int

    @classmethod
    def from_histories(
        cls,
        histories: Histories,
        weights: NDArray[np.float32],
        n_items: int,
        device: torch.device,
    ) -> "SparseRows":
        """Copy histories, with the weights that the model is to see, to the device."""
        return cls(
            torch.from_numpy(histories.offsets).to(device),
            torch.from_numpy(histories.items.astype(np.int64)).to(device),
            torch.from_numpy(weights).to(device),
            n_items,
        )

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @cached_property
    def rows(self) -> Tensor:
        """(N,) the row of each entry."""
        lengths = self.offsets.diff()
        return torch.repeat_interleave(
            torch.arange(len(self), device=lengths.device), lengths, output_size=len(self.items)
        )

    def take(self, rows: Tensor) -> "SparseRows":
        """Return the given rows, in that order.

        >>> rows = SparseRows(torch.tensor([0, 2, 3]), torch.tensor([4, 5, 6]), torch.ones(3), 9)
        >>> rows.take(torch.tensor([1, 0])).items.tolist()
        [6, 4, 5]
        """
        rows = rows.to(self.offsets.device)
        starts = self.offsets.index_select(0, rows)
        lengths = self.offsets.index_select(0, rows + 1) - starts
        offsets = torch.nn.functional.pad(lengths.cumsum(0), (1, 0))
        shift = torch.repeat_interleave(starts - offsets[:-1], lengths)
        source = torch.arange(len(shift), device=shift.device) + shift
        # index_select: on a CPU, `[]` takes three times as long
        items, weights = (x.index_select(0, source) for x in (self.items, self.weights))
        return SparseRows(offsets, items, weights, self.n_items)

    def with_weights(self, weights: Tensor) -> "SparseRows":
        """Return the same entries with other weights, (N,)."""
        return SparseRows(self.offsets, self.items, weights, self.n_items)

    def normalized(self) -> "SparseRows":
        """Return the rows scaled to length 1; what weighs nothing stays so.

        >>> rows = SparseRows(torch.tensor([0, 2]), torch.tensor([4, 5]), torch.tensor([3., 4.]), 9)
        >>> [round(weight, 3) for weight in rows.normalized().weights.tolist()]
        [0.6, 0.8]
        """
        squares_B = self.weights.new_zeros(len(self)).index_add(0, self.rows, self.weights.square())
        scale_B = squares_B.clamp_min(torch.finfo(squares_B.dtype).tiny).rsqrt()
        return self.with_weights(self.weights * scale_B[self.rows])

    @property
    def positions(self) -> Tensor:
        """(N,) where each entry lies in the flattened (B, I) matrix."""
        return self.rows * self.n_items + self.items

    def dense(self) -> Tensor:
        """(B, I) float32."""
        flat = torch.zeros(len(self) * self.n_items, device=self.weights.device)
        return flat.scatter_(0, self.positions, self.weights).view(len(self), self.n_items)

    def project(self, table_IH: Tensor) -> Tensor:
        """(B, H): the rows times a table, reading only the rows of the table that occur.

        Gradients reach the table, not the weights.
        """
        return torch.nn.functional.embedding_bag(
            self.items,
            table_IH,
            self.offsets[:-1],
            mode="sum",
            per_sample_weights=self.weights.to(table_IH.dtype),
        )
