"""LightGCN: embeddings that are smoothed over the user-item graph, trained with BPR."""

from collections.abc import Callable, Iterator
from typing import Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import embedding
from torch.optim import Adam

from diffrec_core.common.rng import generator
from diffrec_core.data.histories import Histories
from diffrec_core.evaluation.evaluator import recall_at
from diffrec_core.evaluation.ranking import RankingTask
from diffrec_core.models.lightgcn.adjacency import Adjacency, normalised_adjacency, propagate
from diffrec_core.nn.negatives import NegativeSampler, bpr_loss, pair_scores, softmax_loss
from diffrec_core.nn.sparse_rows import SparseRows
from diffrec_core.training.batch_program import BatchProgram
from diffrec_core.training.epoch import Epoch
from diffrec_core.training.memory import memory_limit
from diffrec_core.training.seeding import torch_seed
from diffrec_core.training.trainer import (
    TrainingConfig,
    TrainingOptions,
    TrainingReport,
    train,
)

_VALIDATION_USERS = 1024
"""Ranked at a time; does not change results."""


class LightGCNConfig(TrainingConfig):
    """Size, smoothing and optimisation."""

    embedding_dim: int = Field(default=64, ge=1)
    """D."""

    layers: int = Field(default=2, ge=1)
    """L, propagation steps; the read-out is the mean of layers 0 … L (eq. 4, α = 1/(L+1))."""

    user_side: Literal["embedding", "history"] = "embedding"
    """Representation of a user in training. `embedding`: the mean of the user's layers 0 … L, as in
    the paper; scoring a history then leaves layer 0 out, for only known users have one.
    `history`: what scoring uses, without the positive's own part in it: training asks what
    scoring will ask, for an item from the others."""

    loss: Literal["bpr", "softmax"] = "bpr"
    """`bpr`: the paper's (eq. 12), averaged over the negatives; `softmax`: the positive's softmax
    among its negatives, which weighs hard ones more. With one negative they are equal."""

    negatives: int = Field(default=1, ge=1)
    """K, items that the user does not have, drawn anew for every interaction in every epoch."""

    batch_size: int = Field(default=2048, ge=1)
    """Interactions per step; each step propagates over the whole graph, however small it is."""

    learning_rate: float = Field(default=5e-3, gt=0.0)

    l2: float = Field(default=1e-4, ge=0.0)
    """Weight of half the squared layer-0 embeddings of a batch, per interaction (eq. 12): of its
    user, its item, and the mean of its negatives."""

    initial_scale: float = Field(default=0.1, gt=0.0)
    """Standard deviation of the initial embeddings."""


class ItemEmbeddings(NamedTuple):
    """The learned embeddings that score a history.

    Attributes:
        read_out: (I, D) the item embeddings, mean of layers 0 … L.
        history: (I, D) what an item adds to a user who has it: by eq. 3 the user's layers 1 … L
            are sums of the items' layers 0 … L-1, divided by √degree of user and item.
    """

    read_out: Tensor
    history: Tensor


ScoreWith = Callable[[ItemEmbeddings, Histories], Tensor]
"""Embeddings and B histories to (B, I) scores."""


class LightGCNNetwork(nn.Module):
    """Layer-0 embeddings (U + I, D) of users and items; everything else is propagation."""

    def __init__(self, n_users: int, n_items: int, config: LightGCNConfig) -> None:
        super().__init__()
        self.n_users, self.config = n_users, config
        start = torch.randn(n_users + n_items, config.embedding_dim) * config.initial_scale
        self.embedding = nn.Parameter(start)

    def read_out(self, adjacency: Adjacency) -> tuple[Tensor, ItemEmbeddings]:
        """(U, D) what stands for each user in training, and the items' embeddings."""
        layers = propagate(adjacency, self.embedding, self.config.layers)
        below_ND = sum(layers[1:-1], layers[0]) / len(layers)
        mean_ND = below_ND + layers[-1] / len(layers)
        users_UD = mean_ND[: self.n_users]
        if self.config.user_side == "history":
            users_UD = users_UD - self.embedding[: self.n_users] / len(layers)
        history_ID = below_ND[self.n_users :] * adjacency.scale[self.n_users :, None]
        return users_UD, ItemEmbeddings(mean_ND[self.n_users :], history_ID)

    def scores(self, adjacency: Adjacency, users_B: Tensor, items_BK: Tensor) -> Tensor:
        """(B, K) scores of items, the first of which the user has.

        Of the paths through that edge, the one from the item to the user's own sum is left out of
        a `history`; those that pass it in deeper layers are not.
        """
        users_UD, items = self.read_out(adjacency)
        user_BD = embedding(users_B, users_UD)
        if self.config.user_side == "history":
            own_BD = embedding(items_BK[:, 0], items.history)
            user_BD = user_BD - own_BD * adjacency.scale[users_B, None]
        return pair_scores(user_BD, items.read_out, items_BK)

    def penalty(self, users_B: Tensor, items_BK: Tensor) -> Tensor:
        """Half the squared layer-0 embeddings per interaction (eq. 12)."""
        n_items = len(self.embedding) - self.n_users
        n_negatives = items_BK.shape[1] - 1
        positives = items_BK[:, 0].bincount(minlength=n_items)
        negatives = items_BK[:, 1:].ravel().bincount(minlength=n_items) / n_negatives
        times_N = torch.cat([users_B.bincount(minlength=self.n_users), positives + negatives])
        return (times_N @ self.embedding.square()).sum() / (2 * len(users_B))


