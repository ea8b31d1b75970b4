"""The generator of IRGAN: a distribution over all items, given a history.

Shapes: B users, I items, N entries of their histories, D embedding, K samples of each user.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from diffrec_core.nn.dropout import Dropout
from diffrec_core.nn.sparse_rows import SparseRows

_LEAST_NORM = 1e-12
"""Of a history's weights: one without any has a user vector of 0, not a division by it."""


class Generator(nn.Module):
    """p(d | u) = softmax over d of v_u · v_d + b_d, v_u being a weighted sum over the history.

    The paper learns a vector of every user (section 4.2). Ours is computed from the history, so
    that whoever has one can be scored; training hides a share `dropout` of its entries, lest an
    item be explained by itself.
    """

    def __init__(self, n_items: int, dim: int, dropout: float) -> None:
        super().__init__()
        scale = dim**-0.5
        self.history = nn.Parameter(torch.randn(n_items, dim) * scale)
        self.items = nn.Parameter(torch.randn(n_items, dim) * scale)
        self.bias = nn.Parameter(torch.zeros(n_items))
        self.dropout = Dropout(dropout)

    def forward(self, rows: SparseRows) -> Tensor:
        """(B, I) scores; a history's weights are scaled to length 1 first."""
        norm_B = torch.zeros(len(rows), device=rows.weights.device)
        norm_B = norm_B.index_add_(0, rows.rows, rows.weights.square()).sqrt()
        weights_N = rows.weights / norm_B.clamp_min(_LEAST_NORM)[rows.rows]
        seen = rows.with_weights(self.dropout(weights_N))
        return torch.addmm(self.bias, seen.project(self.history), self.items.T)


class Draws(NamedTuple):
    """Items drawn for B users, K for each.

    Attributes:
        fakes: (B, K) from the generator, for the discriminator to tell from the user's items.
        items: (B, K) from the generator or the user's own, for which the generator is rewarded.
        ratios: (B, K) p(item) / probability of having drawn it.
    """

    fakes: Tensor
    items: Tensor
    ratios: Tensor


def draw(probability_BI: Tensor, rows: SparseRows, count: int, positive_share: float) -> Draws:
    """Draw items from (1 - λ) p + λ q, q being uniform over the entries of the user's history.

    A generator that is still poor hardly ever draws what the discriminator likes; the user's own
    items show it, and the ratios make up for their being drawn too often (the authors' code,
    its own importance sampling; the paper has λ = 0).

    Args:
        probability_BI: p.
        rows: B histories, each with an entry.
        count: K.
        positive_share: λ, in [0, 1).
    """
    fakes_BK = torch.multinomial(probability_BI, count, replacement=True)
    own_BK = draw_own(rows, count)
    is_own_BK = torch.rand(own_BK.shape, device=own_BK.device) < positive_share
    items_BK = torch.where(is_own_BK, own_BK, fakes_BK)
    own_share_BI = torch.zeros_like(probability_BI)
    share_N = rows.offsets.diff().reciprocal()[rows.rows]
    own_share_BI.view(-1).index_add_(0, rows.positions, share_N)
    p_BK, q_BK = probability_BI.gather(1, items_BK), own_share_BI.gather(1, items_BK)
    ratios_BK = p_BK / ((1.0 - positive_share) * p_BK + positive_share * q_BK)
    return Draws(fakes_BK, items_BK, ratios_BK)


def draw_own(rows: SparseRows, count: int) -> Tensor:
    """(B, K) entries of each user's history, uniformly, with replacement."""
    lengths_B1 = rows.offsets.diff()[:, None]
    place_BK = torch.rand(len(rows), count, device=lengths_B1.device) * lengths_B1
    # rounding may give the length itself
    place_BK = torch.minimum(place_BK.long(), lengths_B1 - 1)
    return rows.items[rows.offsets[:-1, None] + place_BK]
