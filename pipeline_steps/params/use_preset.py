"""Put the settings that are known for a data set into params.yaml.

  make run PRESET=ml-1m-clean                            use a preset and run the pipeline
  python -m pipeline_steps use-preset --list             the presets, a line on each
  python -m pipeline_steps use-preset NAME --dry-run     what would change
  python -m pipeline_steps use-preset NAME               change it

A preset replaces pretrain_item_embeddings, cluster_items, robustness and its models' entries under
`train`, and sets keys of build_interactions; all else in params.yaml, comments included, stays. The
result is checked before it is written. Models whose settings are not the preset's own are named.
"""

import argparse
import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from diffrec_core.common.artifacts import write_text
from diffrec_core.common.config import load_section
from diffrec_core.common.errors import ConfigError
from pipeline_steps.params import documents, presets
from pipeline_steps.runtime.command import command_line
from pipeline_steps.studies.robustness import RobustnessConfig

log = logging.getLogger("pipeline")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the preset and where it goes."""
    parser.add_argument("preset", nargs="?", metavar="NAME", help="one of those that --list shows")
    parser.add_argument("--list", action="store_true", help="show the presets and stop")
    parser.add_argument("--dry-run", action="store_true", help="show what would change and stop")
    parser.add_argument("--params", type=Path, default=Path("params.yaml"), metavar="FILE")
    parser.add_argument("--presets", type=Path, default=presets.PRESETS, metavar="FOLDER")


def main(args: argparse.Namespace) -> None:
    """List the presets, or merge one into params.yaml.

    Raises:
        ConfigError: no preset is named or there is none of that name; a key is unknown or a
            value not allowed, in the preset or in params.yaml.
    """
    if args.list:
        _show_list(args.presets)
        return
    if not args.preset:
        known = ", ".join(presets.preset_names(args.presets))
        raise ConfigError(f"name a preset; known: {known}")
    use(args.preset, args.params, args.presets, dry_run=args.dry_run)


def use(name: str, params: Path, folder: Path, *, dry_run: bool) -> None:
    """Merge the preset into the file, say what changes, and write it unless it is a dry run.

    Raises:
        ConfigError: see `main`; or the preset puts models to noise that the file does not have.
    """
    preset = presets.read_preset(name, folder)
    document = documents.load_document(params)
    before = documents.load_plain(documents.dump_document(document))
    presets.merge(document, preset.document)
    text = documents.dump_document(document)
    after = documents.load_plain(text)
    presets.check_params(after)
    _check_robustness(after, name)
    lines = documents.changes(before, after)
    for line in (*lines, *settings_of_others(preset, after.get("models") or {})):
        log.info("%s", line)
    if not lines:
        log.info("%s has the settings of %s already", params, name)
    elif dry_run:
        log.info("dry run: %s is as it was", params)
    else:
        write_text(params, text)
        log.info("%s has the settings of %s now: %d values changed", params, name, len(lines))


def _check_robustness(params: Mapping[str, Any], preset: str) -> None:
    models = params.get("models") or {}
    config = (
        load_section(params, "robustness", RobustnessConfig) if "robustness" in params else None
    )
    missing = [name for name in config.models if name not in models] if config else []
    if missing:
        raise ConfigError(
            f"{preset} puts models to noise that are not under `models` in params.yaml: "
            f"{', '.join(missing)}; put them there, or choose another preset"
        )


def settings_of_others(preset: presets.Preset, models: Mapping[str, Any]) -> Iterator[str]:
    """One line for each preset that models of the run have their settings from, if not this one.

    Args:
        preset: that is used.
        models: of the run, by name.
    """
    by_origin: dict[str, list[str]] = {}
    for model in models:
        origin = preset.origins.get(model, "")
        if origin != preset.name:
            by_origin.setdefault(origin, []).append(model)
    for origin, names in by_origin.items():
        whose = f"of {origin}" if origin else "that params.yaml had before"
        yield f"with the settings {whose}, not chosen for {preset.name}: {', '.join(names)}"


def _show_list(folder: Path) -> None:
    table = Table.grid(padding=(0, 2))
    for name, description in presets.preset_names(folder).items():
        table.add_row(name, description)
    Console().print(table)


if __name__ == "__main__":
    command_line(main, add_arguments, __doc__)
