"""Specify a run: its commit, its data window and its parameters, for every stage of it to use.

  python -m pipeline_steps start-run --run 2026-11-24 --end 2026-11-24
  python -m pipeline_steps start-run --run try-1 --end 2026-11-24 --models "ease diffrec" --dry-run

The parameters are params.yaml of the project's folder, with its section `nightly.params` put over
the others, then the window, then --models, --seeds and --set. Code comes from the commit, so code
that is not committed is refused. The raw files are listed later, once, by the run's stage list_raw.

All sections are checked here, so that no night fails at its gate over a word. A run that exists is
specified anew: what its stages have left is taken up where it still holds.
Ends with the run's name on standard output.
"""

import argparse
import json
import logging
import subprocess
import sys
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, TypeAdapter, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from diffrec_core.common.config import Config, load_section
from diffrec_core.common.errors import ConfigError
from diffrec_core.data.interactions import UtcTime
from diffrec_core.ingestion.raw_files import ListRawConfig
from pipeline_steps.nights.runs import Run, RunSpec, previous_run, run_name
from pipeline_steps.nights.settings import settings
from pipeline_steps.nights.workers import remove_old
from pipeline_steps.params.sections import check_all
from pipeline_steps.runtime import git
from pipeline_steps.runtime.command import command_line, read_params, repository_root
from pipeline_steps.shared import model_names

log = logging.getLogger("pipeline")
_KEEP_DAYS = 14.0
"""How long the workspace of a stage that failed is kept for another try."""

PREVIOUS_IDS = ".previous"
"""Where a workspace holds the interactions of the run before, whose ids keep their indices."""


class NightlyConfig(Config):
    """Section `nightly` of params.yaml: what a scheduled run does otherwise than `make run`."""

    window_days: Annotated[int, Field(ge=1)] | None = None
    """How many days of data before the end of the window count; null: all."""

    params: dict[str, dict[str, Any]] = Field(default_factory=dict)
    """Sections to put over those of this file."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what a run is made of."""
    parser.add_argument("--run", required=True, help="its name, unique; letters, digits, . - _")
    parser.add_argument(
        "--start", help="data from this time on, UTC (default: by nightly.window_days)"
    )
    parser.add_argument("--end", help="data before this time, UTC (default: all there are)")
    parser.add_argument("--models", default="", help="of those under `models` (default: all)")
    parser.add_argument("--seeds", type=int, help="times that each model is trained")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE",
        help="a parameter, such as train.diffrec.steps=10; a line each",
    )  # fmt: skip
    parser.add_argument("--dry-run", action="store_true", help="promote and publish nothing")


def main(args: argparse.Namespace) -> None:
    """Write the specification.

    Raises:
        ConfigError: a value is not allowed, or code is not committed.
    """
    root, name, store = repository_root(), run_name(args.run), settings().store
    params = read_params(root / "params.yaml")
    config = load_section(params, "nightly", NightlyConfig)
    start, end = _window(args, config)
    commit = _commit(root)
    previous = previous_run(store, name, end)
    for values in (config.params, _window_params(start, end), *_choices(args, params)):
        merge(params, values)
    merge(params, _absolute_paths(params, root))
    if previous:
        merge(params, {"list_raw": {"known_ids": PREVIOUS_IDS}})
    # JSON is YAML that every reader takes alike: libyaml refuses a plain a:b in braces
    text = json.dumps(params, indent=2, default=str) + "\n"
    check_all(json.loads(text))
    created = datetime.now(UTC).isoformat(timespec="seconds")
    spec = RunSpec(
        run=name, commit=commit, start=start, end=end, dry_run=args.dry_run, previous=previous,
        created=created,
    )  # fmt: skip
    Run(store, spec).specify(text)
    remove_old(settings().workspaces, days=_KEEP_DAYS)
    log.info("run %s: %s to %s, commit %.8s, after %s", name, start, end, commit, previous)
    sys.stdout.write(f"{name}\n")


