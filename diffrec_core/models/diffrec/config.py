"""Every option of the family, with its equation of the paper."""

from typing import Any, Literal, Self

from pydantic import Field, model_validator

from diffrec_core.common.trial import Trial
from diffrec_core.diffusion.losses import DiffusionLossConfig
from diffrec_core.models.base import ModelConfig
from diffrec_core.models.diffrec.cluster_vae import ClusterVaeConfig
from diffrec_core.models.diffrec.denoiser import DenoiserConfig
from diffrec_core.nn.denoising import DenoisingConfig, suggest_denoising
from diffrec_core.nn.precision import Precision
from diffrec_core.training.trainer import TrainingConfig


class DiffRecConfig(
    ModelConfig, DiffusionLossConfig, DenoiserConfig, ClusterVaeConfig, TrainingConfig
):
    """All options of the family; the autoencoder's are used if `latent`."""

    kind: Literal["diffrec"] = "diffrec"

    latent: bool = False
    """Diffuse latent codes (L-DiffRec) instead of whole histories (DiffRec)."""

    recency_in_training: bool = True
    """`recency` weights histories in training too, as in the paper. Off: only when they are scored;
    the model learns from whole histories what goes together, and is asked about the newest."""

    precision: Precision = "auto"
    """Of the matrix products, in training and in scoring; weights, losses and scores are float32
    always. auto: bfloat16 on CUDA, float32 on a CPU. On a CPU with bfloat16 instructions
    `bfloat16` is about twice as fast; on one without, many times slower."""

    denoising: DenoisingConfig = DenoisingConfig()
    """Interactions that are fitted badly may count less (see `nn.denoising`): in the
    squared error, or in the autoencoder's likelihood if `latent`."""

    batch_size: int = Field(default=400, ge=1)
    """Users per step."""

    learning_rate: float = Field(default=1e-3, gt=0.0)
    """Of the denoiser."""

    vae_learning_rate: float = Field(default=1e-3, gt=0.0)
    """Of the autoencoders."""

    weight_decay: float = Field(default=0.0, ge=0.0)
    """AdamW's, for both."""

    diffusion_loss_weight: float = Field(default=0.03, ge=0.0)
    """λ of the paper (section 3.5): weight of the diffusion loss beside the autoencoder's."""

    diffusion_loss_weight_floor: float = Field(default=0.005, ge=0.0)
    """λ falls linearly with the epochs, but not below this."""

    diffusion_loss_weight_anneal_epochs: int = Field(default=500, ge=0)
    """Epochs in which λ would reach 0; 0: it does not fall."""

    kl_weight_max: float = Field(default=0.3, ge=0.0)
    """Weight of the KL divergence once it has risen."""

    kl_weight_anneal_steps: int = Field(default=200, ge=0)
    """The KL weight rises by 1 / this per batch up to its maximum; 0: it starts there."""

    score_batch_size: int = Field(default=1024, ge=1)
    """Users per batch in validation; does not change results."""

    @model_validator(mode="after")
    def _denoising_needs_x_start(self) -> Self:
        if self.denoising.kind != "none" and not self._is_pointwise:
            raise ValueError(
                f"denoising.kind = {self.denoising.kind} needs prediction_target = x_start: the "
                f"error of the noise is not that of an interaction"
            )
        return self

    @property
    def _is_pointwise(self) -> bool:
        """The loss has a term for each interaction."""
        return self.latent or self.prediction_target == "x_start"

    def suggest(self, trial: Trial) -> dict[str, Any]:
        """Add process, network and optimisation, and the autoencoder's part if `latent`."""
        values = super().suggest(trial)
        if values["recency.kind"] != "none":
            for key in ("recency.keep_total", "recency_in_training"):
                values[key] = trial.suggest_categorical(key, (False, True))
        if self._is_pointwise:
            values |= suggest_denoising(trial)
        values |= {
            "steps": trial.suggest_int("steps", 2, 50, log=True),
            "noise_scale": trial.suggest_float("noise_scale", 1e-4, 1.0, log=True),
            "dropout": trial.suggest_float("dropout", 0.1, 0.7),
            "learning_rate": trial.suggest_float("learning_rate", 3e-5, 3e-3, log=True),
            "batch_size": trial.suggest_int("batch_size", 50, 500, log=True),
        }
        return values | (self._suggest_latent(trial) if self.latent else _suggest_widths(trial))

    def _suggest_latent(self, trial: Trial) -> dict[str, Any]:
        widths, codes = ((150,), (300,), (600,)), ((150,), (300,), (600,), (1000,))
        weight = "diffusion_loss_weight"
        return {
            "hidden_dims": trial.suggest_categorical("hidden_dims", widths),
            "encoder_dims": trial.suggest_categorical("encoder_dims", codes),
            "vae_dropout": trial.suggest_float("vae_dropout", 0.1, 0.6),
            "vae_learning_rate": trial.suggest_float("vae_learning_rate", 1e-4, 5e-3, log=True),
            "kl_weight_max": trial.suggest_float("kl_weight_max", 0.03, 1.0, log=True),
            weight: trial.suggest_float(weight, 0.003, 0.3, log=True),
        }


def _suggest_widths(trial: Trial) -> dict[str, Any]:
    widths = ((100, 300), (200, 600), (300,), (600,), (1000,))
    return {"hidden_dims": trial.suggest_categorical("hidden_dims", widths)}
