"""Size and optimisation of Mult-VAE and Mult-DAE."""

from typing import Any, Literal

from pydantic import Field

from diffrec_core.common.config import PositiveTuple
from diffrec_core.common.trial import Trial
from diffrec_core.models.base import ModelConfig
from diffrec_core.nn.denoising import DenoisingConfig, suggest_denoising
from diffrec_core.training.trainer import TrainingConfig


class AutoencoderConfig(ModelConfig, TrainingConfig):
    """Size and optimisation that both have."""

    hidden_dims: PositiveTuple = (600,)
    """Widths from the code outwards, the same on both sides: [600] is I → 600 → Z → 600 → I.
    Empty: I → Z → I."""

    latent_dim: int = Field(default=200, ge=1)
    """Z."""

    likelihood: Literal["multinomial", "logistic"] = "multinomial"
    """Of a history: items share one probability (eq. 2), or each has its own (eq. 4)."""

    denoising: DenoisingConfig = DenoisingConfig()
    """Unlikely interactions may count less (see `nn.denoising`)."""

    dropout: float = Field(default=0.5, ge=0.0, lt=1.0)
    """On the input history, scaled to length 1, in training."""

    recency_in_training: bool = True
    """`recency` weights histories in training too, not only when they are scored."""

    batch_size: int = Field(default=500, ge=1)
    """Users per step."""

    learning_rate: float = Field(default=1e-3, gt=0.0)
    """Of Adam."""

    l2: float = Field(default=0.0, ge=0.0)
    """λ, weight of half the squared parameters beside the mean loss of a batch."""

    score_batch_size: int = Field(default=1024, ge=1)
    """Users per batch in validation; does not change results."""

    @property
    def kl_schedule(self) -> tuple[float, int] | None:
        """Maximum and steps of the KL divergence's weight; None: the code is not drawn."""
        return None

    def suggest(self, trial: Trial) -> dict[str, Any]:
        """Add denoising, size and optimisation."""
        values = super().suggest(trial)
        if values["recency.kind"] != "none":
            key = "recency_in_training"
            values[key] = trial.suggest_categorical(key, (False, True))
        return {
            **values,
            **suggest_denoising(trial),
            "hidden_dims": trial.suggest_categorical("hidden_dims", ((), (300,), (600,))),
            "latent_dim": trial.suggest_categorical("latent_dim", (64, 100, 200, 400)),
            "dropout": trial.suggest_float("dropout", 0.1, 0.8),
            "learning_rate": trial.suggest_float("learning_rate", 1e-4, 1e-2, log=True),
            "batch_size": trial.suggest_int("batch_size", 50, 500, log=True),
        }


class MultVaeConfig(AutoencoderConfig):
    """The partially regularised variant: the KL divergence gets less than its whole weight."""

    kind: Literal["mult_vae"] = "mult_vae"

    kl_weight_max: float = Field(default=0.2, ge=0.0)
    """β of section 2.2, once it has risen; 1 is the evidence lower bound."""

    kl_weight_anneal_steps: int = Field(default=200_000, ge=0)
    """β rises by 1 / this per batch up to its maximum; 0: it starts there."""

    @property
    def kl_schedule(self) -> tuple[float, int] | None:
        """Maximum and steps."""
        return self.kl_weight_max, self.kl_weight_anneal_steps

    def suggest(self, trial: Trial) -> dict[str, Any]:
        """Add the weight of the KL divergence."""
        return {
            **super().suggest(trial),
            "kl_weight_max": trial.suggest_float("kl_weight_max", 0.03, 1.0, log=True),
            "kl_weight_anneal_steps": trial.suggest_int(
                "kl_weight_anneal_steps", 100, 200_000, log=True
            ),
        }


class MultDaeConfig(AutoencoderConfig):
    """A penalty on the parameters takes the place of the KL divergence."""

    kind: Literal["mult_dae"] = "mult_dae"

    l2: float = Field(default=0.01, ge=0.0)
    """λ, weight of half the squared parameters beside the mean loss of a batch."""

    def suggest(self, trial: Trial) -> dict[str, Any]:
        """Add the penalty."""
        return {**super().suggest(trial), "l2": trial.suggest_float("l2", 1e-4, 1.0, log=True)}
