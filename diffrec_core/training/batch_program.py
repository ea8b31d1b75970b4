"""Training on shuffled batches, one step of all optimizers for each: what the families share."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.optim import Optimizer

from diffrec_core.data.batches import shuffled_batches
from diffrec_core.training.epoch import Epoch


class BatchProgram(ABC):
    """A network, its optimizers and the rows that it learns from (see `training.program`).

    Args:
        module: what is trained.
        optimizers: by name.
        n_rows: of the training data.
        batch_size: rows per step.
        seed: of the order of rows.
        validation: measures recall@20, or returns None.
    """

    def __init__(
        self,
        module: nn.Module,
        optimizers: Mapping[str, Optimizer],
        *,
        n_rows: int,
        batch_size: int,
        seed: int,
        validation: Callable[[], float | None],
    ) -> None:
        self.module, self.optimizers, self.validate = module, optimizers, validation
        self.n_rows, self.batch_size, self.seed = n_rows, batch_size, seed

    def train_epoch(self, epoch: Epoch) -> None:
        """One pass over all rows."""
        self.module.train()
        order = shuffled_batches(self.n_rows, self.batch_size, seed=self.seed, epoch=epoch.number)
        batches = list(order)
        for step in epoch.steps(len(batches)):
            self.module.zero_grad()
            epoch.average(self._backward(batches[step], epoch))
            for optimizer in self.optimizers.values():
                optimizer.step()

    @abstractmethod
    def losses(self, rows: NDArray[np.int64], epoch: Epoch) -> Iterable[Tensor]:
        """Terms that add up to the mean loss of this process's share of a batch.

        More than one where a batch is passed piece by piece, so that one is in memory at a time.

        Args:
            rows: (B,) numbers of the batch's rows.
            epoch: that is under way.
        """

    def _backward(self, rows: NDArray[np.int64], epoch: Epoch) -> Tensor:
        """Add up the gradients of all terms; return their sum."""
        terms = []
        for loss in self.losses(rows, epoch):
            loss.backward()  # type: ignore[no-untyped-call]
            terms.append(loss.detach())
        return torch.stack(terms).sum()
