"""Training on shuffled batches, one step of all optimizers for each: what the families share."""

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.optim import Optimizer

from diffrec_core.data.batches import shuffled_batches
from diffrec_core.training.epoch import Epoch


class BatchProgram:
    """A network, its optimizers and the rows that it learns from (see `training.program`).

    Subclasses implement `loss`, or `backward` if it takes several passes.

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
            epoch.average(self.backward(batches[step], epoch))
            for optimizer in self.optimizers.values():
                optimizer.step()

    def loss(self, rows: NDArray[np.int64], epoch: Epoch) -> Tensor:
        """Mean loss of this process's share of a batch, given the numbers of the batch's rows."""
        raise NotImplementedError

    def backward(self, rows: NDArray[np.int64], epoch: Epoch) -> Tensor:
        """Add the gradients of `loss`; return it."""
        loss = self.loss(rows, epoch)
        loss.backward()  # type: ignore[no-untyped-call]
        return loss
