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
    mean_squared_error,
)
from diffrec_core.diffusion.timestep_sampler import Timesteps, TimestepSampler
from diffrec_core.models.diffrec.cluster_vae import ClusterVae
from diffrec_core.models.diffrec.config import DiffRecConfig
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
    """The four variants; the latent ones need `clusters`, (I,), the cluster of each item."""

    loss_weights: Tensor

    def __init__(
        self, config: DiffRecConfig, n_items: int, clusters: NDArray[np.int64] | None
    ) -> None:
        super().__init__()
        self.config = config
        self.vae: ClusterVae | None = None
        if config.latent and clusters is not None:
            self.vae = ClusterVae(clusters, config)
        self.denoiser = Denoiser(self.vae.latent_dim if self.vae else n_items, config)
        self.diffusion = GaussianDiffusion(config)
        self.sampler = TimestepSampler(config.steps, config)
        self.register_buffer("loss_weights", loss_weights(config), persistent=False)
        self.in_hidden_space = applies_to(
            config,
            normalize_input=config.normalize_input,
            hidden_layers=len(config.hidden_dims),
        )
        self._sampler: tuple[HiddenSpaceSampler, Tensor] | None = None
        self._sampler_key: object = None

    def train(self, mode: bool = True) -> Self:  # torch's signature
        """Switch dropout; drop the sampler of weights that are about to change."""
        if mode:
            self._sampler = None
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
                that dropout has left if latent (see `nn.denoising`).
        """
        timesteps = timesteps or self.sampler
        with self._autocast():
            if self.vae is None:
                error = reweigh and partial(
                    denoised_squared_error, histories=histories, reweigh=reweigh
                )
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
        sampler, table_DG = self._hidden_sampler()
        projected_BG = project(table_DG)
        with self._autocast():
            return sampler(projected_BG, x_start, noise)

    def _hidden_sampler(self) -> tuple[HiddenSpaceSampler, Tensor]:
        """The sampler of the current weights, and W transposed, (D, G)."""
        # a copy into a tensor raises its version; a fused optimizer's step does not: see `train`
        versions = tuple((p.data_ptr(), p._version) for p in self.denoiser.parameters())
        key = self._dtype, versions
        if self._sampler is None or key != self._sampler_key:
            split = self.denoiser.split(self.diffusion.steps)
            sampler = HiddenSpaceSampler(self.diffusion, split, self._dtype)
            self._sampler, self._sampler_key = (sampler, split.input_weight.T.contiguous()), key
        return self._sampler

    @property
    def _dtype(self) -> torch.dtype:
        """Of the matrix products."""
        return product_dtype(self.config.precision, self.loss_weights.device)

    def _autocast(self) -> torch.autocast:
        device, dtype = self.loss_weights.device.type, self._dtype
        return torch.autocast(device, dtype=torch.bfloat16, enabled=dtype == torch.bfloat16)


def denoised_squared_error(
    output: Tensor, target: Tensor, *, histories: SparseRows, reweigh: Reweigh
) -> Tensor:
    """(B,) mean over D of the squared error, with the entries of the histories weighed.

    Args:
        output: (B, D).
        target: (B, D), the dense histories.
        histories: B rows. Their weights are the target: the error itself counts 1, and 0 where
            a weight of 0 says that there is no interaction.
        reweigh: from `reweighing`.
    """
    at = histories.positions
    error_N = output.flatten().gather(0, at).to(torch.float32) - target.flatten().gather(0, at)
    with torch.no_grad():
        ones = (histories.weights != 0).to(torch.float32)
        missing = ones - reweigh(0.5 * error_N.square(), ones)
    lost_N = missing * error_N.square()
    lost_B = error_N.new_zeros(len(histories)).index_add(0, histories.rows, lost_N)
    return mean_squared_error(output, target) - lost_B / target.shape[1]
