"""The DiffRec authors' models, through the classes of their checkout; none of their code is here.

What their scripts do around the classes is written anew, in their manner: the whole matrix is
dense, a DataLoader gives its rows one by one, and metrics come from their function.

Settings: `reference`, their checkout; `data`, the folder of the split; `name` of the model and
`model`, its section of our preset; `workers` of the loader; `seed`.
"""

import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any, Final

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from benchmarks.processes import Run, Settings
from diffrec_core.common.errors import ConfigError
from diffrec_core.models.diffrec.item_clusters import ClusteringConfig, cluster_items

_CUTOFFS: Final = [10, 20, 50, 100]
_EVERY_EPOCHS: Final = 5


def checkout(value: str) -> str:
    """The absolute path of a checkout.

    Raises:
        ConfigError: it is not a checkout of their code.
    """
    if not (Path(value) / "DiffRec" / "main.py").is_file():
        raise ConfigError(f"REFERENCE: {value or 'it is empty, and'} does not hold DiffRec/main.py")
    return str(Path(value).resolve())


def train_epoch(settings: Settings) -> Run:
    """A side: an epoch."""
    return _CLASSES[settings["name"]](settings).train_epoch


def evaluate(settings: Settings) -> Run:
    """A side: all users are ranked and measured, after `train_epochs`."""
    model = _CLASSES[settings["name"]](settings)
    for _ in range(settings["train_epochs"]):
        model.train_epoch()
    return lambda: model.evaluate("valid")


def train_to_early_stopping(settings: Settings) -> dict[str, Any]:
    """Train DiffRec or T-DiffRec as their main.py does; see `until_no_better`."""
    model = _CLASSES[settings["name"]](settings)
    return until_no_better(model, model.model["epochs"], model.model["patience_epochs"])


def until_no_better(model: "_Authors", epochs: int, patience: int) -> dict[str, Any]:
    """Train until the best validation is `patience` epochs old, or `epochs` are over.

    Returns:
        The test metrics of the best epoch, and `best_epoch`.
    """
    best, result = -1.0, {}
    for epoch in range(1, epochs + 1):
        model.train_epoch()
        if epoch % _EVERY_EPOCHS == 0:
            value = model.evaluate("valid")["recall@20"]
            if value > best:
                best, result = value, {**model.evaluate("test"), "best_epoch": epoch}
        if result and epoch - result["best_epoch"] >= patience:
            break
    return result


class _Authors:
    """DiffRec and T-DiffRec."""

    folder = "DiffRec"

    def __init__(self, settings: Settings) -> None:
        stand_in_for("bottleneck")
        stand_in_for("kmeans_pytorch", kmeans=_kmeans)
        sys.path.insert(0, str(Path(settings["reference"]) / self.folder))
        torch.manual_seed(settings["seed"])
        self.model, batch = settings["model"], settings["model"]["batch_size"]
        self.parts = read_parts(Path(settings["data"]), self.model["recency"])
        rows = import_module("data_utils").DataDiffusion(
            torch.FloatTensor(self.parts["input"].toarray())
        )
        workers, pin = settings["workers"], torch.cuda.is_available()
        self.loader = DataLoader(rows, batch, shuffle=True, num_workers=workers, pin_memory=pin)
        self.in_order = DataLoader(rows, batch)
        library = import_module("models.gaussian_diffusion")
        names = ("noise_schedule", "noise_scale", "noise_min", "noise_max", "steps")
        mean_type, noise = library.ModelMeanType.START_X, (self.model[name] for name in names)
        self.diffusion = library.GaussianDiffusion(mean_type, *noise, torch.device("cpu"))
        self._build(settings)

    def _build(self, settings: Settings) -> None:
        self.denoiser = self._denoiser(self.parts["train"].shape[1])
        self.optimizers = [_adamw(self.denoiser, self.model["learning_rate"])]

    def _denoiser(self, dim: int) -> Any:
        outwards = [*self.model["hidden_dims"], dim]
        return import_module("models.DNN").DNN(outwards[::-1], outwards, 10)

    def train_epoch(self) -> None:
        self.denoiser.train()
        for batch in self.loader:
            for optimizer in self.optimizers:
                optimizer.zero_grad()
            self._loss(batch).backward()  # type: ignore[no-untyped-call]
            for optimizer in self.optimizers:
                optimizer.step()

    def _loss(self, batch: Tensor) -> Tensor:
        terms = self.diffusion.training_losses(self.denoiser, batch, reweight=True)
        loss: Tensor = terms["loss"].mean()
        return loss

    @torch.no_grad()
    def evaluate(self, part: str) -> dict[str, float]:
        self.denoiser.eval()
        wanted, seen = self.parts[part], self._seen(part)
        targets = [wanted[user].nonzero()[1].tolist() for user in range(wanted.shape[0])]
        ranked: list[list[int]] = []
        for batch in self.in_order:
            scores = self._scores(batch)
            scores[seen[len(ranked) : len(ranked) + len(batch)].nonzero()] = -np.inf
            ranked += self._items(torch.topk(scores, _CUTOFFS[-1])[1]).tolist()
        return named(import_module("evaluate_utils").computeTopNAccuracy(targets, ranked, _CUTOFFS))

    def _seen(self, part: str) -> sp.csr_matrix:
        train = self.parts["train"]
        return train if part == "valid" else train + self.parts["valid"]

    def _scores(self, batch: Tensor) -> Tensor:
        scores: Tensor = self.diffusion.p_sample(self.denoiser, batch, 0)
        return scores

    def _items(self, places: Tensor) -> Tensor:
        return places


