"""One fit on the paper's split, which runs in a process of its own."""

from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.fits.plan import PRETRAINING, Fit, Sections, device
from benchmarks.ml1m import Split, load_split, measure, protocol, with_clusters
from benchmarks.processes import in_own_process
from benchmarks.results import Row
from diffrec_core.common.artifacts import atomic_directory
from diffrec_core.common.rng import derive_seed
from diffrec_core.models.base import Recommender, TrainingData
from diffrec_core.models.diffrec.item_clusters import ClusteringConfig
from diffrec_core.models.kinds import create, parse_config
from diffrec_core.models.lightgcn.network import LightGCNConfig, fit_lightgcn
from diffrec_core.training.trainer import TrainingOptions, TrainingReport
from pipeline_steps.runtime.command import peak_memory_mib
from pipeline_steps.runtime.fitting import epoch_limit
from pipeline_steps.runtime.progress import progress


def fit_and_measure(fit: Fit, data: Path, embeddings: Path | None) -> Row:
    """Fit the model, and measure it on its protocol's test.

    Args:
        fit: the model and its settings.
        data: folder of the split.
        embeddings: file of the item embeddings, for models that need clusters.

    Returns:
        Metrics, times, memory, and the key of the code as it is now: it may be edited meanwhile.
    """
    key, split, section = fit.key, load_split(data), fit.sections["model"]
    training_data = data_of(fit, split, embeddings)
    with progress(fit.model, epoch_limit(parse_config(section, fit.model))) as advance:
        model, report = fit_model(fit, section, training_data, advance=advance)
    metrics = measure(model.score, protocol(split, fit.protocol))
    return {
        "key": key,
        **{name: round(value, 6) for name, value in metrics.items()},
        "fit_seconds": round(report.seconds, 3),
        "peak_mib": peak_memory_mib(),
        "epochs": report.epochs,
        "best_epoch": report.best_epoch,
        "selection_recall@20": report.best_value,
    }


def fit_model(
    fit: Fit, section: Sections, data: TrainingData, **options: Any
) -> tuple[Recommender, TrainingReport]:
    """Fit a model with these settings and the seed that the stage derives from the fit's."""
    model = create(section, f"train.{fit.model}", device())
    seed = derive_seed(fit.seed, f"train/{fit.model}")
    return model, model.fit(data, TrainingOptions(device=model.device, seed=seed, **options))


def data_of(fit: Fit, split: Split, embeddings: Path | None) -> TrainingData:
    """The data that the model of a fit is trained on and stopped by."""
    data = protocol(split, fit.protocol).data
    if embeddings is None:
        return data
    config = ClusteringConfig.parse(fit.sections["cluster_items"], "cluster_items")
    return with_clusters(data, embeddings, config, seed=derive_seed(fit.seed, "cluster_items"))


def item_embeddings(fit: Fit, data: Path, out: Path) -> Path | None:
    """The file of the item embeddings that a fit asks for.

    Ours, LightGCN's, are trained once for all fits that share them, in a process of its own.

    Args:
        fit: the fit.
        data: folder of the split.
        out: folder of the embeddings that are trained here.
    """
    if fit.embeddings != "ours":
        return load_split(data).embeddings if fit.embeddings else None
    path = out / f"item_embeddings-{fit.pretraining_key[:16]}" / "item_embeddings.npy"
    if not path.exists():
        in_own_process(_pretrain, fit, data, path)
    return path


def _pretrain(fit: Fit, folder: Path, path: Path) -> None:
    data = protocol(load_split(folder), fit.protocol).data
    seed = derive_seed(fit.seed, "item_embeddings")
    config = LightGCNConfig.parse(fit.sections[PRETRAINING], PRETRAINING)
    with progress("item embeddings", config.epochs) as advance:
        options = TrainingOptions(device=device(), seed=seed, advance=advance)
        n_items = len(data.items)
        embeddings, _ = fit_lightgcn(data.histories, n_items, config, options, data.validation)
    with atomic_directory(path.parent) as directory:
        np.save(directory / path.name, embeddings.read_out.cpu().numpy())
