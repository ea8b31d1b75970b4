"""LightGCN: embeddings that are smoothed over the user-item graph, trained with BPR."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn
from torch.optim import Adam, Optimizer

from diffrec_core.data.histories import Histories
from diffrec_core.embedding.adjacency import normalised_adjacency, propagate
from diffrec_core.embedding.bpr import bpr_loss, sample_negatives
from diffrec_core.evaluation.metrics import recall_at
from diffrec_core.evaluation.ranking import RankingTask
from diffrec_core.rng import generator
from diffrec_core.training.seeding import torch_seed
from diffrec_core.training.trainer import (
    TrainingConfig,
    TrainingOptions,
    TrainingReport,
    train,
)


class LightGCNConfig(TrainingConfig):
    """Size, smoothing and optimisation."""

    embedding_dim: int = Field(default=64, ge=1)
    """D."""

    layers: int = Field(default=2, ge=1)
    """L, propagation steps; the read-out is the mean of layers 0 … L (eq. 4, α = 1/(L+1))."""

    batch_size: int = Field(default=2048, ge=1)
    """Triples per step."""

    learning_rate: float = Field(default=5e-3, gt=0.0)

    l2: float = Field(default=1e-4, ge=0.0)
    """Weight of half the squared layer-0 embeddings of a batch's triples, per triple (eq. 12)."""

    initial_scale: float = Field(default=0.1, gt=0.0)
    """Standard deviation of the initial embeddings."""


class ItemEmbeddings(NamedTuple):
    """What scores a history, learned by LightGCN.

    Attributes:
        read_out: (I, D) the item embeddings, mean of layers 0 … L.
        history: (I, D) what an item adds to a user who has it: by eq. 3 the user's layers 1 … L
            are sums of the items' layers 0 … L-1, divided by √degree of user and item.
    """

    read_out: Tensor
    history: Tensor


class LightGCNNetwork(nn.Module):
    """Layer-0 embeddings of all nodes; everything else is propagation.

    Args:
        n_users: U.
        n_items: I.
        config: sizes.
    """

    def __init__(self, n_users: int, n_items: int, config: LightGCNConfig) -> None:
        super().__init__()
        self.n_users, self.layers = n_users, config.layers
        start = torch.randn(n_users + n_items, config.embedding_dim) * config.initial_scale
        self.embedding = nn.Parameter(start)

    def read_out(self, adjacency: Tensor) -> Tensor:
        """(N, D): the mean of all layers (eq. 4)."""
        return torch.stack(propagate(adjacency, self.embedding, self.layers)).mean(dim=0)

    @torch.no_grad()
    def item_embeddings(self, adjacency: Tensor, item_degree: Tensor) -> ItemEmbeddings:
        """Read out what is needed to score any history, of known users and new ones alike.

        A user's own layer-0 embedding is left out: a new user has none.
        """
        layers = [e[self.n_users :] for e in propagate(adjacency, self.embedding, self.layers)]
        read_out = torch.stack(layers).mean(dim=0)
        scale = torch.where(item_degree > 0, item_degree, 1).rsqrt() * (item_degree > 0)
        history = torch.stack(layers[:-1]).sum(dim=0) * scale[:, None] / (self.layers + 1)
        return ItemEmbeddings(read_out, history)


def score_histories(
    embeddings: ItemEmbeddings,
    histories: Histories,
    weights: np.ndarray[tuple[int], np.dtype[np.float32]],
) -> Tensor:
    """Score all items for histories: (Σ weighted history embeddings / √length) · read_outᵀ.

    Returns:
        (B, I) float32.
    """
    device = embeddings.read_out.device
    user_BD = nn.functional.embedding_bag(
        torch.from_numpy(histories.items.astype(np.int64)).to(device),
        embeddings.history,
        torch.from_numpy(histories.offsets[:-1]).to(device),
        mode="sum",
        per_sample_weights=torch.from_numpy(weights).to(device),
    )
    length = torch.from_numpy(histories.lengths).to(device).clamp(min=1)
    return (user_BD * length.rsqrt()[:, None]) @ embeddings.read_out.T


def fit_lightgcn(
    histories: Histories,
    n_items: int,
    config: LightGCNConfig,
    options: TrainingOptions,
    validation: RankingTask | None,
) -> tuple[ItemEmbeddings, TrainingReport]:
    """Train LightGCN; recall@20 of scoring from histories stops it early.

    Args:
        histories: row u is user u's training items.
        n_items: I.
        config: sizes and optimisation.
        options: device, seed, checkpoints.
        validation: what early stopping watches; None trains all epochs.
    """
    program = _Program(histories, n_items, config, options, validation)
    report = train(program, config, options)
    return program.item_embeddings(), report


class _Program:
    """LightGCN in training (see `training.trainer.TrainingProgram`)."""

    def __init__(
        self,
        histories: Histories,
        n_items: int,
        config: LightGCNConfig,
        options: TrainingOptions,
        validation: RankingTask | None,
    ) -> None:
        self.histories, self.n_items, self.config = histories, n_items, config
        self.seed, self.device, self.validation = options.seed, options.device, validation
        with torch_seed(options.seed, "initialise"):
            self.network = LightGCNNetwork(len(histories), n_items, config).to(self.device)
        self.module: nn.Module = self.network
        self.optimizers: Mapping[str, Optimizer] = {
            "embedding": Adam(self.network.parameters(), lr=config.learning_rate, fused=True)
        }
        self.adjacency = normalised_adjacency(histories, n_items).to(self.device)
        degree = np.bincount(histories.items, minlength=n_items).astype(np.float32)
        self.item_degree = torch.from_numpy(degree).to(self.device)

    def train_epoch(self, epoch: int) -> dict[str, float]:
        triples = self._triples(generator(self.seed, "triples", epoch))
        total = 0.0
        for start in range(0, triples.shape[1], self.config.batch_size):
            batch = triples[:, start : start + self.config.batch_size]
            total += self._step(batch.to(self.device)) * batch.shape[1]
        return {"loss": total / triples.shape[1]}

    def _triples(self, rng: np.random.Generator) -> Tensor:
        """(3, E) node indices, shuffled: each interaction's user, its item, a negative item."""
        users, items = self.histories.rows, self.histories.items.astype(np.int64)
        negatives = sample_negatives(users, self.histories, self.n_items, rng)
        first_item = len(self.histories)
        triples = np.stack([users, items + first_item, negatives + first_item])
        return torch.from_numpy(triples[:, rng.permutation(len(users))])

    def _step(self, nodes: Tensor) -> float:
        """One optimiser step on (3, B) node indices: user, positive, negative."""
        # F.embedding, not indexing: the gradient of indexing adds up in no fixed order
        table = self.network.read_out(self.adjacency)
        user, positive, negative = nn.functional.embedding(nodes, table)
        initial = nn.functional.embedding(nodes, self.network.embedding)
        penalty = initial.square().sum() / (2 * nodes.shape[1])
        loss = bpr_loss(user, positive, negative) + self.config.l2 * penalty
        optimizer = self.optimizers["embedding"]
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        return float(loss.detach())

    def item_embeddings(self) -> ItemEmbeddings:
        return self.network.item_embeddings(self.adjacency, self.item_degree)

    def validate(self) -> float | None:
        if self.validation is None:
            return None
        embeddings = self.item_embeddings()
        return recall_at(lambda h: score_histories(embeddings, h, h.weights), self.validation)
