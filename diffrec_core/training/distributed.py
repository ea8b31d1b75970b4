"""Several processes that train one model together, each on its share of every batch.

Every process holds the whole model. Each computes the gradients of its share of a batch; their
mean, weighted by the shares' sizes, is that of the whole batch, up to rounding. All take the same
optimizer step, so that the models stay equal. The first process alone validates and writes files.
Starting processes is the caller's business.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, distributed, nn


class Share(NamedTuple):
    """One process's part of a batch.

    Attributes:
        part: its rows; never empty: with fewer rows than processes, some compute another's row.
        weight: the share of the batch's mean that comes from them; 0 for such a row.
    """

    part: slice
    weight: float


@dataclass(frozen=True, slots=True)
class Processes:
    """This process among those that train together; by default, the only one.

    With more than one, torch's default process group must have been initialised.

    Attributes:
        rank: 0 … count - 1.
        count: how many there are.
    """

    rank: int = 0
    count: int = 1

    @property
    def is_writer(self) -> bool:
        """This process writes the files."""
        return self.rank == 0

    def share(self, n_rows: int) -> Share:
        """Cut a batch of `n_rows`, at least 1, into one run of rows per process.

        >>> [Processes(rank, 2).share(5) for rank in (0, 1)]
        [Share(part=slice(0, 2, None), weight=0.4), Share(part=slice(2, 5, None), weight=0.6)]
        """
        start, stop = (n_rows * edge // self.count for edge in (self.rank, self.rank + 1))
        if start == stop:
            return Share(slice(0, 1), 0.0)
        return Share(slice(start, stop), (stop - start) / n_rows)

    def average(self, parameters: Iterable[nn.Parameter], loss: Tensor, weight: float) -> Tensor:
        """Replace gradients by their weighted sum over the processes.

        Args:
            parameters: the same ones in the same order everywhere; a gradient that is missing
                counts as 0.
            loss: () mean loss of this process's share.
            weight: of this process, see `share`.

        Returns:
            () the mean loss of the whole batch.
        """
        if self.count == 1:
            return loss
        gradients = [_gradient(parameter) for parameter in parameters if parameter.requires_grad]
        total = loss.detach().clone()
        parts = [part.mul_(weight) for part in (*gradients, total)]
        for work in [distributed.all_reduce(part, async_op=True) for part in parts]:
            work.wait()
        return total

    def whole(self, values: Tensor, n_rows: int, share: Share) -> Tensor:
        """Gather (B, ...) values of all rows from (part, ...) of each process's `share` of B."""
        if self.count == 1:
            return values
        gathered = values.new_zeros(n_rows, *values.shape[1:])
        if share.weight > 0:
            gathered[share.part] = values
        distributed.all_reduce(gathered)  # the others' rows are 0 here: the sum is exact
        return gathered

    def broadcast(self, tensors: Iterable[Tensor]) -> None:
        """Overwrite tensors, in place, by those of the first process."""
        if self.count > 1:
            for tensor in tensors:
                distributed.broadcast(tensor.detach(), src=0)


def _gradient(parameter: nn.Parameter) -> Tensor:
    if parameter.grad is None:
        parameter.grad = torch.zeros_like(parameter)
    return parameter.grad
