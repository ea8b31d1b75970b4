"""Which settings a benchmark uses: the one place that reads params.yaml and presets."""

from functools import cache
from typing import Any

from diffrec_core.models.kinds import create
from pipeline_steps.params.presets import merged, read_preset
from pipeline_steps.runtime.command import repository_root
from pipeline_steps.runtime.sections import read_params


@cache
def read_settings(preset: str) -> dict[str, Any]:
    """The sections of params.yaml, overridden by those of a preset.

    Under `train`, a model that the preset does not name has its settings from params.yaml.
    """
    params = read_params(repository_root() / "params.yaml")
    return merged(params, read_preset(preset).overlay)


def model_settings(model: str, preset: str, **changes: Any) -> dict[str, Any]:
    """The section of one model with all its defaults, and with changes."""
    section = {**read_settings(preset)["train"][model], **changes}
    return create(section, f"train.{model}").config.model_dump(mode="json")
