"""The paper's MovieLens-1M split and the two protocols in which it is used.

The data may be used for research and not be passed on, so it is not part of the project:
DIFFREC_BENCH_DATA names a folder with `split.npz`, three arrays `train`, `valid` and `test` of
(user, item) pairs, grouped by user and oldest first, and `reference_item_embeddings.npy`, the
(I, 64) LightGCN embeddings that the DiffRec authors used.

The parts are called what the authors' files are called. In time, `test` (10 %) comes right after
`train` (70 %) and `valid` (20 %) is the last.
"""

import os
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from diffrec_core.common.artifacts import sha256_file
from diffrec_core.common.errors import DataError
from diffrec_core.data.histories import Histories, concatenate
from diffrec_core.data.schema import MICROSECONDS_PER_DAY
from diffrec_core.data.vocabulary import Vocabulary
from diffrec_core.evaluation.metrics import hits, mean_metrics, per_user_metrics
from diffrec_core.evaluation.ranking import RankingTask, Score, rank_task

VARIABLE = "DIFFREC_BENCH_DATA"
PROTOCOLS = {
    "A": "the authors' files as they are named: fitted on train, stopped by valid, measured on "
    "test from the history of train, with train and valid masked. Valid is later than test.",
    "C": "chronological: fitted on train, stopped by test (the next 10 %), measured on valid "
    "(the last 20 %), each from all that came before it, which is masked.",
}
CUTOFFS = (10, 20)
METRICS = tuple(f"{metric}@{k}" for metric in ("recall", "ndcg") for k in CUTOFFS)
_IN_TIME_ORDER = ("train", "test", "valid")


@dataclass(frozen=True, slots=True)
class Split:
    """The parts of the split, one row per user each.

    Attributes:
        train: the first 70 %.
        valid: the last 20 %.
        test: the 10 % between them.
        items: the vocabulary; an item's id is its number in the files.
        fingerprint: hash of the file.
    """

    train: Histories
    valid: Histories
    test: Histories
    items: Vocabulary
    fingerprint: str


@dataclass(frozen=True, slots=True)
class Protocol:
    """Who learns from what, and is asked what.

    Attributes:
        train: what models are fitted on.
        selection: what stops their training; its histories are masked.
        test: what is measured.
        seen: one row per user, what is masked in the test.
    """

    train: Histories
    selection: RankingTask
    test: RankingTask
    seen: Histories


def data_folder() -> Path | None:
    """The folder that DIFFREC_BENCH_DATA names, if there is a split in it."""
    folder = Path(os.environ.get(VARIABLE) or "does not exist")
    return folder if (folder / "split.npz").is_file() else None


def missing_data() -> str:
    """Say that there is no data and what to do."""
    value = os.environ.get(VARIABLE)
    found = f"{value} holds no split.npz" if value else "it is not set"
    return (
        f"No benchmark data: {VARIABLE} must name a folder with split.npz (MovieLens-1M as the "
        f"DiffRec authors split it), and {found}. Nothing was measured."
    )


def load_split(folder: Path) -> Split:
    """Read the split.

    Raises:
        DataError: an array is missing, or is not pairs grouped by user.
    """
    path = folder / "split.npz"
    with np.load(path, allow_pickle=False) as arrays:
        if set(arrays) != set(_IN_TIME_ORDER):
            raise DataError(f"{path} must hold {_IN_TIME_ORDER}, found {sorted(arrays)}")
        pairs = {name: arrays[name].astype(np.int64) for name in _IN_TIME_ORDER}
    n_users, n_items = np.max([part.max(axis=0) for part in pairs.values()], axis=0) + 1
    parts, earlier = {}, np.zeros(n_users, dtype=np.int64)
    for name, part in pairs.items():
        parts[name] = _histories(part, earlier, f"{path}: {name}")
        earlier = earlier + parts[name].lengths
    items = Vocabulary(tuple(str(item) for item in range(n_items)))
    return Split(**parts, items=items, fingerprint=sha256_file(path))


def _histories(pairs: NDArray[np.int64], earlier: NDArray[np.int64], name: str) -> Histories:
    """Histories of one part, `earlier` (U,) being how many interactions came before it."""
    users, items = pairs.T
    if np.any(np.diff(users) < 0):
        raise DataError(f"{name} must be grouped by user, in the order of their numbers")
    counts = np.bincount(users, minlength=len(earlier))
    offsets = np.concatenate([[0], np.cumsum(counts)])
    place = earlier[users] + np.arange(len(users)) - offsets[users]
    weights = np.ones(len(users), dtype=np.float32)
    return Histories(offsets, items.astype(np.int32), place * MICROSECONDS_PER_DAY, weights)


def read_reference_embeddings(folder: Path) -> NDArray[np.float32] | None:
    """(I, D) item embeddings that the authors used, if they are in the folder."""
    path = folder / "reference_item_embeddings.npy"
    if not path.is_file():
        return None
    embeddings: NDArray[np.float32] = np.load(path, allow_pickle=False).astype(np.float32)
    return embeddings


def protocol(split: Split, name: str) -> Protocol:
    """Put the parts into the roles that they have in a protocol, `A` or `C`."""
    train = split.train
    if name == "A":
        return Protocol(
            train,
            selection=RankingTask("valid", train, split.valid),
            test=RankingTask("test", train, split.test),
            seen=concatenate(train, split.valid),
        )
    history = concatenate(train, split.test)
    return Protocol(
        train,
        selection=RankingTask("test", train, split.test),
        test=RankingTask("valid", history, split.valid),
        seen=history,
    )


def measure(score: Score, chosen: Protocol, *, batch_size: int = 1024) -> dict[str, float]:
    """Measure a fitted model on a protocol's test.

    The protocol says which items are masked; in A, more than those of the history.

    Returns:
        The mean over users of each of METRICS.
    """
    task = replace(chosen.test, excluded=chosen.seen)
    targets = task.targets.take(task.users)
    hit = hits(rank_task(score, task, max(CUTOFFS), batch_size=batch_size), targets)
    means = mean_metrics(per_user_metrics(hit, targets.lengths, CUTOFFS))
    return {name: means[name] for name in METRICS}
