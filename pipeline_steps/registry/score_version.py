"""Let one registered version answer given histories, in a process of its own.

  python -m pipeline_steps.registry.score_version models:/diffrec/3 FOLDER K [--repeats]

A version brings the code that it was trained with. Python holds one `diffrec_core` at a time, so
versions that are compared are scored one process each, and MLflow puts the version's own code in
place before anything imports ours: this module imports neither `diffrec_core` nor what does.

FOLDER/cases.parquet has the columns `user_id`, `items` (external ids, oldest first), `timestamps`
(seconds since 1970, one per item) and `seen`, further items that are not to be recommended. Written
are FOLDER/answers.parquet, in the order of the cases: `user_id`, `item_ids` (the best K, none of
`seen` and, without --repeats, none of the history), `scores` and `source`; and
FOLDER/facts.json: `seconds_per_user`, `size_bytes` of the model directory, `training_last`, and
which `code` answered.

It imports its libraries and then waits for a line from standard input: processes that answer one
after the other need not start one after the other.
"""

import importlib
import json
import logging
import os
import statistics
import sys
import time
from collections.abc import Iterator
from itertools import cycle, islice, pairwise
from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
from mlflow.exceptions import MlflowException
from mlflow.models import Model
from sqlalchemy.exc import SQLAlchemyError

from pipeline_steps.registry.transient_errors import is_transient
from pipeline_steps.shared import DEFAULT_TRACKING_URI

log = logging.getLogger("pipeline")

EXIT_FAILED = 4
"""As for a bad artifact: the version cannot be loaded or does not answer."""

EXIT_TRANSIENT = 5
"""As for storage: MLflow cannot be reached, or is busy; a retry may succeed."""

_BATCH_SIZE = 256
_LEAST_TIMINGS = 5


def main(uri: str, folder: Path, k: int, *, repeats: bool) -> int:
    """Wait for the line, score the cases and write the answers; return the exit code."""
    importlib.import_module("torch")  # the slowest import of every version's code
    if not sys.stdin.readline():
        return EXIT_FAILED
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    mlflow.set_tracking_uri(os.environ.get("MLFLOW_TRACKING_URI", DEFAULT_TRACKING_URI))
    try:
        version = Path(mlflow.artifacts.download_artifacts(artifact_uri=uri))
        model = mlflow.pyfunc.load_model(str(version))
        cases = _read_cases(folder / "cases.parquet")
        answers, seconds = answer(model, cases, k, exclude_history=not repeats)
        facts = {"seconds_per_user": seconds, **_facts(version)}
    except (MlflowException, SQLAlchemyError, OSError, KeyError, ValueError) as error:
        log.error("%s cannot be scored: %s", uri, error)
        return EXIT_TRANSIENT if is_transient(error) else EXIT_FAILED
    answers.insert(0, "user_id", cases["user_id"])
    answers.to_parquet(folder / "answers.parquet", index=False)
    text = json.dumps(facts, indent=2, sort_keys=True) + "\n"
    (folder / "facts.json").write_text(text, encoding="utf-8")
    return 0


def answer(
    model: Any, cases: pd.DataFrame, k: int, *, exclude_history: bool
) -> tuple[pd.DataFrame, float]:
    """Ask for the best k of each case, and take the time.

    Args:
        model: what `mlflow.pyfunc.load_model` returned.
        cases: columns `items`, `timestamps` and `seen`.
        k: how many items.
        exclude_history: ask for no items of the history.

    Returns:
        One row per case, `item_ids`, `scores` and `source`; and the median over the requests of
        seconds per user. The first request is made twice and timed the second time: the first pays
        for what is set up once. Where there are few requests, they are repeated.
    """
    requests = list(_requests(cases))

    def ask(request: pd.DataFrame) -> pd.DataFrame:
        # versions of all ages are asked, and older ones know no `seen`: they give more than k
        most = k + int(request["seen"].map(len).max())
        params = {"k": most, "exclude_seen": exclude_history}
        answers: pd.DataFrame = model.predict(request[["items", "timestamps"]], params=params)
        return answers

    ask(requests[0])
    parts: list[pd.DataFrame] = []
    timings: list[float] = []
    for request in islice(cycle(requests), max(len(requests), _LEAST_TIMINGS)):
        started = time.perf_counter()
        answered = ask(request)
        timings.append((time.perf_counter() - started) / len(request))
        if len(parts) < len(requests):
            parts.append(_best_unseen(answered, request["seen"], k))
    return pd.concat(parts, ignore_index=True), statistics.median(timings)


def _best_unseen(answers: pd.DataFrame, seen: "pd.Series[Any]", k: int) -> pd.DataFrame:
    lists: dict[str, list[Any]] = {"item_ids": [], "scores": []}
    for items, scores, known in zip(answers["item_ids"], answers["scores"], seen, strict=True):
        hidden = set(known)
        kept = [place for place, item in enumerate(items) if item not in hidden][:k]
        lists["item_ids"].append([items[place] for place in kept])
        lists["scores"].append([scores[place] for place in kept])
    return pd.DataFrame({**lists, "source": list(answers["source"])})


def _requests(cases: pd.DataFrame) -> Iterator[pd.DataFrame]:
    """Batches of nearly equal size."""
    count = -(-len(cases) // _BATCH_SIZE)
    ends = [len(cases) * number // count for number in range(count + 1)]
    for start, end in pairwise(ends):
        yield cases.iloc[start:end]


def _read_cases(path: Path) -> pd.DataFrame:
    cases = pd.read_parquet(path, columns=["user_id", "items", "timestamps", "seen"])
    # plain lists: MLflow looks into them to check the signature
    cases["items"] = [[str(item) for item in items] for items in cases["items"]]
    cases["timestamps"] = [[float(moment) for moment in times] for times in cases["timestamps"]]
    return cases


def _facts(version: Path) -> dict[str, Any]:
    artifacts = Model.load(str(version)).flavors["python_function"]["artifacts"]
    model = version / str(artifacts["model"]["path"])
    window = json.loads((model / "model.json").read_text(encoding="utf-8"))["training_window"]
    return {
        "size_bytes": sum(file.stat().st_size for file in model.rglob("*") if file.is_file()),
        "training_last": window["last"],
        # that of the version, not that of this folder
        "code": getattr(sys.modules.get("diffrec_core"), "__file__", None),
    }


if __name__ == "__main__":
    uri, folder, k = sys.argv[1:4]
    sys.exit(main(uri, Path(folder), int(k), repeats="--repeats" in sys.argv[4:]))
