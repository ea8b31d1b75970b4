"""Registered versions side by side: the same histories, each version in a process of its own."""

import logging
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import polars as pl

from diffrec_core.artifacts import read_json
from diffrec_core.data.schema import USER_ID
from diffrec_core.data.tables import read_table
from diffrec_core.errors import ArtifactError, DataError
from pipeline_steps._runtime import repository_root

log = logging.getLogger("pipeline")

ITEMS, TIMESTAMPS, ITEM_IDS, SOURCE = "items", "timestamps", "item_ids", "source"
_CASES = (USER_ID, ITEMS, TIMESTAMPS)
_SAID_LINES = 8


@dataclass(frozen=True, slots=True)
class Scored:
    """What a version answered, in the order of the cases.

    Attributes:
        item_ids: U lists of external ids, best first, at most k; nothing of the history.
        sources: U, `history`, or `popularity` where the version knows no item of the history.
        seconds_per_user: median over requests.
        size_bytes: of the model directory.
        training_first: first interaction that the version was trained on.
        training_last: the last one, inclusive.
    """

    item_ids: list[list[str]]
    sources: list[str]
    seconds_per_user: float
    size_bytes: int
    training_first: datetime
    training_last: datetime


def score_versions(
    cases: pl.DataFrame,
    uris: Sequence[str],
    k: int,
    folder: Path,
    *,
    tracking_uri: str | None = None,
) -> dict[str, Scored]:
    """Let each version answer the cases, one after the other, so that none slows another down.

    Args:
        cases: columns `user_id`, `items` (external ids, oldest first) and `timestamps` (seconds
            since 1970, one per item); others are left out.
        uris: such as `models:/diffrec/3`.
        k: how many items per user.
        folder: for the files that go between the processes; they stay there.
        tracking_uri: MLflow's store; None: MLFLOW_TRACKING_URI, or the project's own.

    Returns:
        By URI.

    Raises:
        DataError: there is no case.
        ArtifactError: a version cannot be loaded or does not answer; its own words are quoted.
    """
    if cases.is_empty():
        raise DataError("no user to score versions for")
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "cases.parquet"
    cases.select(_CASES).write_parquet(path)
    found = {}
    for number, uri in enumerate(dict.fromkeys(uris)):
        log.info("scoring %s for %d users", uri, len(cases))
        out, facts = folder / f"top-{number}.parquet", folder / f"facts-{number}.json"
        places = ["--cases", path, "--k", k, "--out", out, "--facts", facts]
        places += ["--tracking-uri", tracking_uri] if tracking_uri else []
        _run(uri, [str(argument) for argument in places])
        found[uri] = _read(out, read_json(facts), cases)
    return found


def _run(uri: str, arguments: Sequence[str]) -> None:
    path = os.pathsep.join(filter(None, [str(repository_root()), os.environ.get("PYTHONPATH")]))
    process = subprocess.run(
        [sys.executable, "-m", "pipeline_steps.score_version", "--model-uri", uri, *arguments],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    if process.returncode:
        said = "\n  ".join(process.stderr.strip().splitlines()[-_SAID_LINES:])
        raise ArtifactError(
            f"{uri} cannot be scored (exit code {process.returncode}); it said:\n  {said}\n"
            f"Is the version still in the registry, with its artifacts? "
            f"`python -m pipeline_steps.history` lists the versions"
        )


def _read(out: Path, facts: dict[str, Any], cases: pl.DataFrame) -> Scored:
    answers = read_table(out, USER_ID, ITEM_IDS, SOURCE)
    if answers[USER_ID].to_list() != cases[USER_ID].to_list():
        raise ArtifactError(f"{out} does not answer the cases that were asked")
    return Scored(
        item_ids=answers[ITEM_IDS].to_list(),
        sources=answers[SOURCE].to_list(),
        seconds_per_user=float(facts["seconds_per_user"]),
        size_bytes=int(facts["size_bytes"]),
        training_first=datetime.fromisoformat(facts["training_first"]),
        training_last=datetime.fromisoformat(facts["training_last"]),
    )
