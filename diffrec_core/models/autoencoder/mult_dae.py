"""Mult-DAE: a denoising autoencoder of histories with a multinomial likelihood.

Source: Liang, Krishnan, Hoffman & Jebara, "Variational Autoencoders for Collaborative Filtering",
WWW 2018, section 2.3 (a code that is a point, without a prior).
"""

from typing import Any, ClassVar, Literal

from pydantic import Field

from diffrec_core.common.trial import Trial
from diffrec_core.models.autoencoder.config import AutoencoderConfig
from diffrec_core.models.autoencoder.model import Autoencoder
from diffrec_core.models.base import ModelConfig


class MultDaeConfig(AutoencoderConfig):
    """A penalty on the parameters takes the place of the KL divergence."""

    kind: Literal["mult_dae"] = "mult_dae"

    l2: float = Field(default=0.01, ge=0.0)
    """λ, weight of half the squared parameters beside the mean loss of a batch."""

    def suggest(self, trial: Trial) -> dict[str, Any]:
        """Add the penalty."""
        return {**super().suggest(trial), "l2": trial.suggest_float("l2", 1e-4, 1.0, log=True)}


class MultDae(Autoencoder):
    """Restores what is missing in a history; the restored one ranks."""

    Config: ClassVar[type[ModelConfig]] = MultDaeConfig
    config: MultDaeConfig
