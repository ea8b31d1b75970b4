"""One variational encoder per item cluster, and a decoder: the space that L-DiffRec works in.

A cluster c of I_c items (paper, section 3.5) gets a share of the latent dimensions in proportion
to I_c. Histories stay sparse: the first encoder layer reads the rows of its table that occur, and
the likelihood the scores of the items that occur.
Shapes: B users, I items, N entries of a batch, Z latent dimensions, C clusters.
"""

from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor, nn

from diffrec_core.common.config import Config, PositiveTuple
from diffrec_core.common.errors import DataError
from diffrec_core.nn.dropout import Dropout
from diffrec_core.nn.mlp import ACTIVATIONS, Activation, initialise_linear, mlp
from diffrec_core.nn.sparse_rows import SparseRows


class ClusterVaeConfig(Config):
    """Size and regularisation of the autoencoders."""

    encoder_dims: PositiveTuple = Field(default=(300,), min_length=1)
    """Widths of the encoders together; the last is Z. Each cluster gets its share of each."""

    decoder_dims: PositiveTuple = ()
    """Hidden widths of the decoders together. Empty: one linear layer from all of Z to all
    items, shared by the clusters; else one decoder per cluster."""

    vae_activation: Activation = "tanh"
    """After every encoder layer, the last included, and between decoder layers."""

    vae_dropout: float = Field(default=0.1, ge=0.0, lt=1.0)
    """On the input history, in training."""


class LatentCode(NamedTuple):
    """The encoders' output for a batch.

    Attributes:
        corrupted: the input after dropout, which the decoder is to explain.
        mean: (B, Z) float32, whatever the type of the products behind it.
        log_variance: (B, Z) float32, likewise: losses are not computed in bfloat16.
    """

    corrupted: SparseRows
    mean: Tensor
    log_variance: Tensor


class _Encoder(nn.Module):
    """An MLP on the items of one cluster; its first layer is a table, (I_c, width)."""

    def __init__(self, widths: tuple[int, ...], name: Activation) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.empty(widths[0], widths[1]))
        self.bias = nn.Parameter(torch.zeros(widths[1]))
        nn.init.xavier_normal_(self.table)
        rest = mlp(widths[1:], name, activate_last=True)
        self.rest = nn.Sequential(ACTIVATIONS[name](), *rest)

    def forward(self, histories: SparseRows) -> Tensor:
        state: Tensor = self.rest(histories.project(self.table) + self.bias)
        return state


