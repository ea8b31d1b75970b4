"""One epoch under way: its steps, their seeds and their losses.

A program's epoch is a loop over `Epoch.steps` (see `training.batch_program`). Between two steps the
module, the optimizers and this object hold the whole state: a checkpoint can be written there.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from diffrec_core.training.distributed import Processes
from diffrec_core.training.seeding import reseed


class Epoch:
    """Numbers and seeds the steps of an epoch, shares out their rows, keeps their losses.

    Args:
        number: 1-based.
        seed: parent of all randomness of the training.
        device: of the losses.
        parameters: whose gradients the processes average.
        processes: those that train together.
        after_step: called after every step.
    """

    def __init__(
        self,
        number: int,
        *,
        seed: int = 0,
        device: torch.device | None = None,
        parameters: Iterable[nn.Parameter] = (),
        processes: Processes | None = None,
        after_step: Callable[[], None] = lambda: None,
    ) -> None:
        self.number, self.seed = number, seed
        self.device = device or torch.device("cpu")
        self.processes = processes or Processes()
        self._parameters, self._after_step = list(parameters), after_step
        self._losses: list[Tensor] = []
        self._rows: list[int] = []
        self.batch_rows, self._share = 0, self.processes.share(1)
        self._n_steps = 0

    def steps(self, n_steps: int) -> Iterator[int]:
        """Yield the steps that are still to be done, 0-based, each with a seed of its own.

        The seed differs between processes: each draws noise for its own rows.
        """
        self._n_steps = n_steps
        for step in range(self.steps_done, n_steps):
            self._reseed(step, "rank", self.processes.rank)
            yield step
            self._after_step()

    @property
    def steps_done(self) -> int:
        """Steps whose losses are known."""
        return len(self._rows)

    @property
    def steps_since_start(self) -> int:
        """Steps done in this epoch and all before it."""
        return (self.number - 1) * self._n_steps + self.steps_done

    def share(self, n_rows: int) -> slice:
        """Begin a step on a batch of `n_rows`; return which rows this process computes."""
        self.batch_rows, self._share = n_rows, self.processes.share(n_rows)
        return self._share.part

    @property
    def part(self) -> slice:
        """The rows of the step's batch that this process computes."""
        return self._share.part

    def whole(self, values: Tensor) -> Tensor:
        """Put together values of the rows of the step's batch from all processes' parts."""
        return self.processes.whole(values, self.batch_rows, self._share)

    def average(self, loss: Tensor) -> None:
        """Average the gradients, and the mean loss, over the processes; remember the loss."""
        mean = self.processes.average(self._parameters, loss.detach(), self._share.weight)
        self._losses.append(mean.to(torch.float64, copy=True))
        self._rows.append(self.batch_rows)

    @contextmanager
    def common_seed(self, *names: str | int) -> Iterator[None]:
        """Draw what must be equal in all processes; then each goes on with a seed of its own."""
        step = self.steps_done
        self._reseed(step, *names)
        yield
        self._reseed(step, "after", *names, "rank", self.processes.rank)

    def losses(self) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """(S,) mean loss and (S,) number of rows of every step so far; waits for the device."""
        rows = np.array(self._rows, dtype=np.int64)
        if not self._losses:
            return np.zeros(0), rows
        losses: NDArray[np.float64] = torch.stack(self._losses).cpu().numpy()
        return losses, rows

    def restore(self, losses: Tensor, rows: Tensor) -> None:
        """Take up an epoch after its first steps, given what `losses` gave then."""
        self._losses = list(losses.to(self.device))
        self._rows = rows.tolist()

    def _reseed(self, step: int, *names: str | int) -> None:
        reseed(self.device, self.seed, "epoch", self.number, "step", step, *names)
