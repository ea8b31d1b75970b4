"""Registered versions side by side: the same histories, each version in a process of its own."""

import logging
import os
import subprocess
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Self

import polars as pl

from diffrec_core.common.artifacts import read_json
from diffrec_core.common.errors import ArtifactError, DataError, StorageError
from diffrec_core.data.schema import USER_ID
from diffrec_core.data.tables import read_table
from pipeline_steps.runtime.command import repository_root

log = logging.getLogger("pipeline")

ITEMS, TIMESTAMPS, ITEM_IDS = "items", "timestamps", "item_ids"
SCORES, SOURCE = "scores", "source"
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
        training_last: time of the last interaction that the version was trained on.
    """

    item_ids: list[list[str]]
    sources: list[str]
    seconds_per_user: float
    size_bytes: int
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
        StorageError: MLflow cannot be reached.
    """
    with ExitStack() as stack:
        # all import their libraries now, for seconds; loading and answering is done by turns
        waiting = {
            uri: stack.enter_context(_Scorer(cases, uri, k, folder / str(number), tracking_uri))
            for number, uri in enumerate(dict.fromkeys(uris))
        }
        return {uri: _scored(*scorer.answer()) for uri, scorer in waiting.items()}


def answer(
    cases: pl.DataFrame, uri: str, k: int, folder: Path, *, tracking_uri: str | None = None
) -> tuple[pl.DataFrame, dict[str, Any]]:
    """Let one version answer the cases; see `score_versions`.

    Returns:
        One row per case, in their order: `user_id`, `item_ids`, `scores` and `source`; and facts:
        `seconds_per_user`, `size_bytes`, `training_last`.
    """
    with _Scorer(cases, uri, k, folder, tracking_uri) as scorer:
        return scorer.answer()


class _Scorer:
    """A process that is to answer the cases, and waits for its turn; see `score_versions`."""

    def __init__(
        self, cases: pl.DataFrame, uri: str, k: int, folder: Path, tracking_uri: str | None
    ) -> None:
        if cases.is_empty():
            raise DataError("no user to score versions for")
        folder.mkdir(parents=True, exist_ok=True)
        self._cases, self._uri, self._out = cases, uri, folder / "top.parquet"
        self._facts = folder / "facts.json"
        cases.select(_CASES).write_parquet(folder / "cases.parquet")
        arguments = ["--cases", folder / "cases.parquet", "--k", k]
        arguments += ["--out", self._out, "--facts", self._facts]
        self._process = _start(uri, [str(argument) for argument in arguments], tracking_uri)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()  # it has ended, unless another one has failed
        self._process.communicate()

    def answer(self) -> tuple[pl.DataFrame, dict[str, Any]]:
        """Let it have its turn; what it answered, and what that took."""
        log.info("scoring %s for %d users", self._uri, len(self._cases))
        _, said = self._process.communicate("go\n")
        if self._process.returncode:
            lines = "\n  ".join(said.strip().splitlines()[-_SAID_LINES:])
            raise self._error(self._process.returncode, lines)
        answers = read_table(self._out, USER_ID, ITEM_IDS, SCORES, SOURCE)
        if answers[USER_ID].to_list() != self._cases[USER_ID].to_list():
            raise ArtifactError(f"{self._out} does not answer the cases that were asked")
        return answers, read_json(self._facts)

    def _error(self, code: int, said: str) -> ArtifactError | StorageError:
        what = f"{self._uri} cannot be scored (exit code {code}); it said:\n  {said}\n"
        if code == StorageError.exit_code:
            return StorageError(f"{what}Is MLflow up? Then run the same command again")
        return ArtifactError(
            f"{what}Is the version still in the registry, with its artifacts? "
            f"`python -m pipeline_steps history` lists the versions"
        )


def _start(uri: str, arguments: Sequence[str], tracking_uri: str | None) -> "subprocess.Popen[str]":
    # not on the command line, which everybody on the machine can read: it may hold a password
    store = {"MLFLOW_TRACKING_URI": tracking_uri} if tracking_uri else {}
    path = os.pathsep.join(filter(None, [str(repository_root()), os.environ.get("PYTHONPATH")]))
    command = [
        sys.executable,
        "-m",
        "pipeline_steps.registry.score_version",
        "--model-uri",
        uri,
        "--wait",
    ]
    return subprocess.Popen(
        [*command, *arguments],
        env={**os.environ, **store, "PYTHONPATH": path},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def _scored(answers: pl.DataFrame, facts: dict[str, Any]) -> Scored:
    return Scored(
        item_ids=answers[ITEM_IDS].to_list(),
        sources=answers[SOURCE].to_list(),
        seconds_per_user=float(facts["seconds_per_user"]),
        size_bytes=int(facts["size_bytes"]),
        training_last=datetime.fromisoformat(facts["training_last"]),
    )
