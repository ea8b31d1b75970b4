"""Specify a run: its commit, its data window and its parameters, for every stage of it to use.

  python -m pipeline_steps start-run --run 2026-11-24 --end 2026-11-24
  python -m pipeline_steps start-run --run try-1 --end 2026-11-24 --models "t_ease" --dry-run

The parameters are params.yaml of the project's folder, overridden by its section `nightly.params`,
then by the window, then by --models, --seeds and --set. Code comes from the commit, so code
that is not committed is refused. The raw files are listed later, once, by the run's stage list_raw.

All sections are checked here, so that no night fails at its gate because of a typo. A run that
exists is specified again: results of its stages are reused where they are still valid.
Prints the run's name to standard output.
"""

import json
import logging
import subprocess
import sys
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from functools import reduce
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator

from diffrec_core.common.config import UtcTime, load_section
from diffrec_core.common.errors import ConfigError
from diffrec_core.ingestion.raw_files import ListRawConfig
from pipeline_steps.nights.runs import PREVIOUS_IDS, Run, RunSpec, previous_run, run_name
from pipeline_steps.nights.settings import settings
from pipeline_steps.nights.workers import remove_old
from pipeline_steps.params.overlay import parse_assignment
from pipeline_steps.params.presets import merged
from pipeline_steps.params.root import Params
from pipeline_steps.params.steps import NightlyConfig
from pipeline_steps.runtime import git
from pipeline_steps.runtime.command import Inputs, repository_root
from pipeline_steps.runtime.sections import read_params
from pipeline_steps.shared import model_names

log = logging.getLogger("pipeline")
_KEEP_DAYS = 14.0
"""For a retry, the workspace of a failed stage is kept this long."""


_Time = Annotated[UtcTime | None, BeforeValidator(lambda text: text or None)]
"""The DAGs give an empty text where there is no time."""


class StartRunInputs(Inputs):
    """The specification of a run."""

    run: str
    """Its name, unique; letters, digits, . - _"""

    start: _Time = None
    """Data from this time on, UTC; by default nightly.window_days before the end."""

    end: _Time = None
    """Data before this time, UTC; by default all there are."""

    models: str = ""
    """Entries of `models` to train; by default all."""

    seeds: int | None = None
    """Number of seeds per model."""

    set: tuple[str, ...] = ()
    """Parameters KEY=VALUE, such as train.diffrec.steps=10; a line each."""

    dry_run: bool = False
    """Promote and publish nothing."""


def run(inputs: StartRunInputs) -> None:
    """Write the specification.

    Raises:
        ConfigError: a value is not allowed, or code is not committed.
    """
    root, name, store = repository_root(), run_name(inputs.run), settings().store
    params = read_params(root / "params.yaml")
    config = load_section(params, "nightly", NightlyConfig)
    start, end = _window(inputs, config)
    commit = _commit(root)
    previous = previous_run(store, name, end)
    window = {key: value for key, value in (("start", start), ("end", end)) if value}
    overrides = (config.params, {"build_interactions": window}, *_overrides(inputs))
    params = reduce(merged, overrides, params)
    params = merged(params, _absolute_paths(params, root))
    if previous:
        params = merged(params, {"list_raw": {"known_ids": PREVIOUS_IDS}})
    params["models"] = _chosen_models(inputs.models, params["models"])
    # JSON is YAML that all parsers read alike: libyaml refuses a plain a:b in braces
    text = json.dumps(params, indent=2, default=str) + "\n"
    Params.parse_all(json.loads(text))
    created = datetime.now(UTC).isoformat(timespec="seconds")
    spec = RunSpec(
        run=name, commit=commit, start=start, end=end, dry_run=inputs.dry_run, previous=previous,
        created=created,
    )  # fmt: skip
    Run(store, spec).specify(text)
    remove_old(settings().workspaces, days=_KEEP_DAYS)
    log.info("run %s: %s to %s, commit %.8s, after %s", name, start, end, commit, previous)
    sys.stdout.write(f"{name}\n")


def _window(inputs: StartRunInputs, config: NightlyConfig) -> tuple[str | None, str | None]:
    """The half-open data window, ISO 8601 in UTC."""
    start, end = inputs.start, inputs.end
    if start is None and end is not None and config.window_days is not None:
        start = end - timedelta(days=config.window_days)
    if start is not None and end is not None and start >= end:
        raise ConfigError(f"--start {start} must be before --end {end}")
    return _iso(start), _iso(end)


def _iso(time: datetime | None) -> str | None:
    return time.astimezone(UTC).isoformat() if time else None


def _absolute_paths(params: Mapping[str, Any], root: Path) -> dict[str, Any]:
    """Raw files by absolute paths: stages run in folders of their own."""
    section = load_section(params, "list_raw", ListRawConfig)
    paths = {"titles": section.titles, "known_ids": section.known_ids}
    optional = {name: str(root / path) if path else None for name, path in paths.items()}
    return {"list_raw": {"logs": [str(root / path) for path in section.logs], **optional}}


def _overrides(inputs: StartRunInputs) -> list[dict[str, Any]]:
    """Parameters that the command line overrides."""
    lines = [line for text in inputs.set for line in text.splitlines() if line.strip()]
    overrides = [parse_assignment(line) for line in lines]
    for line, override in zip(lines, overrides, strict=True):
        if "nightly" in override:  # it was read before: --set would do nothing
            raise ConfigError(
                f"--set {line!r}: set the parameters that it overrides, or --start for the window"
            )
    return overrides if inputs.seeds is None else [*overrides, {"seeds": inputs.seeds}]


def _chosen_models(text: str, models: Mapping[str, Any]) -> dict[str, Any]:
    """The entries of the models that `--models` names, or all if it names none."""
    names = model_names(text)
    unknown = [name for name in names if name not in models]
    if unknown:
        known = ", ".join(models)
        raise ConfigError(f"--models: {', '.join(unknown)} not under `models`; known: {known}")
    return {name: models[name] for name in names or models}


def _commit(root: Path) -> str:
    try:
        names, commit = git.changed_code(root), git.head(root)
    except (OSError, subprocess.CalledProcessError) as error:
        raise ConfigError(f"{root} is not a git repository: a run's code is a commit") from error
    if names:
        raise ConfigError(
            f"a run's code comes from a commit, and these files differ from it: "
            f"{', '.join(names[:5])}{', …' if len(names) > 5 else ''}. "
            f"Commit or stash them (params.yaml alone may differ)"
        )
    return commit
