"""One fit in a process of its own, so that its memory is its own: started by `paper`.

Reads what to do as JSON from standard input (see `Task`), writes the row to a file.
"""

import argparse
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks._fits import Fit
from benchmarks._ml1m import (
    Protocol,
    Split,
    load_split,
    measure,
    protocol,
    read_reference_embeddings,
)
from diffrec_core.common.artifacts import atomic_directory, read_json, write_json
from diffrec_core.common.config import parse
from diffrec_core.common.errors import ArtifactError
from diffrec_core.common.rng import derive_seed
from diffrec_core.models.base import TrainingData
from diffrec_core.models.diffrec.item_clusters import ClusteringConfig, cluster_items
from diffrec_core.models.kinds import create
from diffrec_core.models.lightgcn.network import LightGCNConfig, fit_lightgcn
from diffrec_core.training.trainer import TrainingOptions
from pipeline_steps.runtime.command import command_line, peak_memory_mib, progress
from pipeline_steps.runtime.fitting import epoch_limit


class Task(NamedTuple):
    """What the process is to do.

    Attributes:
        fit: the fields of a `benchmarks._fits.Fit`.
        folder: of the split.
        embeddings: folder of our LightGCN embeddings: written if `pretrain`, else read.
        pretrain: train LightGCN instead of the model.
        out: the file to write.
    """

    fit: dict[str, Any]
    folder: str
    embeddings: str = ""
    pretrain: bool = False
    out: str = ""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The task comes from standard input."""


def main(args: argparse.Namespace) -> None:
    """Do the task and write its row."""
    task = Task(**json.load(sys.stdin))
    write_json(Path(task.out), pretrain(task) if task.pretrain else fit(task))


def pretrain(task: Task) -> dict[str, Any]:
    """Train LightGCN and keep its item embeddings."""
    split = load_split(Path(task.folder))
    chosen = protocol(split, task.fit["protocol"])
    name = "pretrain_item_embeddings"
    config = parse(task.fit["sections"][name], name, LightGCNConfig)
    seed = derive_seed(task.fit["seed"], "item_embeddings")
    with progress("item embeddings", config.epochs, quiet=False) as advance:
        options = _options(seed, advance)
        embeddings, report = fit_lightgcn(
            chosen.train, len(split.items), config, options, chosen.selection
        )
    with atomic_directory(Path(task.embeddings)) as directory:
        np.save(directory / "item_embeddings.npy", embeddings.read_out.cpu().numpy())
        write_json(directory / "report.json", {"seconds": report.seconds})
    return {"seconds": report.seconds}


def fit(task: Task) -> dict[str, Any]:
    """Fit the model, measure it on the protocol's test, and tell what it took."""
    key = Fit(**task.fit).key  # now, since the code may be edited while this process runs
    split = load_split(Path(task.folder))
    chosen = protocol(split, task.fit["protocol"])
    name, section = task.fit["model"], task.fit["sections"]["model"]
    model = create(section, f"train.{name}", _device())
    data, row = training_data(task, split, chosen)
    with progress(name, epoch_limit(model.config), quiet=False) as advance:
        seed = derive_seed(task.fit["seed"], f"train/{name}")
        report = model.fit(data, _options(seed, advance))
    return {
        "key": key,
        **row,
        **{name: round(value, 6) for name, value in measure(model.score, chosen).items()},
        "fit_seconds": round(report.seconds, 3),
        "peak_mib": peak_memory_mib(),
        "epochs": report.epochs,
        "best_epoch": report.best_epoch,
        "selection_recall@20": report.best_value,
        "parameters": model.n_parameters,
        "device": _device().type,
        "threads": torch.get_num_threads(),
    }


def training_data(
    task: Task, split: Split, chosen: Protocol
) -> tuple[TrainingData, dict[str, Any]]:
    """What the model of a task is fitted on, and what its row says of it."""
    clusters, row = None, {}
    if task.fit["embeddings"]:
        embeddings, row["pretrain_seconds"] = _item_embeddings(task)
        config = parse(task.fit["sections"]["cluster_items"], "cluster_items", ClusteringConfig)
        seed = derive_seed(task.fit["seed"], "cluster_items")
        clusters = cluster_items(embeddings, config, seed=seed)
        row["cluster_sizes"] = np.bincount(clusters).tolist()
    data = TrainingData(
        histories=chosen.train,
        items=split.items,
        validation=chosen.selection,
        item_clusters=clusters,
    )
    return data, row


def _item_embeddings(task: Task) -> tuple[NDArray[np.float32], float]:
    """The (I, D) embeddings that the fit asks for, and the seconds that they took to train."""
    if task.fit["embeddings"] == "ours":
        folder = Path(task.embeddings)
        seconds = round(read_json(folder / "report.json")["seconds"], 3)
        return np.load(folder / "item_embeddings.npy", allow_pickle=False), seconds
    published = read_reference_embeddings(Path(task.folder))
    if published is None:
        raise ArtifactError(f"{task.folder}/reference_item_embeddings.npy is missing")
    return published, 0.0


def _options(seed: int, advance: Callable[[int, str], None]) -> TrainingOptions:
    parent = os.getppid()

    def advance_if_wanted(done: int, note: str) -> None:
        if os.getppid() != parent:  # `paper` was killed: nobody waits for this fit
            raise SystemExit(1)
        advance(done, note)

    return TrainingOptions(device=_device(), seed=seed, advance=advance_if_wanted)


def _device() -> torch.device:
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if device.type == "cuda":
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(True)
    return device


if __name__ == "__main__":
    command_line(main, add_arguments, __doc__)
