"""What the training steps share: where to run, checkpoints, progress, curves, inputs.

Under torchrun several processes train one model together (`diffrec_core.training.distributed`).
All of them run the step up to the end of its training; from there on only the first one does.
"""

import atexit
import csv
import io
import logging
import os
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import Field
from torch import distributed

from diffrec_core.common.artifacts import (
    fingerprint,
    read_json,
    read_manifest,
    sha256_file,
    sha256_json,
    write_text,
)
from diffrec_core.common.config import Config, lookup
from diffrec_core.common.errors import ConfigError
from diffrec_core.common.rng import derive_seed
from diffrec_core.common.search_space import with_value
from diffrec_core.data.item_tables import read_item_clusters
from diffrec_core.data.schema import CLUSTERS_SCHEMA, INTERACTIONS_SCHEMA, MODEL_SCHEMA
from diffrec_core.data.splits import read_part
from diffrec_core.data.vocabulary import read_items
from diffrec_core.evaluation.ranking import RankingTask
from diffrec_core.models.base import Recommender, TrainingData
from diffrec_core.training.distributed import Processes
from diffrec_core.training.trainer import TrainingConfig, TrainingOptions, TrainingReport
from pipeline_steps.runtime.command import Step, peak_memory_mib, repository_root

log = logging.getLogger("pipeline")

_PATIENCE = timedelta(days=1)
"""How long processes wait for the first one, which validates; torchrun ends them if it dies."""


class RuntimeConfig(Config):
    """Where a step runs. No stage depends on this section: it must not change results."""

    device: Literal["auto", "cpu", "cuda"] = "auto"
    """auto: a CUDA device if there is one."""

    threads: int | None = Field(default=None, ge=1)
    """CPU threads of torch; null: as many as there are cores. Sums may differ in the last bit."""

    compile: bool = False
    """Let torch.compile fuse DiffRec's denoiser in training, with CUDA graphs on CUDA. It needs a
    C++ compiler, a path without blanks and a minute before the first step; sums may differ in
    the last bits."""

    checkpoint_every_seconds: float = Field(default=30.0, ge=0.0)
    """A killed training loses at most this much, or one step or validation if that is longer."""

    memory_limit_gib: float | None = Field(default=None, gt=0.0)
    """What the fit of a model may take, at its peak, beside the data; null: 80 % of the machine's
    (or the container's) memory. A larger one is refused before it begins."""


def prepare_device(step: Step) -> torch.device:
    """Choose the device, on CUDA one for each process, and make torch deterministic there.

    Raises:
        ConfigError: CUDA is asked for and absent.
    """
    config = step.section("runtime", RuntimeConfig)
    if config.threads:
        torch.set_num_threads(config.threads)
    if config.device == "cuda" and not torch.cuda.is_available():
        raise ConfigError("params.yaml: runtime.device = 'cuda', but torch finds no CUDA device")
    if config.device == "cpu" or not torch.cuda.is_available():
        return torch.device("cpu")  # the operations that we use are deterministic there
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # what determinism needs on CUDA
    torch.use_deterministic_algorithms(True)
    return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))


def join_processes(device: torch.device) -> Processes:
    """Meet the other processes that torchrun has started; without it there are none."""
    if not distributed.is_torchelastic_launched():
        return Processes()
    if not distributed.is_initialized():
        backend = "nccl" if device.type == "cuda" else "gloo"
        distributed.init_process_group(backend, timeout=_PATIENCE)
        atexit.register(distributed.destroy_process_group)
        threading.Thread(target=_end_with, args=[os.getppid()], daemon=True).start()
    processes = Processes(distributed.get_rank(), distributed.get_world_size())
    if not processes.is_writer:  # what all have to say, the first one says
        for name in ("pipeline", "diffrec_core"):
            logging.getLogger(name).setLevel(logging.WARNING)
    return processes


def _end_with(parent: int) -> None:
    """End this process soon after torchrun was killed: nobody else would."""
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)


def leave_if_not_writer(processes: Processes) -> None:
    """End this process, successfully, unless it is the one that writes what was trained."""
    if not processes.is_writer:
        raise SystemExit(0)


@contextmanager
def training_options(
    step: Step,
    name: str,
    *,
    config: Config,
    inputs: list[Path],
    epochs: int,
    fixed_epochs: int | None = None,
    seed: int | None = None,
    keep_checkpoint: bool = False,
) -> Iterator[TrainingOptions]:
    """Yield options with a progress bar, and a checkpoint that goes once the block ends well.

    Args:
        step: gives the seed and the runtime section.
        name: of the training, for its seed, its checkpoint and its bar.
        config: what is trained; with the inputs, the seed and the code it makes the key under
            which a checkpoint is taken up again.
        inputs: the data it is trained on.
        epochs: the length of the bar.
        fixed_epochs: train exactly so long.
        seed: of the training; by default derived from its name.
        keep_checkpoint: leave it to the caller to `forget_checkpoint`.
    """
    checkpoint = _checkpoint(name)
    seed = derive_seed(step.seed, name) if seed is None else seed
    device = prepare_device(step)
    runtime = step.section("runtime", RuntimeConfig)
    options = TrainingOptions(
        device=device,
        seed=seed,
        compile=runtime.compile,
        checkpoint=checkpoint,
        checkpoint_every_seconds=runtime.checkpoint_every_seconds,
        checkpoint_key=key_of(seed, config, inputs),
        fixed_epochs=fixed_epochs,
        processes=join_processes(device),
        memory_limit_gib=runtime.memory_limit_gib,
    )
    if not options.processes.is_writer:
        yield options
        return
    with step.progress(name, epochs) as advance:
        yield replace(options, advance=advance)
    if not keep_checkpoint:
        forget_checkpoint(name)


