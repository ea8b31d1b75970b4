"""The four variants as one Recommender."""

from collections.abc import Iterator, Mapping
from typing import ClassVar, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor, nn
from torch.optim import AdamW, Optimizer

from diffrec_core.data.batches import shuffled_batches
from diffrec_core.data.histories import Histories
from diffrec_core.diffusion.gaussian import GaussianDiffusion
from diffrec_core.diffusion.losses import DiffusionLossConfig, diffusion_loss, loss_weights
from diffrec_core.diffusion.timestep_sampler import TimestepSampler
from diffrec_core.evaluation.metrics import recall_at
from diffrec_core.models.base import ModelConfig, Recommender, TrainingData, dense_rows
from diffrec_core.models.diffrec.cluster_vae import (
    ClusterVae,
    ClusterVaeConfig,
    kl_divergence,
    multinomial_loss,
    sample_latent,
)
from diffrec_core.models.diffrec.denoiser import Denoiser, DenoiserConfig
from diffrec_core.training.seeding import torch_seed
from diffrec_core.training.trainer import (
    TrainingConfig,
    TrainingOptions,
    TrainingReport,
    train,
)


class DiffRecConfig(
    ModelConfig, DiffusionLossConfig, DenoiserConfig, ClusterVaeConfig, TrainingConfig
):
    """Everything that the family can be told; the autoencoder's part counts if `latent`."""

    kind: Literal["diffrec"] = "diffrec"

    latent: bool = False
    """Diffuse latent codes (L-DiffRec) instead of whole histories (DiffRec)."""

    batch_size: int = Field(default=400, ge=1)
    """Users per step."""

    learning_rate: float = Field(default=1e-3, gt=0.0)
    """Of the denoiser."""

    vae_learning_rate: float = Field(default=1e-3, gt=0.0)
    """Of the autoencoders."""

    weight_decay: float = Field(default=0.0, ge=0.0)
    """AdamW's, for both."""

    diffusion_loss_weight: float = Field(default=0.03, ge=0.0)
    """λ of the paper's eq. 17: weight of the diffusion loss beside the autoencoder's."""

    diffusion_loss_weight_floor: float = Field(default=0.005, ge=0.0)
    """λ falls linearly with the epochs, but not below this."""

    diffusion_loss_weight_anneal_epochs: int = Field(default=500, ge=0)
    """Epochs in which λ would reach 0; 0: it does not fall."""

    kl_weight_max: float = Field(default=0.3, ge=0.0)
    """Weight of the KL divergence once it has risen."""

    kl_weight_anneal_steps: int = Field(default=200, ge=0)
    """The KL weight rises by 1 / this per batch up to its maximum; 0: it starts there."""

    score_batch_size: int = Field(default=512, ge=1)
    """Users per batch in validation; does not change results."""


class DiffRec(Recommender):
    """Recover a user's interactions from a noisy copy of them; what appears is recommended."""

    Config: ClassVar[type[ModelConfig]] = DiffRecConfig
    config: DiffRecConfig
    network: "DiffRecNetwork"

    @property
    def needs_item_clusters(self) -> bool:  # type: ignore[override]
        """Latent variants group items by cluster."""
        return self.config.latent

    def _fit(self, data: TrainingData, options: TrainingOptions) -> TrainingReport:
        with torch_seed(options.seed, "initialise"):
            self.network = self._network(len(data.items), data.item_clusters)
        return train(_Program(self, data, options), self.config, options)

    def _score(self, histories: Histories) -> Tensor:
        self.network.eval()
        return self.network.recover(self._inputs(histories))

    def _inputs(self, histories: Histories) -> Tensor:
        n_items = len(self.catalogue.items)
        return dense_rows(histories, self.input_weights(histories), n_items, self.device)

    def _network(self, n_items: int, categories: NDArray[np.int64] | None) -> "DiffRecNetwork":
        return DiffRecNetwork(self.config, n_items, categories).to(self.device)

    def _tensors(self) -> dict[str, Tensor]:
        tensors: dict[str, Tensor] = dict(self.network.named_parameters())
        if self.network.vae is not None:
            tensors["item_order"] = self.network.vae.item_order
            tensors["category_sizes"] = torch.tensor(self.network.vae.sizes)
        return tensors

    def _restore(self, tensors: Mapping[str, Tensor], n_items: int) -> None:
        categories: NDArray[np.int64] | None = None
        learned = dict(tensors)
        if self.config.latent:
            order, sizes = learned.pop("item_order"), learned.pop("category_sizes")
            categories = np.empty(n_items, dtype=np.int64)
            categories[order.numpy()] = np.repeat(np.arange(len(sizes)), sizes.numpy())
        self.network = self._network(n_items, categories)
        with torch.no_grad():
            for name, parameter in self.network.named_parameters():
                parameter.copy_(learned[name])