class ClusterVae(nn.Module):
    """Encode histories cluster by cluster, decode to scores of all items.

    Args:
        clusters: (I,) cluster of each item, each of 0 … C-1 occurring.
        config: sizes.

    Raises:
        DataError: clusters are not 0 … C-1, or Z is smaller than C.
    """

    item_order: Tensor
    """(I,) permutation that groups items by cluster."""
    item_order_inverse: Tensor
    cluster: Tensor
    """(I,) cluster of each item."""
    place: Tensor
    """(I,) place of each item within its cluster."""

    def __init__(self, clusters: NDArray[np.integer], config: ClusterVaeConfig) -> None:
        super().__init__()
        self.config = config
        sizes = np.bincount(clusters)
        if (sizes == 0).any():
            raise DataError(f"clusters must be numbered without gaps, found sizes {sizes}")
        self.sizes: list[int] = sizes.tolist()
        self._register_order(clusters, sizes)
        hidden = [allocate(width, sizes) for width in config.encoder_dims[:-1]]
        self.latent_sizes = allocate(config.encoder_dims[-1], sizes)
        self.decoders = self._decoders(sizes)
        self.apply(partial(initialise_linear, bias_std=0.0))
        self.encoders = nn.ModuleList(
            _Encoder(
                (size, *(layer[c] for layer in hidden), 2 * self.latent_sizes[c]),
                config.vae_activation,
            )
            for c, size in enumerate(self.sizes)
        )
        self.encoders.apply(partial(initialise_linear, bias_std=0.0))
        self.dropout = Dropout(config.vae_dropout)

    def _register_order(self, clusters: NDArray[np.integer], sizes: NDArray[np.int64]) -> None:
        order = np.argsort(clusters, kind="stable")
        inverse = np.argsort(order)
        place = inverse - (np.cumsum(sizes) - sizes)[clusters]
        values = {
            "item_order": order,
            "item_order_inverse": inverse,
            "cluster": clusters.astype(np.int64),
            "place": place,
        }
        for name, value in values.items():
            self.register_buffer(name, torch.from_numpy(value), persistent=False)

    def _decoders(self, sizes: NDArray[np.int64]) -> nn.ModuleList:
        if not self.config.decoder_dims:
            return nn.ModuleList([nn.Linear(sum(self.latent_sizes), int(sizes.sum()))])
        hidden = [allocate(width, sizes) for width in self.config.decoder_dims]
        return nn.ModuleList(
            mlp(
                (self.latent_sizes[c], *(layer[c] for layer in hidden), size),
                self.config.vae_activation,
            )
            for c, size in enumerate(self.sizes)
        )

    @property
    def latent_dim(self) -> int:
        """Z."""
        return sum(self.latent_sizes)

    def encode(self, histories: SparseRows) -> LatentCode:
        """Encode B histories."""
        corrupted = histories.with_weights(self.dropout(histories.weights))
        parts = zip(self.encoders, self._by_cluster(corrupted), strict=True)
        codes = [encode(part).chunk(2, dim=1) for encode, part in parts]
        mean, log_variance = (
            torch.cat(columns, dim=1).to(torch.float32) for columns in zip(*codes, strict=True)
        )
        return LatentCode(corrupted, mean, log_variance)

    def _by_cluster(self, histories: SparseRows) -> list[SparseRows]:
        """Split each row into C rows, one per cluster, items numbered within the cluster."""
        n_rows, n_clusters = len(histories), len(self.sizes)
        cluster = self.cluster.index_select(0, histories.items)
        order = cluster.argsort(stable=True)  # rows are in order already
        key = cluster * n_rows + histories.rows
        counts = torch.bincount(key, minlength=n_clusters * n_rows).view(n_clusters, n_rows)
        offsets = torch.nn.functional.pad(counts.cumsum(1), (1, 0))
        lengths: list[int] = offsets[:, -1].tolist()
        items = torch.split(
            self.place.index_select(0, histories.items.index_select(0, order)), lengths
        )
        weights = torch.split(histories.weights.index_select(0, order), lengths)
        return [
            SparseRows(offsets[c], items[c], weights[c], self.sizes[c]) for c in range(n_clusters)
        ]

    def decode(self, z_BZ: Tensor) -> Tensor:
        """(B, Z) latent codes to (B, I) scores, items in vocabulary order."""
        if not self.config.decoder_dims:  # one linear layer: its rows are in that order already
            scores: Tensor = self.decoders[0](z_BZ)
            return scores
        codes = torch.split(z_BZ, self.latent_sizes, dim=1)
        parts = [decode(z) for decode, z in zip(self.decoders, codes, strict=True)]
        return torch.cat(parts, dim=1)[:, self.item_order_inverse]


def allocate(total: int, sizes: NDArray[np.integer]) -> list[int]:
    """Share `total` dimensions in proportion to `sizes`, by largest remainder, at least 1 each.

    Raises:
        DataError: there are fewer dimensions than clusters.

    >>> allocate(10, np.array([700, 290, 10]))
    [6, 3, 1]
    """
    if total < len(sizes):
        raise DataError(
            f"{total} latent dimensions cannot be shared by {len(sizes)} clusters: raise "
            f"encoder_dims or lower cluster_items.n_clusters"
        )
    exact = total * sizes / sizes.sum()
    shares = np.floor(exact).astype(np.int64)
    by_remainder = np.argsort(shares - exact, kind="stable")
    shares[by_remainder[: total - shares.sum()]] += 1
    while shares.min() == 0:  # a tiny cluster takes its one dimension from the largest share
        largest = np.flatnonzero(shares == shares.max())
        shares[largest[sizes[largest].argmin()]] -= 1  # of equal shares, the smaller cluster's
        shares[shares.argmin()] += 1
    return [int(share) for share in shares]