def _checkpoint(name: str) -> Path:
    return Path(".checkpoints") / name


def forget_checkpoint(name: str) -> None:
    """Remove what a training of this name could be taken up from."""
    shutil.rmtree(_checkpoint(name), ignore_errors=True)


def key_of(seed: int, config: Config, inputs: list[Path]) -> str:
    """Hash all that a training is a function of: what is known under another key is of no use."""
    library = sorted((repository_root() / "diffrec_core").rglob("*.py"))
    return sha256_json(
        {
            "seed": seed,
            "config": config.model_dump(mode="json"),
            "inputs": [fingerprint(path) for path in inputs],
            "code": [sha256_file(path) for path in library],
        }
    )


def model_section(step: Step, name: str, tuned: Path | None) -> dict[str, Any]:
    """The section of params.yaml that a model is trained by, with what `tune` found put over it.

    Args:
        step: gives params.yaml.
        name: an entry under `train`.
        tuned: the file that `tune` wrote for the model; None: it was not asked.
    """
    section: dict[str, Any] = lookup(step.params, f"train.{name}")
    for key, value in (read_json(tuned)["settings"] if tuned else {}).items():
        section = with_value(section, key, value)
    return section


def read_training_data(step: Step, model: Recommender) -> tuple[TrainingData, dict[str, Path]]:
    """Read what a model is trained on and judged by; also say where it came from, by role."""
    args = step.args
    read_manifest(args.interactions, INTERACTIONS_SCHEMA)
    items = read_items(args.interactions / "items.parquet")
    histories = read_part(args.train)
    task = RankingTask("validation", histories, read_part(args.validation))
    inputs = {"train": args.train, "validation": args.validation}
    clusters = None
    if model.needs_item_clusters:
        inputs["item_clusters"] = args.item_clusters
        source = read_manifest(args.item_clusters, CLUSTERS_SCHEMA)
        step.report["embedding_epochs"] = source["embedding_epochs"]
        clusters = read_item_clusters(args.item_clusters, items)
    data = TrainingData(histories=histories, items=items, validation=task, item_clusters=clusters)
    return data, inputs


def fit_and_save(
    step: Step,
    name: str,
    model: Recommender,
    data: TrainingData,
    *,
    out: Path,
    inputs: dict[str, Path],
    fixed_epochs: int | None = None,
    seed: int | None = None,
    keep_checkpoint: bool = False,
) -> TrainingReport:
    """Fit a model; the writer writes its directory.

    Args:
        step: gives the seed and the runtime section.
        name: of the training, see `training_options`, as are the last three.
        model: unfitted.
        data: what it is fitted on.
        out: the model directory.
        inputs: where the data came from, by role.
        fixed_epochs: train exactly so long; without it, validation decides.
        seed: of the training.
        keep_checkpoint: do not remove the checkpoint.
    """
    with training_options(
        step,
        name,
        config=model.config,
        inputs=list(inputs.values()),
        epochs=fixed_epochs or epoch_limit(model.config),
        fixed_epochs=fixed_epochs,
        seed=seed,
        keep_checkpoint=keep_checkpoint,
    ) as options:
        report = model.fit(data, options)
        if options.processes.is_writer:
            params = model.config.model_dump(mode="json")
            output = step.output(out, schema=MODEL_SCHEMA, params=params, inputs=inputs)
            with output as (directory, manifest):
                model.save(directory)
                manifest["vocabulary"] = data.items.fingerprint
    return report


def epoch_limit(config: Config) -> int:
    """Epochs that a model may train: 1 for models that are not trained in epochs."""
    return config.epochs if isinstance(config, TrainingConfig) else 1


def fit_report(model: Recommender, report: TrainingReport) -> dict[str, Any]:
    """Facts about a fit, for the leaderboard."""
    start, end = model.training_window
    return {
        "config": model.config.model_dump(mode="json"),
        "epochs": report.epochs,
        "best_epoch": report.best_epoch,
        "validation_recall@20": report.best_value,
        "fit_seconds": round(report.seconds, 3),
        "parameters": model.n_parameters,
        "peak_memory_mib": peak_memory_mib(),
        "training_window": {"first": start, "last": end},
    }


def write_curves(path: Path, report: TrainingReport) -> None:
    """Write a training's history as CSV, one line per epoch; empty cells where not measured."""
    columns = ["epoch", *sorted({name for record in report.history for name in record} - {"epoch"})]
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, columns, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows({**record, "epoch": int(record["epoch"])} for record in report.history)
    write_text(path, buffer.getvalue())
