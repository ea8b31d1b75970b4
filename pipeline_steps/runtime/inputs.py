"""Inputs that several commands share."""

from pathlib import Path

from pipeline_steps.runtime.command import Inputs


class PartsInputs(Inputs):
    """The parts of the split that a model is trained on and judged by."""

    train: Path
    """Training part."""

    validation: Path
    """Validation part."""


class FitInputs(PartsInputs):
    """A model and its data."""

    model: str
    """An entry under `models` and `train` in params.yaml."""

    items: Path
    """Folder of the item vocabulary; for a latent model, with the clusters of the items."""
