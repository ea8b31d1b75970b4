"""Losses of the next item: cross entropy over all items or a sample of them, and binary.

Shapes: N entries that another one follows, D embedding, I items, K negatives.
"""

import math

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx
from torch.nn.functional import embedding, softplus

from diffrec_core.nn.denoising import Reweigh
from diffrec_core.nn.negatives import pair_scores

_CHUNK_ENTRIES = 1 << 20
"""Scores at a time, 4 MiB of float32; more or fewer change results by rounding alone."""


def softmax_loss(hidden_ND: Tensor, items_ID: Tensor, targets_N: Tensor) -> Tensor:
    """Sum of -ln softmax(h · E)_target over all items; never more than a chunk of scores exists.

    The gradient is computed on the way, chunk by chunk, instead of keeping N × I scores for it.
    """
    result: Tensor = _SoftmaxLoss.apply(  # type: ignore[no-untyped-call]
        hidden_ND, items_ID, targets_N
    )
    return result


class _SoftmaxLoss(torch.autograd.Function):
    """Value and gradients in one pass: d loss / d scores = softmax - one at the target.

    With MovieLens-1M's items an epoch takes 1.2 times as long with autograd's own gradient, which
    keeps all N × I scores (`make bench CASES=sasrec.epoch`; one thread, float32).
    """

    @staticmethod
    def forward(ctx: FunctionCtx, hidden_ND: Tensor, items_ID: Tensor, targets_N: Tensor) -> Tensor:
        total = hidden_ND.new_zeros(())
        grad_ND, grad_ID = torch.empty_like(hidden_ND), torch.zeros_like(items_ID)
        rows = max(1, _CHUNK_ENTRIES // len(items_ID))
        for start in range(0, len(hidden_ND), rows):
            hidden, target = hidden_ND[start : start + rows], targets_N[start : start + rows, None]
            log_share = (hidden @ items_ID.T).log_softmax(dim=1)
            total -= log_share.gather(1, target).sum()
            grad = log_share.exp_()
            grad.scatter_(1, target, grad.gather(1, target) - 1.0)
            torch.mm(grad, items_ID, out=grad_ND[start : start + rows])
            grad_ID.addmm_(grad.T, hidden)
        ctx.save_for_backward(grad_ND, grad_ID)
        return total

    @staticmethod
    def backward(ctx: FunctionCtx, grad: Tensor) -> tuple[Tensor, Tensor, None]:
        grad_ND, grad_ID = ctx.saved_tensors  # type: ignore[attr-defined]
        return grad_ND * grad, grad_ID * grad, None


def sampled_softmax_loss(
    hidden_ND: Tensor, items_ID: Tensor, targets_N: Tensor, negatives_K: Tensor
) -> Tensor:
    """Sum of -ln of the target's softmax among itself and negatives drawn uniformly.

    A negative stands for (I - 1) / K items, so that ln of that is added to its score (Jean et
    al., "On Using Very Large Target Vocabulary", ACL 2015, eq. 10): the loss approaches that over
    all items as K grows. A negative that is the target itself does not count.
    Negatives are the same for all entries, so that one product scores them.
    """
    total = hidden_ND.new_zeros(())
    correction = math.log(max(len(items_ID) - 1, 1) / len(negatives_K))
    sample_KD = embedding(negatives_K, items_ID)
    rows = max(1, _CHUNK_ENTRIES // len(negatives_K))
    for hidden, target in zip(
        torch.split(hidden_ND, rows), torch.split(targets_N, rows), strict=True
    ):
        positive_N = pair_scores(hidden, items_ID, target[:, None])
        scores_NK = hidden @ sample_KD.T + correction
        scores_NK = scores_NK.masked_fill(target[:, None] == negatives_K, -torch.inf)
        all_scores = torch.cat([positive_N, scores_NK], dim=1)
        total = total - all_scores.log_softmax(dim=1)[:, 0].sum()
    return total


def binary_loss(scores_NK: Tensor, reweigh: Reweigh | None = None) -> Tensor:
    """Sum of -w ln σ(positive) - Σ ln(1 - σ(negative)), w = 1 (SASRec, section III-E).

    Args:
        scores_NK: the positive's score in column 0, its negatives' after it.
        reweigh: gives the positives other weights w (see `nn.denoising`).
    """
    positive_N = softplus(-scores_NK[:, 0])
    if reweigh is not None:
        with torch.no_grad():
            weights_N = reweigh(positive_N, torch.ones_like(positive_N))
        positive_N = weights_N * positive_N
    return positive_N.sum() + softplus(scores_NK[:, 1:]).sum()
