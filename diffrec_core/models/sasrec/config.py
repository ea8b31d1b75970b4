"""Size of SASRec's network, and how it is trained."""

from typing import Any, Literal, Self

from pydantic import Field, model_validator

from diffrec_core.common.trial import Trial
from diffrec_core.models.base import ModelConfig
from diffrec_core.nn.denoising import DenoisingConfig, suggest_denoising
from diffrec_core.training.trainer import TrainingConfig


class SasRecConfig(ModelConfig, TrainingConfig):
    """Length of the input, size of the network, and training."""

    kind: Literal["sasrec"] = "sasrec"

    embedding_dim: int = Field(default=64, ge=1)
    """D, of items, positions and hidden layers."""

    blocks: int = Field(default=2, ge=1)
    """Of self-attention, each followed by a network for each entry."""

    heads: int = Field(default=1, ge=1)
    """Of each block; a divisor of embedding_dim."""

    dropout: float = Field(default=0.2, ge=0.0, lt=1.0)
    """On the input and on what each part of a block adds; not on attention weights."""

    max_length: int = Field(default=50, ge=1)
    """Newest entries of a history that are read; in training, histories are cut into so many."""

    loss: Literal["softmax", "bce"] = "softmax"
    """`softmax`: cross entropy of the next item among all, or among `negatives`; `bce`: the
    paper's, binary cross entropy of the next item against items that the user does not have."""

    negatives: int | None = Field(default=None, ge=1)
    """softmax: items drawn for each step, null: all items; bce: for each entry, null: 1."""

    denoising: DenoisingConfig = DenoisingConfig()
    """bce: whether next items that are unlikely count less (see `nn.denoising`)."""

    batch_size: int = Field(default=128, ge=1)
    """Windows of histories per step."""

    learning_rate: float = Field(default=1e-3, gt=0.0)
    """Adam's."""

    @model_validator(mode="after")
    def _denoising_needs_bce(self) -> Self:
        if self.denoising.kind != "none" and self.loss != "bce":
            raise ValueError(
                f"denoising.kind = {self.denoising.kind} needs loss = bce, which has a term for "
                f"each interaction"
            )
        return self

    @model_validator(mode="after")
    def _heads_divide(self) -> Self:
        if self.embedding_dim % self.heads:
            raise ValueError(
                f"heads = {self.heads} must divide embedding_dim = {self.embedding_dim}"
            )
        return self

    def suggest(self, trial: Trial) -> dict[str, Any]:
        """Add what is read, size and optimisation."""
        return {
            **super().suggest(trial),
            **(suggest_denoising(trial) if self.loss == "bce" else {}),
            "max_length": trial.suggest_categorical("max_length", (20, 50, 100, 200)),
            "embedding_dim": trial.suggest_categorical("embedding_dim", (32, 64, 128)),
            "blocks": trial.suggest_int("blocks", 1, 3),
            "dropout": trial.suggest_float("dropout", 0.0, 0.5),
            "learning_rate": trial.suggest_float("learning_rate", 3e-4, 1e-2, log=True),
        }
