"""Sections of params.yaml that belong to steps, not to a part of the library."""

from typing import Annotated, Any

from pydantic import Field

from diffrec_core.common.config import Config


class ModelEntry(Config):
    """An entry under `models`."""

    code: str = Field(min_length=1)
    """The file or folder with the model's code: for DVC, a change of it makes the model stale."""

    items: str = "data/interactions"
    """Where the model takes its items from; latent models need a folder with clusters."""

    seeds: int | None = Field(default=None, ge=1)
    """How often to train it, each time from another seed; null: the `seeds` at the top."""


Models = Annotated[dict[str, ModelEntry], Field(min_length=1)]
"""The models of a run, by name."""

Seeds = Annotated[int, Field(ge=1, strict=True)]
"""How often each model is trained."""


class RefitConfig(Config):
    """What the winner is trained on in the end."""

    hold_out_test: bool = False
    """Leave the test part out, so that models can be compared on data that none has seen."""


class RegisterConfig(Config):
    """Names in the registry."""

    experiment: str = Field(default="diffrec", min_length=1)
    model_name: str = Field(default="diffrec", min_length=1)
    alias: str = Field(default="champion", min_length=1)
    """champion: serve it at once; challenger: leave that to the gate."""


class RecommendConfig(Config):
    """Size of the table of recommendations."""

    k: int = Field(default=20, ge=1)
    """Items per user; fewer where a user has seen nearly everything."""

    batch_size: int = Field(default=1024, ge=1)
    """Users scored at a time; does not change results."""


class NightlyConfig(Config):
    """Overrides for scheduled runs."""

    window_days: Annotated[int, Field(ge=1)] | None = None
    """How many days of data before the end of the window count; null: all."""

    params: dict[str, dict[str, Any]] = Field(default_factory=dict)
    """Sections that override those of this file."""
