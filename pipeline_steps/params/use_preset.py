"""Put the settings that are known for a data set over those of params.yaml.

  make run PRESET=ml-1m-clean                            use a preset and run the pipeline
  python -m pipeline_steps use-preset --list             the presets, a line on each
  python -m pipeline_steps use-preset NAME --dry-run     the changes, without making them
  python -m pipeline_steps use-preset NAME               make them
  python -m pipeline_steps use-preset --off              the settings of before any preset

NAME may be the path of a file, or `tuned`: the results of all tuning studies, over the preset
that params.yaml has. Any other replaces that one. Comments and all other keys stay, and the result
is checked before it is written.
"""

import logging
import sys
from pathlib import Path
from typing import Annotated

from diffrec_core.common.errors import ConfigError
from pipeline_steps.params.overlay import apply_preset
from pipeline_steps.params.presets import PRESETS, Preset, over, preset_names, read_preset
from pipeline_steps.params.root import Params
from pipeline_steps.runtime.command import POSITIONAL, Inputs

log = logging.getLogger("pipeline")


class UsePresetInputs(Inputs):
    """The preset and its folder."""

    preset: Annotated[str | None, POSITIONAL] = None
    """Name of a preset, or a file."""

    list: bool = False
    """Show the presets and stop."""

    off: bool = False
    """Restore the settings of before any preset."""

    dry_run: bool = False
    """Show the changes and stop."""

    presets: Path = PRESETS
    """Folder of the presets."""


def run(inputs: UsePresetInputs, params: Path) -> None:
    """List the presets, or put one over params.yaml.

    Raises:
        ConfigError: no preset is named or there is none of that name; a key is unknown or a
            value not allowed, in the preset or in params.yaml.
    """
    names = preset_names(inputs.presets)
    if inputs.list:
        sys.stdout.writelines(f"{name:<22}{about}\n" for name, about in names.items())
        return
    if not inputs.preset and not inputs.off:
        raise ConfigError(f"name a preset, or --off; known: {', '.join(names)}")
    preset = Preset("", {}) if inputs.off else read_preset(str(inputs.preset), inputs.presets)
    if inputs.preset == "tuned" and (applied := Params.load(params).preset):
        preset = over(preset, applied.base or applied.name, inputs.presets)
    lines = apply_preset(params, preset, dry_run=inputs.dry_run)
    for line in lines:
        log.info("%s", line)
    others = [name for name in Params.load(params).models if name not in preset.models]
    if others and preset.models:
        log.info("settings not chosen for %s: %s", preset.name, ", ".join(others))
    if inputs.dry_run:
        log.info("dry run: %s is unchanged", params)
    else:
        name = preset.name or "no preset"
        log.info("%s has the settings of %s: %d values changed", params, name, len(lines))
