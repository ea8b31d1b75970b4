"""IRGAN in training."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor, nn
from torch.optim import AdamW

from diffrec_core.models.irgan.discriminator import (
    Discriminator,
    Reward,
    discriminator_loss,
    likelihood_loss,
    policy_loss,
    reward,
)
from diffrec_core.models.irgan.generator import Generator, draw, draw_own
from diffrec_core.nn.sparse_rows import SparseRows
from diffrec_core.training.batch_program import BatchProgram
from diffrec_core.training.epoch import Epoch
from diffrec_core.training.trainer import TrainingConfig

CHUNK_ENTRIES = 1 << 20
"""Scores of users × items at a time: 4 MiB of float32 for each of a handful of tensors."""


class AdversarialTrainingConfig(TrainingConfig):
    """How generator and discriminator are trained."""

    pretrain_epochs: int = Field(default=20, ge=0)
    """Epochs that the generator begins with by maximum likelihood, while the discriminator already
    learns from its samples; what follows is the minimax game."""

    samples: int = Field(default=32, ge=1)
    """K, items drawn for each user and step: fakes for the discriminator, and as many for the
    policy gradient."""

    positive_share: float = Field(default=0.2, ge=0.0, lt=1.0)
    """λ, share of the latter that are drawn from the user's own items, with importance weights."""

    reward: Reward = "log"
    """`log`: ln(1 + exp f), as in eq. 5; `sigmoid`: 2 σ(f) - 1, which is bounded."""

    batch_size: int = Field(default=200, ge=1)
    """Users per step."""

    learning_rate: float = Field(default=1e-3, gt=0.0)
    """Of the generator."""

    discriminator_learning_rate: float = Field(default=1e-2, gt=0.0)
    """Of the discriminator, which must learn faster than the generator: rewards that lag behind
    make it give everybody the item that once did best."""

    weight_decay: float = Field(default=0.0, ge=0.0)
    """AdamW's, for both."""


class Game(nn.Module):
    """Both players, as one module for checkpoints.

    Args:
        generator: of which the model consists in the end.
        discriminator: what it learns from.
    """

    def __init__(self, generator: Generator, discriminator: Discriminator) -> None:
        super().__init__()
        self.generator, self.discriminator = generator, discriminator


class Users(NamedTuple):
    """Some users of a step.

    Attributes:
        numbers: (B,) their rows in the training histories.
        shown: what the generator sees of them.
    """

    numbers: Tensor
    shown: SparseRows


class IrganProgram(BatchProgram):
    """The game and its data.

    Both players move at once: each step draws from the generator, grades with the discriminator,
    and then improves both.

    Args:
        game: what is trained.
        rows: every user's weighted history, on the device; users without items are left out.
        config: losses, samples and optimisation.
        seed: of the order of users.
        validation: measures recall@20, or returns None.
    """

    def __init__(
        self,
        game: Game,
        rows: SparseRows,
        config: AdversarialTrainingConfig,
        *,
        seed: int,
        validation: Callable[[], float | None],
    ) -> None:
        players = {
            "generator": (game.generator, config.learning_rate),
            "discriminator": (game.discriminator, config.discriminator_learning_rate),
        }
        self.game, self.rows, self.config = game, rows, config
        self.users: NDArray[np.int64] = np.flatnonzero(rows.offsets.diff().cpu().numpy())
        super().__init__(
            game,
            {
                name: AdamW(part.parameters(), rate, weight_decay=config.weight_decay, fused=True)
                for name, (part, rate) in players.items()
            },
            n_rows=len(self.users),
            batch_size=config.batch_size,
            seed=seed,
            validation=validation,
        )

    def losses(self, rows: NDArray[np.int64], epoch: Epoch) -> Iterator[Tensor]:
        """Mean loss of both players, chunk by chunk of users."""
        users = self.users[rows[epoch.share(len(rows))]]
        numbers = torch.from_numpy(users).to(self.rows.items.device)
        for part in torch.split(numbers, max(1, CHUNK_ENTRIES // self.rows.n_items)):
            yield self._losses(Users(part, self.rows.take(part)), epoch.number).sum() / len(users)

    def _losses(self, users: Users, epoch: int) -> Tensor:
        """(2,) sums over users of the generator's and of the discriminator's loss."""
        config, discriminator = self.config, self.game.discriminator
        log_probability_BI = self.game.generator(users.shown).log_softmax(dim=1)
        with torch.no_grad():
            drawn = draw(
                log_probability_BI.exp(), users.shown, config.samples, config.positive_share
            )
            own_BK = draw_own(users.shown, config.samples)
        if epoch <= config.pretrain_epochs:
            generator_loss = likelihood_loss(log_probability_BI, users.shown)
        else:
            with torch.no_grad():
                rewards_BK = reward(discriminator(users.numbers, drawn.items), config.reward)
            generator_loss = policy_loss(log_probability_BI, drawn.items, drawn.ratios, rewards_BK)
        both_BK = discriminator(users.numbers, torch.cat([own_BK, drawn.fakes], dim=1))
        own_f_BK, fake_f_BK = both_BK.chunk(2, dim=1)
        return torch.stack([generator_loss, discriminator_loss(own_f_BK, fake_f_BK)])
