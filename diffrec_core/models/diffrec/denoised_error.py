"""DiffRec's squared error with denoising: the interactions of a history weighed one by one."""

import torch
from torch import Tensor

from diffrec_core.diffusion.losses import mean_squared_error
from diffrec_core.nn.denoising import Reweigh
from diffrec_core.nn.sparse_rows import SparseRows


def denoised_squared_error(
    output: Tensor, target: Tensor, *, histories: SparseRows, reweigh: Reweigh
) -> Tensor:
    """(B,) mean over D of the squared error, with the entries of the histories weighed.

    Args:
        output: (B, D).
        target: (B, D), the dense histories.
        histories: B rows. Their weights are the target: the error itself counts 1, and 0 what
            weighs nothing and is no interaction.
        reweigh: from `reweighing`.
    """
    at = histories.positions
    error_N = output.flatten().gather(0, at).to(torch.float32) - target.flatten().gather(0, at)
    with torch.no_grad():
        ones = (histories.weights != 0).to(torch.float32)
        missing = ones - reweigh(0.5 * error_N.square(), ones)
    lost_N = missing * error_N.square()
    lost_B = error_N.new_zeros(len(histories)).index_add(0, histories.rows, lost_N)
    return mean_squared_error(output, target) - lost_B / target.shape[1]
