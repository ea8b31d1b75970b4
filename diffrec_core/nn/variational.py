"""What variational and denoising autoencoders are trained by: latent draws and loss terms.

Source: Liang et al., "Variational Autoencoders for Collaborative Filtering", WWW 2018.
Shapes: B users, I items, N entries of a batch, Z latent dimensions.
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx
from torch.nn.functional import softplus

from diffrec_core.nn.sparse_rows import SparseRows


def sample_latent(
    latent_mean: Tensor,
    latent_log_variance: Tensor,
    noise_like: Callable[[Tensor], Tensor] = torch.randn_like,
) -> Tensor:
    """Draw z by the reparameterisation trick, from standard normal noise."""
    return latent_mean + torch.exp(0.5 * latent_log_variance) * noise_like(latent_mean)


def kl_divergence(latent_mean: Tensor, latent_log_variance: Tensor) -> Tensor:
    """(B,) KL of N(mean, variance) from N(0, I)."""
    terms = 1 + latent_log_variance - latent_mean.square() - latent_log_variance.exp()
    return -0.5 * terms.sum(dim=1)


def multinomial_loss(scores: Tensor, histories: SparseRows) -> Tensor:
    """(B,) negative multinomial log-likelihood (Liang et al., WWW 2018, eq. 2).

    -Σ_i x_i ln softmax(scores)_i = ln Σ exp(scores) · Σ_i x_i - Σ_i x_i scores_i, where only
    the items of the history have x_i ≠ 0. Scores may be bfloat16; what is computed of them is not.
    """
    result: Tensor = _MultinomialLoss.apply(scores, histories)  # type: ignore[no-untyped-call]
    return result


class _MultinomialLoss(torch.autograd.Function):
    """The softmax is computed once, for both passes; gradients reach the scores alone.

    It becomes the gradient where it lies: a further (B, I) would have to come from memory.
    """

    @staticmethod
    def forward(ctx: FunctionCtx, scores: Tensor, histories: SparseRows) -> Tensor:
        precise = torch.promote_types(scores.dtype, torch.float32)
        rows, positions = histories.rows, histories.positions
        weights = histories.weights.to(precise)
        explained = scores.flatten().gather(0, positions) * weights
        nothing = weights.new_zeros(len(histories))
        total = nothing.index_add(0, rows, weights)
        exact = scores.to(precise)
        share = torch.softmax(exact, dim=1)
        # ln Σ exp(scores) of the row's highest score, whose share is the highest
        log_mass = exact.amax(dim=1) - share.amax(dim=1).log()
        ctx.save_for_backward(share, total, rows, positions, weights)
        ctx.dtype = scores.dtype  # type: ignore[attr-defined]
        return log_mass * total - nothing.index_add(0, rows, explained)

    @staticmethod
    def backward(ctx: FunctionCtx, grad_B: Tensor) -> tuple[Tensor, None]:
        share, total, rows, positions, weights = ctx.saved_tensors  # type: ignore[attr-defined]
        grad: Tensor = share.mul_((grad_B * total)[:, None])
        grad.view(-1).index_add_(0, positions, grad_B[rows] * weights, alpha=-1)
        return grad.to(ctx.dtype), None  # type: ignore[attr-defined]


def multinomial_entries(scores: Tensor, histories: SparseRows) -> Tensor:
    """(N,) -ln softmax(scores) of every entry, whatever it weighs."""
    scores = scores.to(torch.promote_types(scores.dtype, torch.float32))
    explained = scores.flatten().gather(0, histories.positions)
    return torch.logsumexp(scores, dim=1)[histories.rows] - explained


def logistic_loss(scores: Tensor, histories: SparseRows) -> Tensor:
    """(B,) negative logistic log-likelihood (eq. 4), the items of a history weighed.

    -Σ_i x_i ln σ(scores_i) - Σ_j ln(1 - σ(scores_j)) over the items i of the history and all
    others j. For an item of the history that weighs 0 there is no term.
    """
    own = scores.flatten().gather(0, histories.positions)
    others = softplus(scores).sum(dim=1).index_add(0, histories.rows, -softplus(own))
    terms = histories.weights.to(scores.dtype) * softplus(-own)
    return others.index_add(0, histories.rows, terms)


def logistic_entries(scores: Tensor, histories: SparseRows) -> Tensor:
    """(N,) -ln σ(scores) of every entry, whatever it weighs."""
    return softplus(-scores.flatten().gather(0, histories.positions))


def annealed(maximum: float, anneal_steps: int, step: int) -> float:
    """Weight of the KL divergence in a 0-based step (section 2.2): it rises, then stays.

    Args:
        maximum: where it stops.
        anneal_steps: it rises by 1 / this per step; 0: it starts at the maximum.
        step: batches before this one, over all epochs.

    >>> annealed(0.2, 10, 1), annealed(0.2, 10, 5), annealed(0.2, 0, 0)
    (0.1, 0.2, 0.2)
    """
    return min(maximum, step / anneal_steps) if anneal_steps else maximum
