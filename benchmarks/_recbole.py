"""RecBole's sides: its own data loaders, models, trainer and evaluation.

Its checkout is given by path. RecBole 1.2.1 was written for older numpy and scipy; the names that
it misses there are given back. It may run under a Python of its own, so nothing of ours is
imported but the clock and what drives a peer.
"""

import contextlib
import logging
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp

from benchmarks._laps import Laps
from benchmarks._peers import CUTOFFS, drive, faiss_kmeans, module, stand_in_for

_NAME = "benchmark"
_PARTS = ("train", "valid", "test")
_BATCH = 400


def diffrec(settings: dict[str, Any], laps: Laps) -> None:
    """RecBole's DiffRec."""
    drive(_RecBole("DiffRec", _diffrec_config(settings["model"]), settings), settings, laps)


def l_diffrec(settings: dict[str, Any], laps: Laps) -> None:
    """RecBole's LDiffRec with two categories; it has one learning rate for all."""
    model = settings["model"]
    config = _diffrec_config(model) | {
        "n_cate": 2,
        "in_dims": list(model["encoder_dims"]),
        "out_dims": [],
        "beta_fixed": False,
    }
    drive(_RecBole("LDiffRec", config, settings), settings, laps)


def lightgcn(settings: dict[str, Any], laps: Laps) -> None:
    """RecBole's LightGCN with 64 dimensions, 2 layers and its default batch of 2048."""
    drive(_RecBole("LightGCN", {"train_batch_size": 2048}, settings), settings, laps)


def _diffrec_config(model: Mapping[str, Any]) -> dict[str, Any]:
    names = ("noise_schedule", "noise_scale", "noise_min", "noise_max", "steps", "learning_rate")
    return {
        **{name: model[name] for name in names},
        "dims_dnn": [*reversed(model["hidden_dims"]), *model["hidden_dims"][1:]],
        "embedding_size": 10,
        "train_batch_size": _BATCH,
        "train_neg_sample_args": None,
    }


class _RecBole:
    """A model of RecBole on the split.

    Args:
        name: of its class.
        config: its settings.
        settings: `recbole` (the checkout) and `data`.
    """

    def __init__(self, name: str, config: dict[str, Any], settings: Mapping[str, Any]) -> None:
        _prepare(settings["recbole"])
        data, utils = module("recbole.data"), module("recbole.utils")
        with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
            _write_split(Path(settings["data"]), Path(folder) / _NAME)
            known = module("recbole.config").Config(
                name, _NAME, config_dict={**_common_config(folder), **config}
            )
            utils.init_seed(known["seed"], known["reproducibility"])
            dataset = data.create_dataset(known)
            _write_embeddings(Path(settings["data"]), Path(folder) / _NAME, dataset)
            self.train, valid, test = data.data_preparation(known, dataset)
            self.parts = {"valid": valid, "test": test}
            model = utils.get_model(name)(known, self.train.dataset).to(known["device"])
            self.trainer = utils.get_trainer(known["MODEL_TYPE"], known["model"])(known, model)
        self.trainer.eval_collector.data_collect(self.train)
        self.epochs = 0

    def train_epoch(self) -> None:
        self.trainer._train_epoch(self.train, self.epochs, show_progress=False)
        self.epochs += 1

    def evaluate(self, part: str) -> dict[str, float]:
        measured = self.trainer.evaluate(self.parts[part], load_best_model=False)
        return {name: float(value) for name, value in measured.items()}


def _common_config(folder: str) -> dict[str, Any]:
    return {
        "data_path": folder,
        "checkpoint_dir": folder,
        "benchmark_filename": list(_PARTS),
        "load_col": {"inter": ["user_id", "item_id"]},
        "eval_args": {"group_by": "user", "order": "RO", "mode": "full"},
        "eval_batch_size": 4096 * _BATCH,
        "metrics": ["Recall", "NDCG", "Precision", "MRR"],
        "topk": CUTOFFS,
        "valid_metric": "Recall@20",
        "use_gpu": False,
        "gpu_id": "",
        "show_progress": False,
        "state": "ERROR",
    }


def _prepare(checkout: str) -> None:
    """Make it importable, and give back what numpy 2 and scipy 1.13 took away."""
    sys.path.insert(0, checkout)
    sys.argv = sys.argv[:1]  # it reads the command line
    logging.disable(logging.WARNING)
    stand_in_for("kmeans_pytorch", kmeans=faiss_kmeans)
    for name, kind in (("float_", np.float64), ("complex_", np.complex128), ("unicode_", np.str_)):
        if not hasattr(np, name):
            setattr(np, name, kind)
    if not hasattr(sp.dok_matrix, "_update"):
        sp.dok_matrix._update = lambda matrix, values: matrix._dict.update(values)


def _write_split(folder: Path, target: Path) -> None:
    """Write the parts as RecBole's atomic files."""
    target.mkdir()
    with np.load(folder / "split.npz", allow_pickle=False) as arrays:
        for part in _PARTS:
            np.savetxt(
                target / f"{_NAME}.{part}.inter",
                arrays[part],
                fmt="%d",
                delimiter="\t",
                header="user_id:token\titem_id:token",
                comments="",
            )


def _write_embeddings(folder: Path, target: Path, dataset: Any) -> None:
    """Write the item embeddings in RecBole's own order of items."""
    path = folder / "reference_item_embeddings.npy"
    if path.is_file():
        tokens = dataset.id2token(dataset.iid_field, np.arange(1, dataset.item_num))
        np.save(target / "item_emb.npy", np.load(path)[tokens.astype(np.int64)])
