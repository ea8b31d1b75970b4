"""Trainings of the steps: seed, checkpoint, progress bar, model directory, curves."""

import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from diffrec_core.common.artifacts import (
    fingerprint,
    read_manifest,
    sha256_file,
    sha256_json,
)
from diffrec_core.common.config import Config
from diffrec_core.data.item_tables import read_item_clusters
from diffrec_core.data.schema import CLUSTERS_SCHEMA, MODEL_SCHEMA
from diffrec_core.data.splits import read_part, read_seen_besides
from diffrec_core.data.vocabulary import read_items
from diffrec_core.evaluation.ranking import RankingTask
from diffrec_core.models.base import Recommender, TrainingData
from diffrec_core.training.trainer import TrainingConfig, TrainingOptions, TrainingReport
from pipeline_steps.runtime.command import peak_memory_mib, repository_root
from pipeline_steps.runtime.config import RuntimeConfig
from pipeline_steps.runtime.inputs import FitInputs, PartsInputs
from pipeline_steps.runtime.outputs import output_directory, write_csv
from pipeline_steps.runtime.processes import join_processes, prepare_device
from pipeline_steps.runtime.progress import progress

CODE: Final = (
    "diffrec_core/common",
    "diffrec_core/data",
    "diffrec_core/diffusion",
    "diffrec_core/evaluation",
    "diffrec_core/models/base.py",
    "diffrec_core/models/kinds.py",
    "diffrec_core/nn",
    "diffrec_core/training",
)
"""Code that every training depends on, beside its model's own: as in dvc.yaml."""

LIGHTGCN: Final = Path("diffrec_core/models/lightgcn")
"""Code of the item embeddings."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Training:
    """One training of a step.

    Attributes:
        name: for its checkpoint and its bar.
        seed: parent of all its randomness.
        code: the model's own code, a file or folder; relative paths are the repository's.
        inputs: the data that it is a function of, by role.
        runtime: where and how it runs.
        fixed_epochs: train exactly so long; None: validation decides.
        keep_checkpoint: the caller removes it (`forget_checkpoint`).
    """

    name: str
    seed: int
    code: Path
    inputs: Mapping[str, Path]
    runtime: RuntimeConfig
    fixed_epochs: int | None = None
    keep_checkpoint: bool = False

    @contextmanager
    def options(self, config: Config) -> Iterator[TrainingOptions]:
        """Yield options with a progress bar, and a checkpoint that is removed after success.

        Args:
            config: of the model; with inputs, seed and code it makes the checkpoint's key.
        """
        device = prepare_device(self.runtime)
        options = TrainingOptions(
            device=device,
            seed=self.seed,
            compile=self.runtime.compile,
            checkpoint=_checkpoint(self.name),
            checkpoint_every_seconds=self.runtime.checkpoint_every_seconds,
            checkpoint_key=self.key(config),
            fixed_epochs=self.fixed_epochs,
            processes=join_processes(device),
            memory_limit_gib=self.runtime.memory_limit_gib,
        )
        if not options.processes.is_writer:
            yield options
            return
        with progress(self.name, self.fixed_epochs or epoch_limit(config)) as advance:
            yield replace(options, advance=advance)
        if not self.keep_checkpoint:
            forget_checkpoint(self.name)

    def key(self, config: Config) -> str:
        """Hash all that the training is a function of: what makes its stage stale in dvc.yaml."""
        root = repository_root()
        paths = [root / path for path in (*CODE, self.code)]
        sources = [file for path in paths for file in sorted(path.rglob("*.py")) or [path]]
        return sha256_json(
            {
                "seed": self.seed,
                "config": config.model_dump(mode="json"),
                "inputs": [fingerprint(path) for path in self.inputs.values()],
                "code": [sha256_file(path) for path in sources],
            }
        )

    def fit_and_save(self, model: Recommender, data: TrainingData, out: Path) -> TrainingReport:
        """Fit a model; the writer writes its directory.

        Args:
            model: unfitted.
            data: what it is fitted on.
            out: the model directory.
        """
        with self.options(model.config) as options:
            report = model.fit(data, options)
            if options.processes.is_writer:
                with output_directory(
                    out, schema=MODEL_SCHEMA, config=model.config, inputs=self.inputs
                ) as (directory, manifest):
                    model.save(directory)
                    manifest["vocabulary"] = data.items.fingerprint
        return report


def _checkpoint(name: str) -> Path:
    return Path(".checkpoints") / name


def forget_checkpoint(name: str) -> None:
    """Remove the checkpoint of a training of this name."""
    shutil.rmtree(_checkpoint(name), ignore_errors=True)


def validation_task(inputs: PartsInputs) -> RankingTask:
    """Read the training part and what is to be predicted from it."""
    return RankingTask.of_unseen(
        "validation",
        read_part(inputs.train),
        read_part(inputs.validation),
        read_seen_besides(inputs.train),
    )


def read_training_data(
    model: Recommender, inputs: FitInputs
) -> tuple[TrainingData, dict[str, Any]]:
    """Read what a model is trained on and judged by; also return facts for the report."""
    vocabulary = read_items(inputs.items / "items.parquet")
    task = validation_task(inputs)
    clusters, facts = None, {}
    if model.needs_item_clusters:
        manifest = read_manifest(inputs.items, CLUSTERS_SCHEMA)
        facts["embedding_epochs"] = manifest["embedding_epochs"]
        clusters = read_item_clusters(inputs.items, vocabulary)
    data = TrainingData(
        histories=task.histories, items=vocabulary, validation=task, item_clusters=clusters
    )
    return data, facts


def epoch_limit(config: Config) -> int:
    """Epochs that a model may train: 1 for models that are not trained in epochs."""
    return config.epochs if isinstance(config, TrainingConfig) else 1


def summary(report: TrainingReport) -> dict[str, Any]:
    """Length and result of a training, for the report of its stage."""
    return {
        "epochs": report.epochs,
        "best_epoch": report.best_epoch,
        "validation_recall@20": report.best_value,
        "fit_seconds": round(report.seconds, 3),
    }


def fit_report(model: Recommender, report: TrainingReport) -> dict[str, Any]:
    """Facts about a fit, for the leaderboard."""
    start, end = model.training_window
    return {
        **summary(report),
        "config": model.config.model_dump(mode="json"),
        "parameters": model.n_parameters,
        "peak_memory_mib": peak_memory_mib(),
        "training_window": {"first": start, "last": end},
    }


def write_curves(path: Path, report: TrainingReport) -> None:
    """Write a training's history as CSV, one line per epoch; empty cells where not measured."""
    columns = ["epoch", *sorted({name for record in report.history for name in record} - {"epoch"})]
    write_csv(path, columns, ({**r, "epoch": int(r["epoch"])} for r in report.history))
