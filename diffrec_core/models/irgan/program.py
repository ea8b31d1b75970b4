"""IRGAN in training."""

from collections.abc import Iterator
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.optim import AdamW

from diffrec_core.models.irgan.config import IrganConfig
from diffrec_core.models.irgan.discriminator import (
    Discriminator,
    discriminator_loss,
    likelihood_loss,
    policy_loss,
    reward,
)
from diffrec_core.models.irgan.generator import Generator, draw, draw_own
from diffrec_core.nn.sparse_rows import SparseRows
from diffrec_core.training.batch_program import BatchProgram
from diffrec_core.training.epoch import Epoch

CHUNK_ENTRIES = 1 << 20
"""Scores of users × items at a time: 4 MiB of float32 for each of a handful of tensors."""


class Game(nn.Module):
    """Both players, as one module for checkpoints."""

    def __init__(self, generator: Generator, discriminator: Discriminator) -> None:
        super().__init__()
        self.generator, self.discriminator = generator, discriminator


class IrganProgram(BatchProgram[Game, SparseRows, IrganConfig]):
    """The game and every user's weighted history.

    Both players move at once: each step draws from the generator, grades with the discriminator,
    and then improves both.
    """

    @cached_property
    def users(self) -> NDArray[np.int64]:
        """Rows of the users that have an item; the others are left out."""
        users: NDArray[np.int64] = np.flatnonzero(self.rows.offsets.diff().cpu().numpy())
        return users

    @property
    def n_rows(self) -> int:
        """Number of users in an epoch."""
        return len(self.users)

    def make_optimizers(self) -> dict[str, AdamW]:
        """Return AdamW for each player."""
        game, config = self.network, self.config
        decay = config.weight_decay
        return {
            name: AdamW(player.parameters(), rate, weight_decay=decay, fused=True)
            for name, player, rate in (
                ("generator", game.generator, config.learning_rate),
                ("discriminator", game.discriminator, config.discriminator_learning_rate),
            )
        }

    def losses(self, rows: NDArray[np.int64], epoch: Epoch) -> Iterator[Tensor]:
        """Mean loss of both players, chunk by chunk of users."""
        users = self.users[rows[epoch.share(len(rows))]]
        numbers = torch.from_numpy(users).to(self.rows.items.device)
        for part in torch.split(numbers, max(1, CHUNK_ENTRIES // self.rows.n_items)):
            yield self._losses(part, epoch.number).sum() / len(users)

    def _losses(self, users: Tensor, epoch: int) -> Tensor:
        """(2,) sums over users of the generator's and of the discriminator's loss."""
        config, discriminator, shown = (
            self.config,
            self.network.discriminator,
            self.rows.take(users),
        )
        log_probability_BI = self.network.generator(shown).log_softmax(dim=1)
        with torch.no_grad():
            drawn = draw(log_probability_BI.exp(), shown, config.samples, config.positive_share)
            own_BK = draw_own(shown, config.samples)
        if epoch <= config.pretrain_epochs:
            generator_loss = likelihood_loss(log_probability_BI, shown)
        else:
            with torch.no_grad():
                rewards_BK = reward(discriminator(users, drawn.items), config.reward)
            generator_loss = policy_loss(log_probability_BI, drawn.items, drawn.ratios, rewards_BK)
        both_BK = discriminator(users, torch.cat([own_BK, drawn.fakes], dim=1))
        own_f_BK, fake_f_BK = both_BK.chunk(2, dim=1)
        return torch.stack([generator_loss, discriminator_loss(own_f_BK, fake_f_BK)])
