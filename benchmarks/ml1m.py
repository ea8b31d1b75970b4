"""The paper's MovieLens-1M split and the two protocols in which it is used.

The data may be used for research and not be passed on, so a folder is given: `split.npz` holds
arrays `train`, `valid` and `test` of (user, item) pairs, of each user oldest first, and
`reference_item_embeddings.npy` the (I, 64) LightGCN embeddings that the DiffRec authors used.

The parts are called what the authors' files are called. In time, `test` (10 %) comes right after
`train` (70 %) and `valid` (20 %) is the last.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from diffrec_core.common.artifacts import sha256_file
from diffrec_core.common.errors import ConfigError, DataError
from diffrec_core.data.histories import Histories, concatenate
from diffrec_core.data.vocabulary import Vocabulary
from diffrec_core.evaluation.evaluator import EvaluationConfig, evaluate_task
from diffrec_core.evaluation.ranking import RankingTask, Score
from diffrec_core.models.base import TrainingData
from diffrec_core.models.diffrec.item_clusters import ClusteringConfig, cluster_items

PROTOCOLS = {
    "A": "the authors' files as they are named: fitted on train, stopped by valid, measured on "
    "test from the history of train, with train and valid masked. Valid is later than test.",
    "C": "chronological: fitted on train, stopped by test (the next 10 %), measured on valid "
    "(the last 20 %), each from all that came before it, which is masked.",
}
CUTOFFS = (10, 20)
METRICS = tuple(f"{metric}@{k}" for metric in ("recall", "ndcg") for k in CUTOFFS)
_IN_TIME_ORDER = ("train", "test", "valid")
_SPLIT, _EMBEDDINGS = "split.npz", "reference_item_embeddings.npy"


@dataclass(frozen=True, slots=True)
class Split:
    """The parts, one row per user each; a user's interactions are taken as a day apart.

    `fingerprint` is the hash of the file, `embeddings` the file of the authors' item embeddings.
    """

    train: Histories
    test: Histories
    valid: Histories
    items: Vocabulary
    fingerprint: str
    embeddings: Path | None


class Protocol(NamedTuple):
    """The data that models are fitted on and stopped by, and the test."""

    data: TrainingData
    test: RankingTask


def find_data(folder: str) -> Path:
    """The absolute path of the folder.

    Raises:
        ConfigError: no folder is named, or it does not hold the split.
    """
    if not (Path(folder) / _SPLIT).is_file():
        found = f"{folder} holds none" if folder else "it is not set"
        raise ConfigError(f"DIFFREC_BENCH_DATA must name a folder with {_SPLIT}, but {found}")
    return Path(folder).resolve()


def load_split(folder: Path) -> Split:
    """Read the split.

    Raises:
        DataError: it holds other arrays.
    """
    path = folder / _SPLIT
    with np.load(path, allow_pickle=False) as arrays:
        if set(arrays) != set(_IN_TIME_ORDER):
            raise DataError(f"{path} must hold {_IN_TIME_ORDER}, found {sorted(arrays)}")
        pairs = [arrays[name].astype(np.int64) for name in _IN_TIME_ORDER]
    users, items = np.concatenate(pairs).T
    n_users, n_items = int(users.max()) + 1, int(items.max()) + 1
    order = np.argsort(users, kind="stable")
    ends = np.cumsum(np.bincount(users, minlength=n_users))
    whole = Histories.from_lists([row.tolist() for row in np.split(items[order], ends[:-1])])
    starts, parts = whole.offsets[:-1], {}
    for name, part in zip(_IN_TIME_ORDER, pairs, strict=True):
        lengths = np.bincount(part[:, 0], minlength=n_users)
        parts[name] = whole.runs(starts, lengths)
        starts = starts + lengths
    embeddings = folder / _EMBEDDINGS
    return Split(
        **parts,
        items=Vocabulary(tuple(map(str, range(n_items)))),
        fingerprint=sha256_file(path),
        embeddings=embeddings if embeddings.is_file() else None,
    )


def protocol(split: Split, name: str) -> Protocol:
    """Put the parts into the roles that they have in a protocol, `A` or `C`."""
    train, selection = split.train, split.valid
    test = RankingTask("test", train, split.test, split.valid)  # valid is masked, and no history
    if name == "C":
        selection = split.test
        test = RankingTask("test", concatenate(train, split.test), split.valid)
    validation = RankingTask("selection", train, selection)
    return Protocol(TrainingData(histories=train, items=split.items, validation=validation), test)


def with_clusters(
    data: TrainingData, embeddings: Path, config: ClusteringConfig, *, seed: int
) -> TrainingData:
    """The data with clusters of items, made of a file of embeddings."""
    vectors = np.load(embeddings, allow_pickle=False).astype(np.float32)
    return replace(data, item_clusters=cluster_items(vectors, config, seed=seed))


def measure(score: Score, chosen: Protocol) -> dict[str, float]:
    """The mean over users of each of METRICS, on a protocol's test."""
    metrics = evaluate_task(score, chosen.test, EvaluationConfig(cutoffs=CUTOFFS)).metrics
    return {name: metrics[name] for name in METRICS}
