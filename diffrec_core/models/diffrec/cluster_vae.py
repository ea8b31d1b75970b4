"""One variational encoder per item category, and a decoder: the space that L-DiffRec works in.

Items are grouped by category (paper, section 3.3.1); category c of I_c items gets a share of
the latent dimensions in proportion to I_c. Shapes: B users, I items, Z latent dimensions.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor, nn

from diffrec_core.config import Config, PositiveTuple
from diffrec_core.errors import DataError
from diffrec_core.models.diffrec.denoiser import Activation, mlp


class ClusterVaeConfig(Config):
    """Size and regularisation of the autoencoders."""

    encoder_dims: PositiveTuple = Field(default=(300,), min_length=1)
    """Widths of the encoders together; the last is Z. Each category gets its share of each."""

    decoder_dims: PositiveTuple = ()
    """Hidden widths of the decoders together. Empty: one linear layer from all of Z to all
    items, shared by the categories; else one decoder per category."""

    vae_activation: Activation = "tanh"
    """After every encoder layer, the last included, and between decoder layers."""

    vae_dropout: float = Field(default=0.1, ge=0.0, lt=1.0)
    """On the input history, in training."""


class ClusterVae(nn.Module):
    """Encode histories category by category, decode to scores of all items.

    Args:
        categories: (I,) category of each item, each of 0 … C-1 occurring.
        config: sizes.

    Raises:
        DataError: categories are not 0 … C-1, or Z is smaller than C.
    """

    item_order: Tensor
    """(I,) permutation that groups items by category."""
    item_order_inverse: Tensor

    def __init__(self, categories: NDArray[np.integer], config: ClusterVaeConfig) -> None:
        super().__init__()
        self.config = config
        sizes = np.bincount(categories)
        if (sizes == 0).any():
            raise DataError(f"categories must be numbered without gaps, found sizes {sizes}")
        self.sizes: list[int] = sizes.tolist()
        order = np.argsort(categories, kind="stable")
        self.register_buffer("item_order", torch.from_numpy(order))
        self.register_buffer("item_order_inverse", torch.from_numpy(np.argsort(order)))
        hidden = [allocate(width, sizes) for width in config.encoder_dims[:-1]]
        self.latent_sizes = allocate(config.encoder_dims[-1], sizes)
        self.encoders = nn.ModuleList(
            mlp(
                (size, *(layer[c] for layer in hidden), 2 * self.latent_sizes[c]),
                config.vae_activation,
                activate_last=True,
            )
            for c, size in enumerate(self.sizes)
        )
        self.decoders = self._decoders(sizes)
        self.dropout = nn.Dropout(config.vae_dropout)
        self.apply(_initialise)

    def _decoders(self, sizes: NDArray[np.int64]) -> nn.ModuleList:
        if not self.config.decoder_dims:
            return nn.ModuleList([nn.Linear(sum(self.latent_sizes), int(sizes.sum()))])
        hidden = [allocate(width, sizes) for width in self.config.decoder_dims]
        return nn.ModuleList(
            mlp(
                (self.latent_sizes[c], *(layer[c] for layer in hidden), size),
                self.config.vae_activation,
                activate_last=False,
            )
            for c, size in enumerate(self.sizes)
        )

    @property
    def latent_dim(self) -> int:
        """Z."""
        return sum(self.latent_sizes)

    def encode(self, x_BI: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Encode histories.

        Returns:
            corrupted: (B, I) the input after dropout, which the decoder is to explain.
            latent_mean: (B, Z).
            latent_log_variance: (B, Z).
        """
        corrupted = self.dropout(x_BI)
        grouped = torch.split(corrupted[:, self.item_order], self.sizes, dim=1)
        pairs = [
            encode(x).chunk(2, dim=1) for encode, x in zip(self.encoders, grouped, strict=True)
        ]
        means, log_variances = zip(*pairs, strict=True)
        return corrupted, torch.cat(means, dim=1), torch.cat(log_variances, dim=1)

    def decode(self, z_BZ: Tensor) -> Tensor:
        """(B, Z) latent codes to (B, I) scores, items in vocabulary order."""
        if len(self.decoders) == 1:
            grouped = self.decoders[0](z_BZ)
        else:
            codes = torch.split(z_BZ, self.latent_sizes, dim=1)
            parts = [decode(z) for decode, z in zip(self.decoders, codes, strict=True)]
            grouped = torch.cat(parts, dim=1)
        scores: Tensor = grouped[:, self.item_order_inverse]
        return scores


def sample_latent(latent_mean: Tensor, latent_log_variance: Tensor) -> Tensor:
    """Draw z by the reparameterisation trick."""
    return latent_mean + torch.exp(0.5 * latent_log_variance) * torch.randn_like(latent_mean)


def kl_divergence(latent_mean: Tensor, latent_log_variance: Tensor) -> Tensor:
    """(B,) KL of N(mean, variance) from N(0, I)."""
    terms = 1 + latent_log_variance - latent_mean.square() - latent_log_variance.exp()
    return -0.5 * terms.sum(dim=1)


def multinomial_loss(scores: Tensor, x_BI: Tensor) -> Tensor:
    """(B,) negative multinomial log-likelihood (Liang et al., WWW 2018, eq. 2)."""
    return -(torch.log_softmax(scores, dim=1) * x_BI).sum(dim=1)


def allocate(total: int, sizes: NDArray[np.integer]) -> list[int]:
    """Share `total` dimensions in proportion to `sizes`, by largest remainder, at least 1 each.

    Raises:
        DataError: there are fewer dimensions than categories.

    >>> allocate(10, np.array([700, 290, 10]))
    [6, 3, 1]
    """
    if total < len(sizes):
        raise DataError(
            f"{total} latent dimensions cannot be shared by {len(sizes)} categories: raise "
            f"encoder_dims or lower cluster_items.n_clusters"
        )
    exact = total * sizes / sizes.sum()
    shares = np.floor(exact).astype(np.int64)
    by_remainder = np.argsort(shares - exact, kind="stable")
    shares[by_remainder[: total - shares.sum()]] += 1
    while shares.min() == 0:  # a tiny category takes its one dimension from the largest share
        largest = np.flatnonzero(shares == shares.max())
        shares[largest[sizes[largest].argmin()]] -= 1  # of equal shares, the smaller category's
        shares[shares.argmin()] += 1
    return [int(share) for share in shares]


def _initialise(module: nn.Module) -> None:
    """Xavier-normal weights and zero biases, as the authors do."""
    if isinstance(module, nn.Linear):
        nn.init.xavier_normal_(module.weight)
        nn.init.zeros_(module.bias)
