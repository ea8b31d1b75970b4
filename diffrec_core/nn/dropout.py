"""Dropout whose masks are cheap to draw on a CPU."""

import torch
from torch import Tensor, nn

_LEVELS = 1 << 16


class Dropout(nn.Module):
    """Zero entries with probability `p` in training, and scale the rest by 1 / (1 - p).

    On a CPU, `nn.Dropout` draws one Bernoulli variable after another; here 64 random bits serve
    four entries, and `p` is rounded to a multiple of 2^-16. That saves under a tenth of a fit of
    DiffRec; it stays because another stream of random numbers would change all published results.
    """

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        """Any shape in, the same out."""
        if not self.training or self.p == 0.0:
            return x
        if x.device.type != "cpu":  # GPUs draw bits in parallel, fused with the product
            return nn.functional.dropout(x, self.p, training=True)
        return x * keep_scale(x.shape, self.p)


def keep_scale(shape: torch.Size, p: float) -> Tensor:
    """Draw a dropout mask: 0 with probability `p`, else 1 / (1 - p), float32."""
    dropped = min(round(p * _LEVELS), _LEVELS - 1)
    words = torch.empty(-(-shape.numel() // 4), dtype=torch.int64).random_(-(2**63), None)
    level = words.view(torch.int16)[: shape.numel()].view(shape)
    # 0 and 1 in place: torch compares into bool, and reads bool, one entry after another
    keep = level.ge_(dropped - _LEVELS // 2)
    return keep.to(torch.float32).mul_(_LEVELS / (_LEVELS - dropped))