class _LatentAuthors(_Authors):
    """L-DiffRec with two categories, and no hidden layer in the decoder."""

    folder = "L-DiffRec"

    def _build(self, settings: Settings) -> None:
        self.autoencoders = import_module("models.Autoencoder")
        embeddings = np.load(Path(settings["data"]) / "reference_item_embeddings.npy")
        dims = list(self.model["encoder_dims"])
        self.vae = self.autoencoders.AutoEncoder(
            torch.from_numpy(embeddings), 2, dims[::-1], [], torch.device("cpu"), "tanh"
        )
        self.denoiser = self._denoiser(dims[0])
        vae = _adamw(self.vae, self.model["vae_learning_rate"])
        self.optimizers = [vae, _adamw(self.denoiser, self.model["learning_rate"])]
        self.order, seen = self.vae.category_map, super()._seen
        self.masks = {part: seen(part)[:, self.order.numpy()] for part in ("valid", "test")}
        self.steps = 0

    def _loss(self, batch: Tensor) -> Tensor:
        self.vae.train()
        by_category, latent, divergence = self.vae.Encode(batch)
        terms = self.diffusion.training_losses(self.denoiser, latent, reweight=True)
        scores = self.vae.Decode(terms["pred_xstart"])
        epochs = self.steps // len(self.loader)
        diffusion = max((1 - epochs / 500) * 0.03, 0.005) * terms["loss"].mean()
        reconstruction = self.autoencoders.compute_loss(scores, by_category)
        loss: Tensor = diffusion + reconstruction + min(0.3, self.steps / 200) * divergence
        self.steps += 1
        return loss

    def _seen(self, part: str) -> sp.csr_matrix:
        return self.masks[part]

    def _scores(self, batch: Tensor) -> Tensor:
        _, latent, _ = self.vae.eval().Encode(batch)
        scores: Tensor = self.vae.Decode(super()._scores(latent))
        return scores

    def _items(self, places: Tensor) -> Tensor:
        items: Tensor = self.order[places]
        return items


_CLASSES = {"diffrec": _Authors, "t_diffrec": _Authors, "l_diffrec": _LatentAuthors}


def _adamw(network: torch.nn.Module, learning_rate: float) -> torch.optim.Optimizer:
    return torch.optim.AdamW(network.parameters(), lr=learning_rate, weight_decay=0.0)


def read_parts(folder: Path, recency: Settings) -> dict[str, sp.csr_matrix]:
    """The parts of the split as float64 matrices of one shape, as the authors load them.

    `input` is train as the model sees it: in T-DiffRec, the items of a user have weights that are
    linear in their places.
    """
    with np.load(folder / "split.npz", allow_pickle=False) as arrays:
        pairs = {name: arrays[name].astype(np.int64) for name in ("train", "valid", "test")}
    shape = tuple(np.max([part.max(axis=0) for part in pairs.values()], axis=0) + 1)
    weights = {name: np.ones(len(part)) for name, part in pairs.items()}
    pairs["input"], weights["input"] = pairs["train"], weights["train"]
    if recency["kind"] == "linear":
        ends, users = (recency["weight_min"], recency["weight_max"]), pairs["train"][:, 0]
        places = [np.linspace(*ends, count) for count in np.bincount(users)]
        weights["input"] = np.concatenate(places)
    return {name: sp.csr_matrix((weights[name], part.T), shape) for name, part in pairs.items()}


def named(measured: Sequence[Sequence[float]]) -> dict[str, float]:
    """Name the lists that their function returns."""
    names = ("precision", "recall", "ndcg", "mrr")
    lists = zip(names, measured, strict=True)
    return {f"{n}@{k}": v for n, values in lists for k, v in zip(_CUTOFFS, values, strict=True)}


def stand_in_for(name: str, **functions: Any) -> None:
    """Let the import of a package succeed that is not installed."""
    if find_spec(name) is None:
        sys.modules[name] = ModuleType(name)
        vars(sys.modules[name]).update(functions)


def _kmeans(X: Tensor, num_clusters: int, **others: Any) -> tuple[Tensor, None]:
    """Stands in for kmeans_pytorch, which groups items before what is measured."""
    config = ClusteringConfig(n_clusters=num_clusters)
    return torch.from_numpy(cluster_items(X.numpy(), config, seed=1)), None