class DiffRecNetwork(nn.Module):
    """Denoiser, process and sampler, with the autoencoders around them if latent.

    Args:
        config: sizes and options.
        n_items: I.
        categories: (I,) category of each item; None without autoencoders.
    """

    loss_weights: Tensor

    def __init__(
        self, config: DiffRecConfig, n_items: int, categories: NDArray[np.int64] | None
    ) -> None:
        super().__init__()
        self.config = config
        latent = config.latent and categories is not None
        self.vae = ClusterVae(categories, config) if latent and categories is not None else None
        self.denoiser = Denoiser(self.vae.latent_dim if self.vae else n_items, config)
        self.diffusion = GaussianDiffusion(config)
        self.sampler = TimestepSampler(config.steps, config)
        self.register_buffer("loss_weights", loss_weights(config), persistent=False)

    def recover(self, x_BI: Tensor) -> Tensor:
        """Scores (B, I): the reverse process from the history, or from its latent mean."""
        if self.vae is None:
            return self.diffusion.p_sample_loop(self.denoiser, x_BI)
        _, latent_mean, _ = self.vae.encode(x_BI)
        return self.vae.decode(self.diffusion.p_sample_loop(self.denoiser, latent_mean))

    def losses(self, x_BI: Tensor, *, diffusion_weight: float, kl_weight: float) -> Tensor:
        """Mean loss of a batch: diffusion alone, or the paper's eq. 17 if latent."""
        if self.vae is None:
            return self._diffuse(x_BI)[0].mean()
        corrupted, mean, log_variance = self.vae.encode(x_BI)
        loss, pred_z_start = self._diffuse(sample_latent(mean, log_variance))
        reconstruction = multinomial_loss(self.vae.decode(pred_z_start), corrupted)
        divergence = kl_divergence(mean, log_variance)
        return (diffusion_weight * loss + reconstruction + kl_weight * divergence).mean()

    def _diffuse(self, x_start: Tensor) -> tuple[Tensor, Tensor]:
        return diffusion_loss(
            self.diffusion, self.sampler, self.denoiser, x_start, weights=self.loss_weights
        )


class _Program:
    """DiffRec in training (see `training.trainer.TrainingProgram`)."""

    def __init__(self, model: DiffRec, data: TrainingData, options: TrainingOptions) -> None:
        self.model, self.data, self.seed = model, data, options.seed
        self.config = model.config
        network = model.network
        self.module: nn.Module = network
        self.optimizers: Mapping[str, Optimizer] = {
            "denoiser": self._optimizer(network.denoiser, self.config.learning_rate)
        }
        if network.vae is not None:
            vae = self._optimizer(network.vae, self.config.vae_learning_rate)
            self.optimizers = {**self.optimizers, "vae": vae}

    def _optimizer(self, module: nn.Module, learning_rate: float) -> AdamW:
        return AdamW(
            module.parameters(), lr=learning_rate, weight_decay=self.config.weight_decay, fused=True
        )

    def train_epoch(self, epoch: int) -> dict[str, float]:
        network = self.model.network.train()
        total = torch.zeros((), dtype=torch.float64, device=self.model.device)
        for step, x_BI in enumerate(self._batches(epoch), start=self._steps_before(epoch)):
            loss = network.losses(
                x_BI,
                diffusion_weight=self._diffusion_weight(epoch),
                kl_weight=self._kl_weight(step),
            )
            for optimizer in self.optimizers.values():
                optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            for optimizer in self.optimizers.values():
                optimizer.step()
            total += loss.detach() * len(x_BI)
        return {"loss": float(total) / len(self.data.histories)}

    def _batches(self, epoch: int) -> Iterator[Tensor]:
        n_users, size = len(self.data.histories), self.config.batch_size
        for rows in shuffled_batches(n_users, size, seed=self.seed, epoch=epoch):
            yield self.model._inputs(self.data.histories.take(rows))

    def _steps_before(self, epoch: int) -> int:
        return (epoch - 1) * -(-len(self.data.histories) // self.config.batch_size)

    def _diffusion_weight(self, epoch: int) -> float:
        config, share = self.config, 1.0
        if config.diffusion_loss_weight_anneal_epochs:
            share -= (epoch - 1) / config.diffusion_loss_weight_anneal_epochs
        return max(share * config.diffusion_loss_weight, config.diffusion_loss_weight_floor)

    def _kl_weight(self, step: int) -> float:
        if not self.config.kl_weight_anneal_steps:
            return self.config.kl_weight_max
        return min(self.config.kl_weight_max, step / self.config.kl_weight_anneal_steps)

    def validate(self) -> float | None:
        task = self.data.validation
        if task is None:
            return None
        return recall_at(self.model.score, task, batch_size=self.config.score_batch_size)
