"""Options of all benchmarks, and the settings of models: params.yaml with a preset over it."""

from functools import cache
from pathlib import Path
from typing import Any

from diffrec_core.models.kinds import create
from pipeline_steps.params.presets import merged, read_preset
from pipeline_steps.runtime.command import Inputs, repository_root
from pipeline_steps.runtime.sections import read_params


class BenchInputs(Inputs):
    """The data and the output."""

    data: str = ""
    """Folder of the MovieLens-1M split (DIFFREC_BENCH_DATA)."""

    out: Path = Path("reports/bench")
    """Folder of results."""


@cache
def read_settings(preset: str) -> dict[str, Any]:
    """The sections of params.yaml, overridden by those of a preset."""
    params = read_params(repository_root() / "params.yaml")
    return merged(params, read_preset(preset).overlay)


def model_settings(model: str, preset: str, **changes: Any) -> dict[str, Any]:
    """The section of one model with all its defaults, and with changes."""
    section = {**read_settings(preset)["train"][model], **changes}
    return create(section, f"train.{model}").config.model_dump(mode="json")
