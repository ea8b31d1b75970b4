"""The network of SASRec.

Source: Kang & McAuley, "Self-Attentive Sequential Recommendation", ICDM 2018 (arXiv 1808.09781),
section III. Layers are normalised before each part of a block, as in eq. 6's residual connection,
and once more at the end. The paper's positions are counted from the oldest place of a sequence of
fixed length; ours from the newest, which is the same for full sequences and lets short ones go
unpadded.

Shapes: B sequences, L entries, D embedding, H heads.
"""

import torch
from torch import Tensor, nn
from torch.nn.functional import embedding, scaled_dot_product_attention

from diffrec_core.models.sasrec.windows import Padded
from diffrec_core.nn.dropout import Dropout

_LEAST_WEIGHT = 1e-12
"""An entry without weight is never seen beside others, and nothing is divided by 0 if alone."""


def attention_bias(batch: Padded) -> Tensor:
    """Return what is added to the attention's logits: which entries are seen, and how much.

    An entry sees itself and those before it, never padding; one of weight w counts like w
    entries, since softmax(a + ln w) ∝ w exp(a). Padding sees itself alone, and nobody sees it.

    Returns:
        (B, 1, L, L) float32: rows look, columns are looked at.
    """
    length = batch.items.shape[1]
    log_weight_BL = batch.weights.clamp_min(_LEAST_WEIGHT).log()
    log_weight_BL = log_weight_BL.masked_fill(~batch.filled, -torch.inf)
    device = batch.items.device
    later_LL = torch.ones(length, length, dtype=torch.bool, device=device).triu(1)
    itself_LL = torch.eye(length, dtype=torch.bool, device=device)
    bias_BLL = log_weight_BL[:, None, :].masked_fill(later_LL, -torch.inf)
    return bias_BLL.masked_fill(itself_LL & ~batch.filled[:, None, :], 0.0)[:, None]


class Block(nn.Module):
    """Self-attention, then a network for each entry (section III-B); H must divide D."""

    def __init__(self, dim: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.attention_norm, self.norm = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.projections = nn.Linear(dim, 3 * dim, bias=False)  # W^Q, W^K, W^V of eq. 3
        self.mix = nn.Linear(dim, dim)
        self.inner, self.outer = nn.Linear(dim, dim), nn.Linear(dim, dim)
        self.dropout = Dropout(dropout)

    def forward(self, x_BLD: Tensor, bias_BHLL: Tensor) -> Tensor:
        """(B, L, D) to the same shape."""
        x_BLD = x_BLD + self.dropout(self._attend(self.attention_norm(x_BLD), bias_BHLL))
        inner_BLD = self.inner(self.norm(x_BLD)).relu()  # eq. 5
        added_BLD: Tensor = self.dropout(self.outer(self.dropout(inner_BLD)))
        return x_BLD + added_BLD

    def _attend(self, x_BLD: Tensor, bias_BHLL: Tensor) -> Tensor:
        """softmax(Q Kᵀ / √(D/H) + bias) V (eq. 2 and 3)."""
        shape = (*x_BLD.shape[:2], self.heads, -1)
        query, key, value = (
            part.reshape(shape).transpose(1, 2) for part in self.projections(x_BLD).chunk(3, dim=-1)
        )
        mixed = scaled_dot_product_attention(query, key, value, attn_mask=bias_BHLL)
        return self.mix(mixed.transpose(1, 2).reshape(x_BLD.shape))  # type: ignore[no-any-return]


class SasRecNetwork(nn.Module):
    """From sequences of up to `max_length` items to what should come next after each entry."""

    def __init__(
        self, n_items: int, *, max_length: int, dim: int, blocks: int, heads: int, dropout: float
    ) -> None:
        super().__init__()
        scale = dim**-0.5  # scores then begin with a variance of 1
        self.items = nn.Parameter(torch.randn(n_items, dim) * scale)
        self.positions = nn.Parameter(torch.randn(max_length, dim) * scale)
        self.blocks = nn.ModuleList(Block(dim, heads, dropout) for _ in range(blocks))
        self.norm = nn.LayerNorm(dim)
        self.dropout = Dropout(dropout)

    def forward(self, batch: Padded) -> Tensor:
        """(B, L, D): what is multiplied by item embeddings; without meaning where padded.

        The input is an item's embedding, the same as the output's (section III-C), times √D, plus
        that of its position (eq. 1), the newest entry having the last.
        """
        length = batch.items.shape[1]
        dim = self.items.shape[1]
        items_BLD = embedding(batch.items, self.items)
        x_BLD = self.dropout(items_BLD * dim**0.5 + self.positions[-length:])
        bias = attention_bias(batch)
        for block in self.blocks:
            x_BLD = block(x_BLD, bias)
        result: Tensor = self.norm(x_BLD)
        return result
