"""Let one registered version answer given histories, in a process of its own.

A version brings the code that it was trained with. Python holds one `diffrec_core` at a time, so
versions that are compared are scored one process each, and MLflow puts the version's own code in
place before anything imports ours: this module imports neither `diffrec_core` nor what does.

Cases are a Parquet file with the columns `user_id`, `items` (external ids, oldest first) and
`timestamps` (seconds since 1970, one per item). Written are, in the order of the cases, `user_id`,
`item_ids` (best first, never one of the history), `scores` and `source`; and, as JSON, what it
took: `seconds_per_user`, `size_bytes` of the model directory and `training_last`.

With `--wait` it imports its libraries and then waits for a line from standard input: processes that
are to answer one after the other need not start one after the other.
"""

import argparse
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

log = logging.getLogger("pipeline")

DEFAULT_URI = "sqlite:///mlflow.db"
"""The same as that of `tracking`, which cannot be imported here."""

EXIT_FAILED = 4
"""As for a bad artifact: the version cannot be loaded or does not answer."""

EXIT_TRANSIENT = 5
"""As for storage: MLflow cannot be reached, or is busy; a retry may succeed."""

_LEAST_TIMINGS = 5


def main() -> int:
    """Score the cases and write the answers; return the exit code."""
    args = _parser().parse_args()
    if args.wait and not _wait():
        return EXIT_FAILED
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    mlflow.set_tracking_uri(args.tracking_uri)
    try:
        folder = Path(mlflow.artifacts.download_artifacts(artifact_uri=args.model_uri))
        model = mlflow.pyfunc.load_model(str(folder))
        directory = _model_directory(folder)
        cases = _read_cases(args.cases)
        answers, seconds = answer(model, cases, args.k, args.batch_size)
    except (MlflowException, SQLAlchemyError, OSError, KeyError, ValueError) as error:
        log.error("%s cannot be scored: %s", args.model_uri, error)
        return EXIT_TRANSIENT if is_transient(error) else EXIT_FAILED
    answers.insert(0, "user_id", cases["user_id"])
    args.out.parent.mkdir(parents=True, exist_ok=True)
    answers.to_parquet(args.out, index=False)
    facts = {"seconds_per_user": seconds, **_facts(directory)}
    path = args.facts or args.out.with_suffix(".json")
    path.write_text(json.dumps(facts, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    return 0


def _wait() -> bool:
    """Be ready, and wait for the line that says when; whether it came."""
    importlib.import_module("torch")  # the slowest import of every version's code
    return bool(sys.stdin.readline())


def answer(model: Any, cases: pd.DataFrame, k: int, batch_size: int) -> tuple[pd.DataFrame, float]:
    """Ask for the best k of each case, and take the time.

    Args:
        model: what `mlflow.pyfunc.load_model` returned.
        cases: columns `items` and `timestamps`.
        k: how many items.
        batch_size: rows of a request at most; requests are of nearly equal size.

    Returns:
        One row per case, `item_ids`, `scores` and `source`; and the median over the requests of
        seconds per user. The first request is made twice and timed the second time: the first pays
        for what is set up once. Where there are few requests, they are repeated.
    """
    requests = list(_requests(cases[["items", "timestamps"]], batch_size))
    params = {"k": k, "exclude_seen": True}
    model.predict(requests[0], params=params)
    parts: list[pd.DataFrame] = []
    timings: list[float] = []
    for request in islice(cycle(requests), max(len(requests), _LEAST_TIMINGS)):
        started = time.perf_counter()
        answered = model.predict(request, params=params)
        timings.append((time.perf_counter() - started) / len(request))
        if len(parts) < len(requests):
            parts.append(answered[["item_ids", "scores", "source"]])
    return pd.concat(parts, ignore_index=True), statistics.median(timings)


def _requests(cases: pd.DataFrame, batch_size: int) -> Iterator[pd.DataFrame]:
    count = -(-len(cases) // batch_size)
    ends = [len(cases) * number // count for number in range(count + 1)]
    for start, end in pairwise(ends):
        yield cases.iloc[start:end]


def _read_cases(path: Path) -> pd.DataFrame:
    cases = pd.read_parquet(path, columns=["user_id", "items", "timestamps"])
    if cases.empty:
        raise ValueError(f"{path} holds no case")
    # plain lists: MLflow looks into them to check the signature
    cases["items"] = [[str(item) for item in items] for items in cases["items"]]
    cases["timestamps"] = [[float(moment) for moment in times] for times in cases["timestamps"]]
    return cases


def _model_directory(folder: Path) -> Path:
    """The directory with the weights, among what was logged with the version."""
    artifacts = Model.load(str(folder)).flavors["python_function"]["artifacts"]
    return folder / str(artifacts["model"]["path"])


def _facts(directory: Path) -> dict[str, Any]:
    window = json.loads((directory / "model.json").read_text(encoding="utf-8"))["training_window"]
    size = sum(file.stat().st_size for file in directory.rglob("*") if file.is_file())
    # which code answered: that of the version, not that of this folder
    code = getattr(sys.modules.get("diffrec_core"), "__file__", None)
    return {
        "size_bytes": size,
        "training_last": window["last"],
        "code": code,
    }


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model-uri", required=True, help="such as models:/diffrec/3")
    parser.add_argument("--cases", type=Path, required=True, help="Parquet file of histories")
    parser.add_argument("--k", type=int, default=20, help="items per user (20)")
    parser.add_argument("--batch-size", type=int, default=256, help="users per request (256)")
    parser.add_argument("--out", type=Path, required=True, help="Parquet file to write: answers")
    parser.add_argument("--facts", type=Path, help="JSON to write (beside OUT): what it took")
    parser.add_argument("--wait", action="store_true", help="start once a line can be read")
    parser.add_argument(
        "--tracking-uri",
        default=os.environ.get("MLFLOW_TRACKING_URI", DEFAULT_URI),
        help=f"MLflow's store (MLFLOW_TRACKING_URI, or {DEFAULT_URI})",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