def _window(args: argparse.Namespace, config: NightlyConfig) -> tuple[str | None, str | None]:
    """The half-open data window, in UTC."""
    start, end = _time("--start", args.start), _time("--end", args.end)
    if start is None and end is not None and config.window_days is not None:
        start = end - timedelta(days=config.window_days)
    if start is not None and end is not None and start >= end:
        raise ConfigError(f"--start {start} must be before --end {end}")
    return (start.isoformat() if start else None), (end.isoformat() if end else None)


def _time(option: str, text: str | None) -> datetime | None:
    if not text:
        return None
    try:
        value: datetime = TypeAdapter(UtcTime).validate_python(text)
    except ValidationError as error:
        raise ConfigError(
            f"{option} {text!r}: expected a date or time, such as 2026-11-24"
        ) from error
    return value.astimezone(UTC)


def _window_params(start: str | None, end: str | None) -> dict[str, Any]:
    window = {key: value for key, value in (("start", start), ("end", end)) if value}
    return {"build_interactions": window}


def _absolute_paths(params: Mapping[str, Any], root: Path) -> dict[str, Any]:
    """Raw files by absolute paths: stages run in folders of their own."""
    section = load_section(params, "list_raw", ListRawConfig)
    titles, known_ids = section.titles, section.known_ids
    return {
        "list_raw": {
            "logs": [str(root / path) for path in section.logs],
            "titles": str(root / titles) if titles else None,
            "known_ids": str(root / known_ids) if known_ids else None,
        }
    }


def _choices(args: argparse.Namespace, params: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What the command line changes in the parameters."""
    chosen: list[dict[str, Any]] = [
        _setting(line) for text in args.set for line in text.splitlines() if line.strip()
    ]
    if args.seeds is not None:
        if args.seeds < 1:
            raise ConfigError(f"--seeds {args.seeds}: must be at least 1")
        chosen.append({"seeds": args.seeds})
    names = model_names(args.models)
    unknown = [name for name in names if name not in params["models"]]
    if unknown:
        known = ", ".join(params["models"])
        raise ConfigError(f"--models: {', '.join(unknown)} not under `models`; known: {known}")
    if names:
        chosen.append({"models": _Replaced({name: params["models"][name] for name in names})})
    return chosen


def _setting(text: str) -> dict[str, Any]:
    """`a.b=1` as a mapping of mappings."""
    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        raise ConfigError(f"--set {text!r}: expected KEY=VALUE, such as train.diffrec.steps=10")
    if key.partition(".")[0].strip() == "nightly":  # it was read before: --set would do nothing
        raise ConfigError(f"--set {text!r}: set what it stands for, or --start for the window")
    try:
        values: Any = YAML(typ="safe", pure=True).load(value)
    except YAMLError as error:
        raise ConfigError(f"--set {text!r}: the value is not valid YAML: {error}") from error
    for part in reversed(key.strip().split(".")):
        values = {part: values}
    found: dict[str, Any] = values
    return found


class _Replaced(dict[str, Any]):
    """A mapping that takes the place of another, whole."""


def merge(params: dict[str, Any], values: Mapping[str, Any]) -> None:
    """Put values over those of `params`, mapping by mapping."""
    for key, value in values.items():
        if isinstance(value, _Replaced):
            params[key] = dict(value)
        elif isinstance(value, Mapping) and isinstance(params.get(key), dict):
            merge(params[key], value)
        else:
            params[key] = value


def _commit(root: Path) -> str:
    """The commit of the code that is here.

    Raises:
        ConfigError: this is no git repository, or code here is not committed.
    """
    try:
        names, commit = git.changed_code(root), git.head(root)
    except (OSError, subprocess.CalledProcessError) as error:
        raise ConfigError(f"{root} is no git repository: a run's code is a commit") from error
    if names:
        raise ConfigError(
            f"a run's code comes from a commit, and these files differ from it: "
            f"{', '.join(names[:5])}{', …' if len(names) > 5 else ''}. "
            f"Commit or stash them (params.yaml alone may differ)"
        )
    return commit


if __name__ == "__main__":
    command_line(main, add_arguments, __doc__)
