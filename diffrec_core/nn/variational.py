"""Latent draws and loss terms of variational and denoising autoencoders.

Source: Liang et al., "Variational Autoencoders for Collaborative Filtering", WWW 2018.
Shapes: B users, I items, N entries of a batch, Z latent dimensions.
"""

import torch
from torch import Tensor
from torch.nn.functional import softplus

from diffrec_core.nn.sparse_rows import SparseRows


def sample_latent(latent_mean: Tensor, latent_log_variance: Tensor) -> Tensor:
    """Draw z by the reparameterisation trick, from standard normal noise."""
    return latent_mean + torch.exp(0.5 * latent_log_variance) * torch.randn_like(latent_mean)


def kl_divergence(latent_mean: Tensor, latent_log_variance: Tensor) -> Tensor:
    """(B,) KL of N(mean, variance) from N(0, I)."""
    terms = 1 + latent_log_variance - latent_mean.square() - latent_log_variance.exp()
    return -0.5 * terms.sum(dim=1)


def multinomial_loss(scores: Tensor, histories: SparseRows) -> Tensor:
    """(B,) negative multinomial log-likelihood: -Σ_i x_i ln softmax(scores)_i (eq. 2)."""
    entries = multinomial_entries(scores, histories)
    weighted = histories.weights.to(entries.dtype) * entries
    return weighted.new_zeros(len(histories)).index_add(0, histories.rows, weighted)


def multinomial_entries(scores: Tensor, histories: SparseRows) -> Tensor:
    """(N,) -ln softmax(scores) of every entry, whatever it weighs.

    Scores may be bfloat16; what is computed of them is not.
    """
    scores = scores.to(torch.promote_types(scores.dtype, torch.float32))
    return -scores.log_softmax(dim=1).flatten().gather(0, histories.positions)


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
