"""Training steps run on small planted data, without DVC: a folder, its data, its command lines."""

import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from tests.raw_logs import (
    REPOSITORY,
    ingest_section,
    planted_events,
    run_step,
    write_log,
    write_params,
)

_EPOCHS = {"epochs": 30, "validate_every_epochs": 4, "patience_epochs": 30}
_DIFFREC = {**_EPOCHS, "kind": "diffrec", "hidden_dims": [8], "steps": 3, "batch_size": 16}
_LIGHTGCN = {**_EPOCHS, "embedding_dim": 8, "batch_size": 128}
SECTIONS: Mapping[str, Any] = {
    "list_raw": {"logs": ["log.csv"], "titles": None},
    "ingest": ingest_section(),
    "build_interactions": {"min_value": 4.0, "min_user_interactions": 5},
    "split": {"method": "per_user_time"},
    "pretrain_item_embeddings": {**_LIGHTGCN, "epochs": 2},
    "cluster_items": {"n_clusters": 2},
    "train": {
        "diffrec": _DIFFREC,
        "l_diffrec": {**_DIFFREC, "latent": True, "encoder_dims": [8]},
        "lightgcn": {**_LIGHTGCN, "kind": "lightgcn"},
    },
    "evaluate": {"cutoffs": [20]},
    "seeds": 1,
    "models": {
        name: {"code": f"diffrec_core/models/{family}"}
        for name, family in (("diffrec", "diffrec"), ("l_diffrec", "diffrec"), ("lightgcn",) * 2)
    },
    "runtime": {"device": "cpu", "threads": 1, "checkpoint_every_seconds": 0},
}


def prepare_parts(folder: Path, **sections: Any) -> Path:
    """Make interactions and their parts, by the steps that do; return their folder."""
    write_log(folder / "log.csv", planted_events(users_per_block=50, items_per_block=24))
    write_params(folder, **{**SECTIONS, **sections})
    for line in (
        "list_raw --out raw.json",
        "ingest --raw-manifest raw.json --events events --quarantine quarantine --titles titles",
        "build_interactions --events events --titles titles --out interactions",
        "split --interactions interactions --train train --validation validation --test test",
    ):
        _run(line, folder)
    return folder


def prepare(folder: Path) -> Path:
    """Make all that trainings read, item clusters too; return the folder."""
    prepare_parts(folder)
    for line in (
        "pretrain_item_embeddings --interactions interactions --train train "
        "--validation validation --out embeddings --curves embeddings.csv",
        "cluster_items --interactions interactions --embeddings embeddings --out clusters",
    ):
        _run(line, folder)
    return folder


def _run(line: str, folder: Path) -> None:
    result = run_step(*line.split(), cwd=folder)
    assert result.returncode == 0, result.stderr


@dataclass(frozen=True, slots=True)
class Workplace:
    """A folder in which models are trained.

    Attributes:
        root: where the step runs, its checkpoints and what it writes.
        data: what `prepare` gave.
    """

    root: Path
    data: Path

    @classmethod
    def make(cls, root: Path, data: Path, **sections: Any) -> Self:
        """Begin in an empty folder, with `sections` of params.yaml in place of the small ones."""
        write_params(root, **{**SECTIONS, **sections})
        return cls(root, data)

    def arguments(self, model: str) -> list[str]:
        """What follows `python` to train a model."""
        named = {"--items": "clusters" if model == "l_diffrec" else "interactions"}
        named |= {"--train": "train", "--validation": "validation"}
        data = [text for name, path in named.items() for text in (name, str(self.data / path))]
        out = ["--out", f"models/{model}", "--curves", f"{model}.csv", "--report", f"{model}.json"]
        return ["-m", "pipeline_steps.train", "--model", model, *data, *out]

    @property
    def environment(self) -> dict[str, str]:
        """The variables that the step is run with."""
        return {**os.environ, "PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"}

    def train(self, model: str) -> "subprocess.CompletedProcess[str]":
        """Train to the end."""
        return self.run(sys.executable, *self.arguments(model))

    def run(self, *command: str) -> "subprocess.CompletedProcess[str]":
        """Run a command here."""
        return subprocess.run(
            command,
            cwd=self.root,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
        )

    def weights(self, model: str) -> Path:
        """The file of the trained weights."""
        return self.root / "models" / model / "seed-1" / "weights.safetensors"

    def curves(self, model: str) -> Path:
        """The file of losses and validations."""
        return self.root / f"{model}.csv"

    def checkpoint(self, model: str) -> Path:
        """The file that a training resumes from."""
        return self.root / ".checkpoints" / "train" / model / "checkpoint.safetensors"
