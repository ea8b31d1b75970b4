"""Sections `models`, `seeds` and `runtime` of params.yaml."""

from typing import Annotated, Literal

from pydantic import Field

from diffrec_core.common.config import Config


class ModelEntry(Config):
    """An entry under `models`."""

    code: str = Field(min_length=1)
    """The file or folder with the model's code: for DVC, a change of it makes the model stale."""

    items: str = "data/interactions"
    """The folder that the model reads its items from; latent models need one with clusters."""

    seeds: int | None = Field(default=None, ge=1)
    """Number of seeds to train it with; null: the `seeds` at the top."""


Models = Annotated[dict[str, ModelEntry], Field(min_length=1)]
"""The models of a run, by name."""

Seeds = Annotated[int, Field(ge=1, strict=True)]
"""Number of seeds to train each model with."""


class RuntimeConfig(Config):
    """Device and limits of a step. No stage depends on this section: it must not change results."""

    device: Literal["auto", "cpu", "cuda"] = "auto"
    """auto: a CUDA device if there is one."""

    threads: int | None = Field(default=None, ge=1)
    """CPU threads of torch; null: as many as there are cores. Sums may differ in the last bit."""

    compile: bool = False
    """Let torch.compile fuse DiffRec's denoiser in training, with CUDA graphs on CUDA. It needs a
    C++ compiler, a path without blanks and a minute before the first step; sums may differ in
    the last bits."""

    checkpoint_every_seconds: float = Field(default=30.0, ge=0.0)
    """A killed training loses at most this much, or one step or validation if that is longer."""

    memory_limit_gib: float | None = Field(default=None, gt=0.0)
    """Memory that a fit may add to that of its process; null: 80 % of the machine's (or the
    container's). On Linux the kernel enforces it for fits on the CPU: an allocation above it fails
    (RLIMIT_DATA, which counts what is allocated, used or not), and the model is left out. On an
    accelerator, and on other systems, a fit fails when there is no more memory at all."""
