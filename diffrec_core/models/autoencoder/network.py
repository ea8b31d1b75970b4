"""Encoder and decoder of histories.

Histories stay sparse: the first layer reads the rows of its table that occur, and the likelihood
the scores of the items that occur. Sections and equations are those of the paper (see `model`).
Shapes: B users, I items, Z latent dimensions.
"""

import torch
from torch import Tensor, nn

from diffrec_core.models.autoencoder.config import AutoencoderConfig
from diffrec_core.nn.denoising import Reweigh, denoised
from diffrec_core.nn.dropout import Dropout
from diffrec_core.nn.mlp import initialise_linear, mlp
from diffrec_core.nn.sparse_rows import SparseRows
from diffrec_core.nn.variational import (
    kl_divergence,
    logistic_entries,
    logistic_loss,
    multinomial_entries,
    multinomial_loss,
    sample_latent,
)

_LIKELIHOODS = {
    "multinomial": (multinomial_loss, multinomial_entries),
    "logistic": (logistic_loss, logistic_entries),
}
"""The loss of histories, and that of their single entries."""


class AutoencoderNetwork(nn.Module):
    """Encoder and decoder, mirror images of each other, tanh between their layers.

    The code of a drawn model is the mean and the log-variance of a Gaussian, without a
    nonlinearity; that of the other passes through tanh (section 4).
    """

    def __init__(self, n_items: int, config: AutoencoderConfig) -> None:
        super().__init__()
        self.loss, self.entry_losses = _LIKELIHOODS[config.likelihood]
        self.drawn = config.kl_schedule is not None
        outwards = (*config.hidden_dims, n_items)
        code_dim = config.latent_dim * (2 if self.drawn else 1)
        inwards = (*reversed(outwards), code_dim)
        self.table = nn.Parameter(torch.empty(inwards[0], inwards[1]))
        self.bias = nn.Parameter(torch.empty(inwards[1]))
        self.encoder = mlp(inwards[1:], "tanh", activate_first=True)
        self.decoder = mlp((config.latent_dim, *outwards), "tanh", activate_first=not self.drawn)
        self.dropout = Dropout(config.dropout)
        self.apply(initialise_linear)
        nn.init.xavier_normal_(self.table)
        nn.init.normal_(self.bias, std=0.001)

    def scores(self, histories: SparseRows) -> Tensor:
        """(B, I) from the code's mean."""
        scores: Tensor = self.decoder(self._encode(histories.normalized())[0])
        return scores

    def losses(
        self, histories: SparseRows, kl_weight: float, reweigh: Reweigh | None = None
    ) -> Tensor:
        """(B,) negative log-likelihood of the histories, given themselves with gaps.

        A drawn model adds `kl_weight` times the KL divergence of its code (section 2.2): minus the
        evidence lower bound where the weight is 1. `reweigh` weighs the interactions that are to
        be explained (see `nn.denoising`).
        """
        rows = histories.normalized()
        mean, log_variance = self._encode(rows.with_weights(self.dropout(rows.weights)))
        code = mean if log_variance is None else sample_latent(mean, log_variance)
        scores = self.decoder(code)
        target = denoised(histories, lambda: self.entry_losses(scores, histories), reweigh)
        loss = self.loss(scores, target)
        if log_variance is None:
            return loss
        return loss + kl_weight * kl_divergence(mean, log_variance)

    def _encode(self, rows: SparseRows) -> tuple[Tensor, Tensor | None]:
        """(B, Z) mean and log-variance, or the code itself and None."""
        code = self.encoder(rows.project(self.table) + self.bias)
        if not self.drawn:
            return code, None
        mean, log_variance = code.chunk(2, dim=1)
        return mean, log_variance
