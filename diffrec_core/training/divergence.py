"""Detecting divergence: a loss that is not finite, or far above where it began.

Losses stay on the device until they are looked at: once an epoch, and before a checkpoint is
written. So no step waits for the device, and a diverged state never replaces a good one.
"""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from diffrec_core.common.errors import DataError

_ENOUGH_ROWS = 20
"""Losses are compared as means over so many rows at least: one row's depends on its timestep."""


class DivergenceError(DataError):
    """The loss or the weights are not finite numbers, or the loss has exploded."""


def initial_loss(losses: NDArray[np.float64], rows: NDArray[np.int64]) -> float | None:
    """Loss of the first step, the only one before any update; None if it has under 20 rows.

    Args:
        losses: (S,) mean loss of each step of the first epoch.
        rows: (S,) rows of each step.
    """
    return float(losses[0]) if len(rows) and rows[0] >= _ENOUGH_ROWS else None


def first_bad_step(
    losses: NDArray[np.float64], rows: NDArray[np.int64], limit: float
) -> int | None:
    """Find the first step whose loss is not finite or, as a mean over 20 rows, above `limit`.

    Args:
        losses: (S,) mean loss of each step.
        rows: (S,) rows of each step.
        limit: the largest mean that is not suspicious.

    Returns:
        The step, 0-based; None if all are good.
    """
    bad = ~np.isfinite(losses)
    n_finite = int(bad.argmax()) if bad.any() else len(losses)
    seen = np.concatenate([[0], rows[:n_finite].cumsum()])
    total = np.concatenate([[0.0], (losses * rows)[:n_finite].cumsum()])
    end = np.flatnonzero(seen >= _ENOUGH_ROWS)
    start = np.searchsorted(seen, seen[end] - _ENOUGH_ROWS, side="right") - 1
    bad[end[(total[end] - total[start]) / (seen[end] - seen[start]) > limit] - 1] = True
    return int(bad.argmax()) if bad.any() else None


def all_finite(tensors: Iterable[Tensor]) -> bool:
    """Return whether no floating-point tensor holds an infinity or a NaN; waits for the device."""
    # a sum is finite only if all its terms are, and needs no memory
    sums = [tensor.detach().sum() for tensor in tensors if tensor.is_floating_point()]
    return all(bool(total.isfinite()) for total in sums)
