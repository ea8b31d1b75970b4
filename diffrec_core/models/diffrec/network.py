"""Denoiser, process and sampler as one network, with the autoencoders around them if latent.

Shapes: B users, I items, Z latent dimensions, D what is diffused: I, or Z if latent.
"""

from collections.abc import Callable
from functools import partial
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from diffrec_core.common.rng import derive_seed
from diffrec_core.diffusion.gaussian import GaussianDiffusion, shared_noise
from diffrec_core.diffusion.hidden_space_sampler import HiddenSpaceSampler, applies_to
from diffrec_core.diffusion.losses import (
    DiffusionTerms,
    SquaredError,
    diffusion_loss,
    loss_weights,
)
from diffrec_core.diffusion.timestep_sampler import Timesteps, TimestepSampler
from diffrec_core.models.diffrec.cluster_vae import ClusterVae
from diffrec_core.models.diffrec.config import DiffRecConfig
from diffrec_core.models.diffrec.denoised_error import denoised_squared_error
from diffrec_core.models.diffrec.denoiser import Denoiser
from diffrec_core.nn.denoising import Reweigh, denoised
from diffrec_core.nn.precision import product_dtype, rounded_inputs
from diffrec_core.nn.sparse_rows import SparseRows
from diffrec_core.nn.variational import (
    kl_divergence,
    multinomial_entries,
    multinomial_loss,
    sample_latent,
)

NOISE_SEED = derive_seed(0, "inference noise")
"""Of every model: scores are a function of weights and history, before saving and after loading."""


class DiffRecNetwork(nn.Module):
    """The four variants.

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
        self.vae: ClusterVae | None = None
        if config.latent and categories is not None:
            self.vae = ClusterVae(categories, config)
        self.denoiser = Denoiser(self.vae.latent_dim if self.vae else n_items, config)
        self.diffusion = GaussianDiffusion(config)
        self.sampler = TimestepSampler(config.steps, config)
        self.register_buffer("loss_weights", loss_weights(config), persistent=False)
        self.in_hidden_space = applies_to(
            config,
            normalize_input=config.normalize_input,
            hidden_layers=len(config.hidden_dims),
        )
        self._reverse = _Reverse(self.diffusion, self.denoiser)

    def train(self, mode: bool = True) -> Self:  # torch's signature
        """Switch dropout; weights that are about to change make the sampler forget them."""
        if mode:
            self._reverse.forget()
        return super().train(mode)

    def compile_denoiser(self) -> None:
        """Fuse the denoiser's training pass; on CUDA, record it as CUDA graphs too."""
        on_cuda = self.loss_weights.device.type == "cuda"
        self.denoiser.compile(mode="reduce-overhead" if on_cuda else "default")

    def recover(self, histories: SparseRows) -> Tensor:
        """Scores (B, I): the reverse process from the history, or from its latent mean.

        Where inference draws noise, all rows and all calls have the same.
        """
        with rounded_inputs(self._dtype):
            if self.vae is None:
                return self._recover(histories.dense, histories.project)
            z_BZ = self.vae.encode(histories).mean
            return self.vae.decode(self._recover(lambda: z_BZ, lambda table_ZG: z_BZ @ table_ZG))

    def losses(
        self,
        histories: SparseRows,
        *,
        diffusion_weight: float,
        kl_weight: float,
        timesteps: Timesteps | None = None,
        reweigh: Reweigh | None = None,
    ) -> Tensor:
        """(B,) losses of a batch: diffusion alone, or L_v + λ L if latent (paper, section 3.5).

        Args:
            histories: the batch.
            diffusion_weight: λ.
            kl_weight: of the KL divergence.
            timesteps: draws them; without it, the network's own sampler does.
            reweigh: weighs the squared error of a history's items, or the likelihood of those
                that dropout has left if latent (see `training.denoising`).
        """
        timesteps = timesteps or self.sampler
        with self._autocast():
            if self.vae is None:
                error = _error(histories, reweigh)
                return self._diffuse(histories.dense(), timesteps, error).loss
            code = self.vae.encode(histories)
            z_start = sample_latent(code.mean, code.log_variance)
            loss, pred_z_start = self._diffuse(z_start, timesteps)
            scores = self.vae.decode(pred_z_start)
        observed = code.corrupted
        target = denoised(observed, lambda: multinomial_entries(scores, observed), reweigh)
        reconstruction = multinomial_loss(scores, target)
        divergence = kl_divergence(code.mean, code.log_variance)
        return diffusion_weight * loss + reconstruction + kl_weight * divergence

    def _diffuse(
        self, x_start: Tensor, timesteps: Timesteps, error: SquaredError | None = None
    ) -> DiffusionTerms:
        return diffusion_loss(
            self.diffusion,
            timesteps,
            self.denoiser,
            x_start,
            weights=self.loss_weights,
            squared_error=error,
        )

    def _recover(
        self, x_start: Callable[[], Tensor], project: Callable[[Tensor], Tensor]
    ) -> Tensor:
        """Run the reverse process, given what makes x_start (B, D) and x_start times a table."""
        noise = shared_noise(NOISE_SEED)
        if not self.in_hidden_space:
            with self._autocast():
                x_0 = self.diffusion.p_sample_loop(self.denoiser, x_start(), noise)
            return x_0.to(torch.float32)
        sampler, table_DG = self._reverse.current(self._dtype)
        projected_BG = project(table_DG)
        with self._autocast():
            return sampler(projected_BG, x_start, noise)

    @property
    def _dtype(self) -> torch.dtype:
        """Of the matrix products."""
        return product_dtype(self.config.precision, self.loss_weights.device)

    def _autocast(self) -> torch.autocast:
        device, dtype = self.loss_weights.device.type, self._dtype
        return torch.autocast(device, dtype=torch.bfloat16, enabled=dtype == torch.bfloat16)


def _error(histories: SparseRows, reweigh: Reweigh | None) -> SquaredError | None:
    """The squared error with a history's items weighed; None where they are not."""
    if reweigh is None:
        return None
    return partial(denoised_squared_error, histories=histories, reweigh=reweigh)


class _Reverse:
    """The hidden-space sampler of the weights as they are now, made anew when they change."""

    def __init__(self, diffusion: GaussianDiffusion, denoiser: Denoiser) -> None:
        self.diffusion, self.denoiser = diffusion, denoiser
        self.of: tuple[torch.dtype, tuple[tuple[int, int], ...]] | None = None
        self.made: tuple[HiddenSpaceSampler, Tensor] | None = None

    def forget(self) -> None:
        """Make the sampler anew at the next call."""
        self.made = None

    def current(self, dtype: torch.dtype) -> tuple[HiddenSpaceSampler, Tensor]:
        """The sampler, with products in `dtype`, and W transposed, (D, G)."""
        # a copy into a tensor counts its version up; a fused optimiser's step does not, hence
        # `forget` before training
        now = dtype, tuple((p.data_ptr(), p._version) for p in self.denoiser.parameters())
        if self.made is None or now != self.of:
            split = self.denoiser.split(self.diffusion.steps)
            table = split.input_weight.T.contiguous()
            self.of = now
            self.made = HiddenSpaceSampler(self.diffusion, split, dtype), table
        return self.made
