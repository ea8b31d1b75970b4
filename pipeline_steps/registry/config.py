"""Section `register` of params.yaml; apart from `versions`, as MLflow takes seconds to load."""

from pydantic import Field

from diffrec_core.common.config import Config


class RegisterConfig(Config):
    """Names in the registry."""

    experiment: str = Field(default="diffrec", min_length=1)
    model_name: str = Field(default="diffrec", min_length=1)
    alias: str = Field(default="champion", min_length=1)
    """champion: serve it at once; challenger: leave that to the gate."""
