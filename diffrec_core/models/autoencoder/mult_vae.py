"""Mult-VAE: a variational autoencoder of histories with a multinomial likelihood.

Source: Liang, Krishnan, Hoffman & Jebara, "Variational Autoencoders for Collaborative Filtering",
WWW 2018, section 2.2.
"""

from typing import Any, ClassVar, Literal

from pydantic import Field

from diffrec_core.common.trial import Trial
from diffrec_core.models.autoencoder.config import AutoencoderConfig
from diffrec_core.models.autoencoder.model import Autoencoder
from diffrec_core.models.base import ModelConfig


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


class MultVae(Autoencoder):
    """Draws a code from the history, in training; scores from the code's mean."""

    Config: ClassVar[type[ModelConfig]] = MultVaeConfig
    config: MultVaeConfig
