"""What variational and denoising autoencoders are trained by: latent draws and loss terms.

Source: Liang et al., "Variational Autoencoders for Collaborative Filtering", WWW 2018.
Shapes: B users, I items, N entries of a batch, Z latent dimensions.
"""

import torch
from torch import Tensor

from diffrec_core.models.sparse_rows import SparseRows


def sample_latent(latent_mean: Tensor, latent_log_variance: Tensor) -> Tensor:
    """Draw z by the reparameterisation trick."""
    return latent_mean + torch.exp(0.5 * latent_log_variance) * torch.randn_like(latent_mean)


def kl_divergence(latent_mean: Tensor, latent_log_variance: Tensor) -> Tensor:
    """(B,) KL of N(mean, variance) from N(0, I)."""
    terms = 1 + latent_log_variance - latent_mean.square() - latent_log_variance.exp()
    return -0.5 * terms.sum(dim=1)


def multinomial_loss(scores: Tensor, histories: SparseRows) -> Tensor:
    """(B,) negative multinomial log-likelihood (Liang et al., WWW 2018, eq. 2).

    -Σ_i x_i ln softmax(scores)_i = ln Σ exp(scores) · Σ_i x_i - Σ_i x_i scores_i, where only
    the items of the history have x_i ≠ 0.
    """
    rows, weights = histories.rows, histories.weights.to(scores.dtype)
    explained = scores.flatten().gather(0, histories.positions) * weights
    nothing = scores.new_zeros(len(histories))
    total = nothing.index_add(0, rows, weights)
    return torch.logsumexp(scores, dim=1) * total - nothing.index_add(0, rows, explained)


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
