"""Registered versions side by side: the same histories, each version in a process of its own."""

import logging
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import polars as pl

from diffrec_core.common.artifacts import read_json
from diffrec_core.common.errors import ArtifactError, DataError, StorageError
from diffrec_core.contest.cases import ITEMS, SEEN_BESIDES, TIMESTAMPS
from diffrec_core.contest.measures import Answers
from diffrec_core.data.schema import SOURCE, USER_ID
from diffrec_core.data.tables import read_table
from pipeline_steps.runtime.command import repository_root

log = logging.getLogger("pipeline")

ITEM_IDS, SCORES = "item_ids", "scores"
_SHOWN_LINES = 8


@dataclass(frozen=True, slots=True)
class Scored:
    """A version's answers, and the time of the last interaction that it was trained on."""

    answers: Answers
    training_last: datetime


def score_versions(
    cases: pl.DataFrame, uris: Sequence[str], k: int, folder: Path
) -> dict[str, Scored]:
    """Let each version answer the cases, one after the other, so that none slows another down.

    Args:
        cases: columns `user_id`, `items` (external ids, oldest first), `timestamps` (seconds
            since 1970, one per item) and `seen`, which other items not to recommend; further
            columns are left out.
        uris: such as `models:/diffrec/3`, of the store that MLFLOW_TRACKING_URI names.
        k: how many items per user.
        folder: for the files that go between the processes; they stay there.

    Returns:
        By URI.

    Raises:
        DataError: there is no case.
        ArtifactError: a version cannot be loaded or does not answer; its output is quoted.
        StorageError: MLflow cannot be reached.
    """
    with ExitStack() as stack:
        # all import their libraries now, for seconds; loading and answering is done by turns
        scorers = {
            uri: stack.enter_context(_scorer(cases, uri, k, folder / str(number)))
            for number, uri in enumerate(dict.fromkeys(uris))
        }
        return {uri: _scored(scorer, cases) for uri, scorer in scorers.items()}


def answer(
    cases: pl.DataFrame, uri: str, k: int, folder: Path, *, exclude_history: bool
) -> pl.DataFrame:
    """Let one version answer the cases.

    Args:
        cases: as of `score_versions`.
        uri: of the version.
        k: how many items per user.
        folder: for files between the processes.
        exclude_history: recommend no items of the history; else `seen` says all.

    Returns:
        One row per case, in their order: `user_id`, `item_ids`, `scores` and `source`.
    """
    with _scorer(cases, uri, k, folder, exclude_history=exclude_history) as scorer:
        return _answer(scorer, cases)


@dataclass(frozen=True, slots=True)
class _Scorer:
    """A process that waits for its turn."""

    uri: str
    folder: Path
    process: "subprocess.Popen[str]"


@contextmanager
def _scorer(
    cases: pl.DataFrame, uri: str, k: int, folder: Path, *, exclude_history: bool = True
) -> Iterator[_Scorer]:
    if cases.is_empty():
        raise DataError("no user to score versions for")
    folder.mkdir(parents=True, exist_ok=True)
    cases.select(USER_ID, ITEMS, TIMESTAMPS, SEEN_BESIDES).write_parquet(folder / "cases.parquet")
    path = os.pathsep.join(filter(None, [str(repository_root()), os.environ.get("PYTHONPATH")]))
    arguments = [uri, str(folder), str(k), *([] if exclude_history else ["--repeats"])]
    process = subprocess.Popen(
        [sys.executable, "-m", "pipeline_steps.registry.score_version", *arguments],
        env={**os.environ, "PYTHONPATH": path},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield _Scorer(uri, folder, process)
    finally:
        process.kill()  # it has ended, unless another one has failed
        process.communicate()


def _answer(scorer: _Scorer, cases: pl.DataFrame) -> pl.DataFrame:
    log.info("scoring %s for %d users", scorer.uri, len(cases))
    _, errors = scorer.process.communicate("go\n")
    if scorer.process.returncode:
        raise _error(scorer.uri, scorer.process.returncode, errors)
    path = scorer.folder / "answers.parquet"
    answers = read_table(path, USER_ID, ITEM_IDS, SCORES, SOURCE)
    if answers[USER_ID].to_list() != cases[USER_ID].to_list():
        raise ArtifactError(f"{path} does not answer the cases that were asked")
    return answers


def _scored(scorer: _Scorer, cases: pl.DataFrame) -> Scored:
    answers, facts = _answer(scorer, cases), read_json(scorer.folder / "facts.json")
    return Scored(
        Answers(
            item_ids=answers[ITEM_IDS].to_list(),
            sources=answers[SOURCE].to_list(),
            seconds_per_user=float(facts["seconds_per_user"]),
            size_bytes=int(facts["size_bytes"]),
        ),
        datetime.fromisoformat(facts["training_last"]),
    )


def _error(uri: str, code: int, output: str) -> ArtifactError | StorageError:
    lines = "\n  ".join(output.strip().splitlines()[-_SHOWN_LINES:])
    text = f"{uri} cannot be scored (exit code {code}); its output ends with:\n  {lines}\n"
    if code == StorageError.exit_code:
        return StorageError(f"{text}Is MLflow up? Then run the same command again")
    return ArtifactError(
        f"{text}Is the version still in the registry, with its artifacts? "
        f"`python -m pipeline_steps history` lists the versions"
    )