def score_histories(
    embeddings: ItemEmbeddings,
    histories: Histories,
    weights: NDArray[np.float32] | None = None,
) -> Tensor:
    """Score all items, (B, I): (Σ weighted history embeddings / √length) · read_outᵀ.

    Args:
        embeddings: learned by LightGCN.
        histories: B.
        weights: (N,) instead of the histories' own.
    """
    weights = histories.weights if weights is None else weights
    items_ID = embeddings.read_out
    rows = SparseRows.from_histories(histories, weights, len(items_ID), items_ID.device)
    length_B = rows.offsets.diff().clamp(min=1)
    return (rows.project(embeddings.history) * length_B.rsqrt()[:, None]) @ items_ID.T


def fit_lightgcn(
    histories: Histories,
    n_items: int,
    config: LightGCNConfig,
    options: TrainingOptions,
    validation: RankingTask | None,
    *,
    score: ScoreWith = score_histories,
    name: str = "lightgcn",
) -> tuple[ItemEmbeddings, TrainingReport]:
    """Train LightGCN; recall@20 of scoring from histories stops it early.

    Args:
        histories: row u is user u's training items.
        n_items: I.
        config: sizes and optimisation.
        options: device, seed, checkpoints.
        validation: for early stopping; None trains all epochs.
        score: how the embeddings will be used, and therefore how they are validated.
        name: of the model, for messages.

    Raises:
        NotEnoughMemoryError: it needs more memory than the options allow, or than there is.
    """
    with memory_limit(name, options):
        program = _Program(histories, n_items, config, options, validation, score=score)
        report = train(program, config, options)
        return program.item_embeddings(), report


class _Program(BatchProgram[LightGCNNetwork, NDArray[np.int32], LightGCNConfig]):
    """LightGCN in training; its rows are interactions."""

    def __init__(
        self,
        histories: Histories,
        n_items: int,
        config: LightGCNConfig,
        options: TrainingOptions,
        validation: RankingTask | None,
        *,
        score: ScoreWith = score_histories,
    ) -> None:
        with torch_seed(options.seed, "initialise"):
            network = LightGCNNetwork(len(histories), n_items, config).to(options.device)
        super().__init__(
            network, histories.items, config, seed=options.seed, validation=self._recall
        )
        self.users, self.items = histories.rows, histories.items.astype(np.int64)
        self.task, self.score, self.device = validation, score, options.device
        self.adjacency = normalised_adjacency(histories, n_items).to(self.device)
        self.sampler = NegativeSampler(histories, n_items)

    def make_optimizers(self) -> dict[str, Adam]:
        """Return Adam for all embeddings."""
        rate = self.config.learning_rate
        return {"embedding": Adam(self.network.parameters(), lr=rate, fused=True)}

    def losses(self, rows: NDArray[np.int64], epoch: Epoch) -> Iterator[Tensor]:
        """Of the positives against their negatives, and the penalty."""
        rng = generator(self.seed, "negatives", epoch.number, epoch.steps_done)
        part = epoch.share(len(rows))
        users_B, items_BK = (batch[part].to(self.device) for batch in self._batch(rows, rng))
        scores_BK = self.network.scores(self.adjacency, users_B, items_BK)
        loss = (bpr_loss if self.config.loss == "bpr" else softmax_loss)(scores_BK)
        if self.config.l2:
            loss = loss + self.config.l2 * self.network.penalty(users_B, items_BK)
        yield loss

    def _batch(
        self, interactions: NDArray[np.int64], rng: np.random.Generator
    ) -> tuple[Tensor, Tensor]:
        """(B,) users and (B, 1 + K) items: the user's own, then its negatives."""
        users, positives = self.users[interactions], self.items[interactions]
        negatives = self.sampler.draw(users, self.config.negatives, rng)
        items = np.concatenate([positives[:, None], negatives], axis=1)
        return torch.from_numpy(users), torch.from_numpy(items)

    @torch.no_grad()
    def item_embeddings(self) -> ItemEmbeddings:
        """Return what scores any history, of known users and new ones alike."""
        return self.network.read_out(self.adjacency)[1]

    def _recall(self) -> float | None:
        if self.task is None:
            return None
        embeddings = self.item_embeddings()
        return recall_at(
            lambda h: self.score(embeddings, h), self.task, batch_size=_VALIDATION_USERS
        )
