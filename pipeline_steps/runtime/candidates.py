"""The folder of a model that runs for champion: a model directory per seed, or why there is none.

`train` writes it and `evaluate` reads it: `seed-1`, `seed-2`, ... and a manifest that counts them,
or that says why there are none.
"""

import shutil
from pathlib import Path

from pydantic import Field

from diffrec_core.common.artifacts import read_manifest, write_manifest
from diffrec_core.common.config import Config, StringTuple, lookup
from diffrec_core.common.errors import ConfigError
from diffrec_core.common.rng import derive_seed
from diffrec_core.data.schema import CANDIDATE_SCHEMA
from pipeline_steps.runtime.command import Step

LEFT_OUT = "left_out"


class ModelEntry(Config):
    """An entry under `models`."""

    uses: StringTuple = Field(min_length=3, max_length=3)
    """Code and data that make this model stale, for DVC."""

    seeds: int | None = Field(default=None, ge=1)
    """How often to train it, each time from another seed; null: the `seeds` at the top."""


def number_of_seeds(step: Step, name: str) -> int:
    """How often params.yaml has a model trained.

    Raises:
        ConfigError: `seeds` is not a positive whole number.
    """
    own = step.section(f"models.{name}", ModelEntry).seeds
    seeds = own or lookup(step.params, "seeds")
    if not isinstance(seeds, int) or isinstance(seeds, bool) or seeds < 1:
        raise ConfigError(f"params.yaml: seeds = {seeds!r}: must be a whole number, 1 or more")
    return seeds


def seed_of(step: Step, name: str, number: int) -> int:
    """The seed of the number-th training of a model; the first one's is that of `tune` too."""
    first = derive_seed(step.seed, f"train/{name}")
    return first if number == 1 else derive_seed(step.seed, f"train/{name}", number)


def seed_directory(candidate: Path, number: int) -> Path:
    """Where the number-th model of a candidate lies, from 1."""
    return candidate / f"seed-{number}"


def clear(candidate: Path) -> None:
    """Make room for a new candidate: one with fewer seeds must not keep old ones."""
    shutil.rmtree(candidate, ignore_errors=True)


def complete(candidate: Path, seeds: int) -> None:
    """Say, last of all, that the models of so many seeds are there."""
    write_manifest(candidate, schema=CANDIDATE_SCHEMA, seeds=seeds)


def leave_out(candidate: Path, reason: str) -> None:
    """Say that there will be no model, and why; one of an earlier seed goes."""
    clear(candidate)
    write_manifest(candidate, schema=CANDIDATE_SCHEMA, seeds=0, left_out=reason)


def seed_directories(candidate: Path) -> list[Path]:
    """The model directories of a candidate, the first seed's first; none if it was left out.

    Raises:
        ArtifactError: there is no candidate.
    """
    seeds = read_manifest(candidate, CANDIDATE_SCHEMA)["seeds"]
    return [seed_directory(candidate, number) for number in range(1, seeds + 1)]


def why_left_out(candidate: Path) -> str | None:
    """Why there is no model; None if there is one.

    Raises:
        ArtifactError: there is no candidate.
    """
    reason: str | None = read_manifest(candidate, CANDIDATE_SCHEMA).get(LEFT_OUT)
    return reason
