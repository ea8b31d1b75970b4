"""The denoiser f_θ(x_t, t): an MLP on the noisy vector and the embedded timestep.

Shapes: B rows, D dimensions of the vector, E of the timestep embedding.
"""

import math

import torch
from pydantic import Field
from torch import Tensor, nn

from diffrec_core.common.config import Config, PositiveTuple
from diffrec_core.diffusion.hidden_space_sampler import SplitDenoiser
from diffrec_core.nn.dropout import Dropout
from diffrec_core.nn.mlp import Activation, initialise_linear, mlp

_MAX_PERIOD = 10_000.0


class DenoiserConfig(Config):
    """Size and regularisation of the MLP."""

    hidden_dims: PositiveTuple = (200, 600)
    """Widths from the bottleneck outwards: [200, 600] is D → 600 → 200 → 600 → D, and [1000] is
    D → 1000 → D. Empty: one linear layer."""

    timestep_embedding_dim: int = Field(default=10, ge=2)
    """E; sinusoidal features of t before a linear layer."""

    activation: Activation = "tanh"
    """Between layers; the output is linear."""

    dropout: float = Field(default=0.5, ge=0.0, lt=1.0)
    """On the noisy input, in training."""

    normalize_input: bool = False
    """Scale each noisy input to length 1."""


class Denoiser(nn.Module):
    """Estimate x_start (or the noise), (B, D), from x_t and t."""

    def __init__(self, dim: int, config: DenoiserConfig) -> None:
        super().__init__()
        self.config = config
        embedding_dim, outwards = config.timestep_embedding_dim, config.hidden_dims
        self.embed = nn.Linear(embedding_dim, embedding_dim)
        widths = (dim, *reversed(outwards), *outwards[1:], dim)
        first = nn.Linear(dim + embedding_dim, widths[1])
        self.rest = mlp(widths[1:], config.activation, activate_first=True)
        for part in (self.embed, first, self.rest):
            part.apply(initialise_linear)
        self.first, self.first_of_t = _split_columns(first, dim)
        self.dropout = Dropout(config.dropout)

    def forward(self, x_t: Tensor, t: Tensor) -> Tensor:
        """(B, D) noisy vectors and (B,) 0-based timesteps to (B, D) estimates."""
        embedded_BE = self.embed(timestep_embedding(t, self.config.timestep_embedding_dim))
        if self.config.normalize_input:
            x_t = nn.functional.normalize(x_t, dim=1)
        estimate: Tensor = self.rest(self.first(self.dropout(x_t)) + self.first_of_t(embedded_BE))
        return estimate

    def split(self, steps: int) -> SplitDenoiser:
        """Take the network apart for the hidden-space sampler; it needs a hidden layer.

        What the first layer adds for each of the `steps` timesteps is tabulated here.
        """
        if not len(self.rest):
            raise ValueError("a denoiser without hidden layers has no hidden space")
        *between, last = self.rest
        if not isinstance(last, nn.Linear):
            raise TypeError(f"the last layer must be linear, not {type(last).__name__}")
        every_t = torch.arange(steps, device=last.weight.device)
        embedded_TE = self.embed(timestep_embedding(every_t, self.config.timestep_embedding_dim))
        added_TG = self.first_of_t(embedded_TE) + self.first.bias
        hidden = nn.Sequential(*between)
        return SplitDenoiser(self.first.weight, added_TG, hidden, last.weight, last.bias)


def _split_columns(layer: nn.Linear, dim: int) -> tuple[nn.Linear, nn.Linear]:
    """Split a layer on D + E inputs into one on D, with the bias, and one on E.

    Together they compute the same; apart, the gradient of the E inputs, which is needed, does
    not bring that of the D inputs, which is not: a sixth of a step's multiplications.
    """
    of_x = nn.Linear(dim, layer.out_features, device="meta")
    of_t = nn.Linear(layer.in_features - dim, layer.out_features, bias=False, device="meta")
    of_x.weight = nn.Parameter(layer.weight.detach()[:, :dim].clone())
    of_t.weight = nn.Parameter(layer.weight.detach()[:, dim:].clone())
    of_x.bias = layer.bias
    return of_x, of_t


def timestep_embedding(t: Tensor, dim: int) -> Tensor:
    """Sinusoidal features (Vaswani et al. 2017): half cosines, half sines, periods to 10,000.

    >>> timestep_embedding(torch.tensor([0]), 4).tolist()
    [[1.0, 1.0, 0.0, 0.0]]
    """
    half = dim // 2
    frequency = torch.exp(-math.log(_MAX_PERIOD) * torch.arange(half, device=t.device) / half)
    angle = t[:, None].to(torch.float32) * frequency
    features = torch.cat([angle.cos(), angle.sin()], dim=1)
    return nn.functional.pad(features, (0, dim - 2 * half))
