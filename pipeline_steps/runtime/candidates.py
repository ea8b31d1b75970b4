"""The folder of a candidate model: a model directory per seed, or the reason it was left out.

`train` writes it and `evaluate` reads it: `seed-1`, `seed-2`, ... and a manifest with their number
or the reason.
"""

import shutil
from pathlib import Path

from diffrec_core.common.artifacts import read_manifest, write_manifest
from diffrec_core.common.rng import derive_seed
from diffrec_core.data.schema import CANDIDATE_SCHEMA

LEFT_OUT = "left_out"


def seed_of(seed: int, name: str, number: int) -> int:
    """The seed of the number-th training, from 1, of a model; `tune` uses the first one's too."""
    path = f"train/{name}"
    return derive_seed(seed, path) if number == 1 else derive_seed(seed, path, number)


def seed_directory(candidate: Path, number: int) -> Path:
    """The directory of the number-th model of a candidate, from 1."""
    return candidate / f"seed-{number}"


def clear(candidate: Path) -> None:
    """Remove an earlier candidate: one with fewer seeds must not keep old models."""
    shutil.rmtree(candidate, ignore_errors=True)


def complete(candidate: Path, seeds: int) -> None:
    """Write, after the models, how many there are."""
    write_manifest(candidate, schema=CANDIDATE_SCHEMA, seeds=seeds)


def leave_out(candidate: Path, reason: str) -> None:
    """Write the reason in place of models; one of an earlier seed is removed."""
    clear(candidate)
    write_manifest(candidate, schema=CANDIDATE_SCHEMA, seeds=0, left_out=reason)


def seed_directories(candidate: Path) -> list[Path]:
    """The model directories of a candidate in the order of seeds; none if it was left out.

    Raises:
        ArtifactError: there is no candidate.
    """
    seeds = read_manifest(candidate, CANDIDATE_SCHEMA)["seeds"]
    return [seed_directory(candidate, number) for number in range(1, seeds + 1)]


def why_left_out(candidate: Path) -> str | None:
    """The reason why there is no model; None if there is one.

    Raises:
        ArtifactError: there is no candidate.
    """
    reason: str | None = read_manifest(candidate, CANDIDATE_SCHEMA).get(LEFT_OUT)
    return reason
