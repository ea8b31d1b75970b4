"""Training on shuffled batches, with one step of all optimizers for each."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sized
from typing import Generic, Protocol, TypeVar

import torch
from numpy import int64
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.optim import Optimizer

from diffrec_core.data.batches import shuffled_batches
from diffrec_core.training.epoch import Epoch


class HasBatchSize(Protocol):
    """A configuration that says how many rows a step has."""

    @property
    def batch_size(self) -> int:
        """Rows per step."""


Network = TypeVar("Network", bound=nn.Module)
Rows = TypeVar("Rows", bound=Sized)
Settings = TypeVar("Settings", bound=HasBatchSize)


class BatchProgram(ABC, Generic[Network, Rows, Settings]):
    """A network, its optimizers and the rows that it learns from (see `training.program`).

    Args:
        network: what is trained.
        rows: the training data, on the network's device where they are tensors.
        config: the batch size, and what a family's losses and optimizers need.
        seed: of the order of rows.
        validation: measures recall@20, or returns None.
    """

    def __init__(
        self,
        network: Network,
        rows: Rows,
        config: Settings,
        *,
        seed: int,
        validation: Callable[[], float | None],
    ) -> None:
        self.module: nn.Module = network
        self.network, self.rows, self.config = network, rows, config
        self.seed, self.validate = seed, validation
        self.optimizers = self.make_optimizers()

    @property
    def n_rows(self) -> int:
        """Number of rows in an epoch."""
        return len(self.rows)

    @abstractmethod
    def make_optimizers(self) -> Mapping[str, Optimizer]:
        """Return the optimizers of the network's parameters, by name."""

    @abstractmethod
    def losses(self, rows: NDArray[int64], epoch: Epoch) -> Iterable[Tensor]:
        """Terms that add up to the mean loss of this process's share of a batch.

        More than one where a batch is passed piece by piece, so that one is in memory at a time.

        Args:
            rows: (B,) numbers of the batch's rows.
            epoch: that is under way.
        """

    def train_epoch(self, epoch: Epoch) -> None:
        """One pass over all rows."""
        self.module.train()
        size = self.config.batch_size
        batches = list(shuffled_batches(self.n_rows, size, seed=self.seed, epoch=epoch.number))
        for step in epoch.steps(len(batches)):
            self.module.zero_grad()
            epoch.average(self._backward(batches[step], epoch))
            for optimizer in self.optimizers.values():
                optimizer.step()

    def _backward(self, rows: NDArray[int64], epoch: Epoch) -> Tensor:
        """Add up the gradients of all terms; return their sum."""
        terms = []
        for loss in self.losses(rows, epoch):
            loss.backward()  # type: ignore[no-untyped-call]
            terms.append(loss.detach())
        return torch.stack(terms).sum()
