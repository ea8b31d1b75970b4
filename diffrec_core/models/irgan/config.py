"""Size of IRGAN's players, and how they are trained."""

from typing import Any, Literal

from pydantic import Field

from diffrec_core.common.trial import Trial
from diffrec_core.models.base import ModelConfig
from diffrec_core.models.irgan.discriminator import Reward
from diffrec_core.training.trainer import TrainingConfig


class IrganConfig(ModelConfig, TrainingConfig):
    """Generator, discriminator and their game."""

    kind: Literal["irgan"] = "irgan"

    embedding_dim: int = Field(default=64, ge=1)
    """D, of the generator."""

    discriminator_dim: int = Field(default=16, ge=1)
    """Of the discriminator's users and items."""

    dropout: float = Field(default=0.5, ge=0.0, lt=1.0)
    """Share of a history's entries that are hidden from the generator in training."""

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

    def suggest(self, trial: Trial) -> dict[str, Any]:
        """Add sizes, the game and optimisation."""
        return {
            **super().suggest(trial),
            "embedding_dim": trial.suggest_categorical("embedding_dim", (32, 64, 128, 256)),
            "discriminator_dim": trial.suggest_categorical("discriminator_dim", (8, 16, 32, 64)),
            "dropout": trial.suggest_float("dropout", 0.2, 0.8),
            "pretrain_epochs": trial.suggest_int("pretrain_epochs", 5, 80, log=True),
            "samples": trial.suggest_categorical("samples", (8, 32, 128)),
            "reward": trial.suggest_categorical("reward", ("log", "sigmoid")),
            "learning_rate": trial.suggest_float("learning_rate", 1e-4, 1e-2, log=True),
            "discriminator_learning_rate": trial.suggest_float(
                "discriminator_learning_rate", 1e-3, 1e-1, log=True
            ),
        }
