"""The models of a run: sections `models` and `seeds` of params.yaml."""

from typing import Annotated

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
