"""Random numbers of 16 bits each, which a CPU draws many times sooner than torch's own.

torch draws one variable after another on a CPU, and the masks and the noise of a training step
then take as long as one of its products. 64 bits of its generator serve four entries.
"""

from functools import cache

import numpy as np
import torch
from torch import Tensor

LEVELS = 1 << 16


def random_levels(count: int) -> Tensor:
    """Draw (count,) int16, each of the 2^16 values as likely as the others, on the CPU.

    Where products are in bfloat16 (under autocast), torch's generator only seeds an SFC64, which
    draws in half the time: of those shorter steps drawing would be a sixteenth.
    """
    n_words = -(-count // 4)
    if torch.is_autocast_enabled("cpu"):
        seed = int(torch.empty((), dtype=torch.int64).random_())
        words = torch.from_numpy(np.random.SFC64(seed).random_raw(n_words))
    else:
        words = torch.empty(n_words, dtype=torch.int64).random_(-(2**63), None)
    return words.view(torch.int16)[:count]


def coarse_normal_like(like: Tensor) -> Tensor:
    """Draw standard normal noise of 16 bits an entry, of the shape and type of a tensor on the CPU.

    A draw is one of the 2^16 medians of equally likely parts of the distribution: in the middle
    they are finer than bfloat16 can tell apart, the outermost are at ± 4.3. Mean 0, variance 1.
    """
    level = random_levels(like.numel()).view(torch.uint16).to(torch.int32)
    return _normal_quantiles().index_select(0, level).view(like.shape).to(like.dtype)


@cache
def _normal_quantiles() -> Tensor:
    """(2^16,) float32, ascending."""
    share = (torch.arange(LEVELS, dtype=torch.float64) + 0.5) / LEVELS
    quantiles: Tensor = torch.special.ndtri(share)
    return (quantiles / quantiles.square().mean().sqrt()).to(torch.float32)
