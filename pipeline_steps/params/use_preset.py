"""Put the settings that are known for a data set over those of params.yaml.

  make run PRESET=ml-1m-clean                            use a preset and run the pipeline
  python -m pipeline_steps use-preset --list             the presets, a line on each
  python -m pipeline_steps use-preset NAME --dry-run     the changes, without making them
  python -m pipeline_steps use-preset NAME               make them
  python -m pipeline_steps use-preset --off              the settings of before any preset

NAME may be the path of a file, or `tuned`: the results of all tuning studies. A preset replaces the
one before. Comments and all other keys stay, and the result is checked before it is written.
"""

import logging
from pathlib import Path
from typing import Annotated

from rich.console import Console
from rich.table import Table

from diffrec_core.common.errors import ConfigError
from pipeline_steps.params.overlay import apply_preset
from pipeline_steps.params.presets import PRESETS, Preset, preset_names, read_preset
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
    if inputs.list:
        _show_list(inputs.presets)
        return
    if not inputs.preset and not inputs.off:
        known = ", ".join(preset_names(inputs.presets))
        raise ConfigError(f"name a preset, or --off; known: {known}")
    preset = Preset("", {}) if inputs.off else read_preset(str(inputs.preset), inputs.presets)
    lines = apply_preset(params, preset.name, preset.overlay, dry_run=inputs.dry_run)
    for line in lines:
        log.info("%s", line)
    if preset.name:
        _log_others(preset, params)
    _log_result(preset.name or "no preset", params, len(lines), dry_run=inputs.dry_run)


def _log_result(what: str, params: Path, changed: int, *, dry_run: bool) -> None:
    if not changed:
        log.info("%s has the settings of %s already", params, what)
    elif dry_run:
        log.info("dry run: %s is unchanged", params)
    else:
        log.info("%s has the settings of %s now: %d values changed", params, what, changed)


def _log_others(preset: Preset, params: Path) -> None:
    """Name the models of the run whose settings were not chosen for the preset's data set."""
    others = [name for name in Params.load(params).models if name not in preset.models]
    if others and preset.models:
        log.info("settings not chosen for %s: %s", preset.name, ", ".join(others))


def _show_list(folder: Path) -> None:
    table = Table.grid(padding=(0, 2))
    for name, description in preset_names(folder).items():
        table.add_row(name, description)
    Console().print(table)
