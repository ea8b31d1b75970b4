"""The DiffRec authors' sides, through the classes of their checkout.

What their scripts do around the classes is done here in our words and in their manner: the whole
matrix is dense, a DataLoader gives its rows one by one, and metrics come from their function.
"""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader

from benchmarks._laps import Laps
from benchmarks._peers import (
    CUTOFFS,
    drive,
    faiss_kmeans,
    module,
    stand_in_for,
    until_no_better,
)

_BATCH, _EMBEDDING = 400, 10
_SEED = 1


def diffrec(settings: dict[str, Any], laps: Laps) -> None:
    """The authors' DiffRec."""
    drive(_Authors(settings), settings, laps)


def l_diffrec(settings: dict[str, Any], laps: Laps) -> None:
    """The authors' L-DiffRec."""
    drive(_LatentAuthors(settings), settings, laps)


class _Authors:
    """DiffRec.

    Args:
        settings: `reference` (their checkout), `data`, `model` (a section of our preset) and
            `workers` of the loader.
    """

    folder = "DiffRec"

    def __init__(self, settings: Mapping[str, Any]) -> None:
        stand_in_for("bottleneck")
        stand_in_for("kmeans_pytorch", kmeans=faiss_kmeans)
        sys.path.insert(0, str(Path(settings["reference"]) / self.folder))
        self.settings, self.model = settings, settings["model"]
        torch.manual_seed(settings.get("seed", _SEED))
        self.parts = _matrices(Path(settings["data"]))
        rows = module("data_utils").DataDiffusion(torch.FloatTensor(self._inputs().toarray()))
        self.loader = DataLoader(
            rows,
            batch_size=_BATCH,
            shuffle=True,
            num_workers=settings["workers"],
            pin_memory=torch.cuda.is_available(),
        )
        self.in_order = DataLoader(rows, batch_size=_BATCH)
        self.n_items = self.parts["train"].shape[1]
        self.diffusion = self._diffusion()
        self._build()

    def _inputs(self) -> sp.csr_matrix:
        """What the model sees of the histories."""
        return self.parts["train"]

    def _diffusion(self) -> Any:
        library, model = module("models.gaussian_diffusion"), self.model
        return library.GaussianDiffusion(
            library.ModelMeanType.START_X,
            model["noise_schedule"],
            model["noise_scale"],
            model["noise_min"],
            model["noise_max"],
            model["steps"],
            torch.device("cpu"),
        )

    def _denoiser(self, dim: int) -> Any:
        outwards = [*self.model["hidden_dims"], dim]
        return module("models.DNN").DNN(outwards[::-1], outwards, _EMBEDDING)

    def _build(self) -> None:
        self.denoiser = self._denoiser(self.n_items)
        self.optimizer = torch.optim.AdamW(
            self.denoiser.parameters(), lr=self.model["learning_rate"], weight_decay=0.0
        )

    def train_epoch(self) -> None:
        self.denoiser.train()
        for batch in self.loader:
            self.optimizer.zero_grad()
            losses = self.diffusion.training_losses(self.denoiser, batch, reweight=True)
            losses["loss"].mean().backward()
            self.optimizer.step()

    @torch.no_grad()
    def evaluate(self, part: str) -> dict[str, float]:
        self.denoiser.eval()
        wanted, seen = self.parts[part], self._seen(part)
        targets = [wanted[user].nonzero()[1].tolist() for user in range(wanted.shape[0])]
        ranked: list[list[int]] = []
        for batch in self.in_order:
            scores = self._scores(batch)
            scores[seen[len(ranked) : len(ranked) + len(batch)].nonzero()] = -np.inf
            ranked += self._items(torch.topk(scores, CUTOFFS[-1])[1]).tolist()
        measured = module("evaluate_utils").computeTopNAccuracy(targets, ranked, CUTOFFS)
        return named(measured)

    def _seen(self, part: str) -> sp.csr_matrix:
        train = self.parts["train"]
        return train if part == "valid" else train + self.parts["valid"]

    def _scores(self, batch: Tensor) -> Tensor:
        scores: Tensor = self.diffusion.p_sample(self.denoiser, batch, 0)
        return scores

    def _items(self, places: Tensor) -> Tensor:
        return places


class _TemporalAuthors(_Authors):
    """T-DiffRec: the items of a history weigh more the later they came."""

    def _inputs(self) -> sp.csr_matrix:
        recency, train = self.model["recency"], _pairs(Path(self.settings["data"]))["train"]
        counts = np.bincount(train[:, 0])
        weights = [np.linspace(recency["weight_min"], recency["weight_max"], n) for n in counts]
        return sp.csr_matrix((np.concatenate(weights), train.T), shape=self.parts["train"].shape)


class _LatentAuthors(_Authors):
    """L-DiffRec with two categories."""

    folder = "L-DiffRec"

    def _build(self) -> None:
        self.autoencoders = module("models.Autoencoder")
        embeddings = np.load(Path(self.settings["data"]) / "reference_item_embeddings.npy")
        dims = list(self.model["encoder_dims"])
        # 2 categories, no hidden layer in the decoder
        self.vae = self.autoencoders.AutoEncoder(
            torch.from_numpy(embeddings), 2, dims[::-1], [], torch.device("cpu"), "tanh"
        )
        self.denoiser = self._denoiser(dims[0])
        self.optimizers = [
            torch.optim.AdamW(part.parameters(), lr=self.model[rate], weight_decay=0.0)
            for part, rate in (
                (self.vae, "vae_learning_rate"),
                (self.denoiser, "learning_rate"),
            )
        ]
        order = self.vae.category_map.numpy()
        self.masks = {part: self._seen_unordered(part)[:, order] for part in ("valid", "test")}
        self.epochs = self.steps = 0

    def _seen_unordered(self, part: str) -> sp.csr_matrix:
        return super()._seen(part)

    def _seen(self, part: str) -> sp.csr_matrix:
        return self.masks[part]

    def train_epoch(self) -> None:
        self.denoiser.train()
        self.vae.train()
        diffusion_weight = max((1 - self.epochs / 500) * 0.03, 0.005)
        for batch in self.loader:
            for optimizer in self.optimizers:
                optimizer.zero_grad()
            by_category, latent, divergence = self.vae.Encode(batch)
            terms = self.diffusion.training_losses(self.denoiser, latent, reweight=True)
            scores = self.vae.Decode(terms["pred_xstart"])
            reconstruction = self.autoencoders.compute_loss(scores, by_category)
            weighted = diffusion_weight * terms["loss"].mean()
            (weighted + reconstruction + min(0.3, self.steps / 200) * divergence).backward()
            for optimizer in self.optimizers:
                optimizer.step()
            self.steps += 1
        self.epochs += 1

    def evaluate(self, part: str) -> dict[str, float]:
        self.vae.eval()
        return super().evaluate(part)

    def _scores(self, batch: Tensor) -> Tensor:
        _, latent, _ = self.vae.Encode(batch)
        scores: Tensor = self.vae.Decode(self.diffusion.p_sample(self.denoiser, latent, 0))
        return scores

    def _items(self, places: Tensor) -> Tensor:
        items: Tensor = self.vae.category_map[places]
        return items


PEERS = {"diffrec": _Authors, "t_diffrec": _TemporalAuthors}
"""What `to_early_stopping` can train."""


def to_early_stopping(name: str, settings: dict[str, Any]) -> dict[str, Any]:
    """Train one of PEERS as their main.py does; the test metrics of its best epoch.

    Args:
        name: of the model.
        settings: as of `_Authors`, and `seed`.
    """
    return until_no_better(
        PEERS[name](settings), settings["model"]["epochs"], settings["model"]["patience_epochs"]
    )


def _pairs(folder: Path) -> dict[str, NDArray[np.int64]]:
    """The parts of the split as (N, 2) users and items, a user's in the order of time."""
    with np.load(folder / "split.npz", allow_pickle=False) as arrays:
        return {name: arrays[name].astype(np.int64) for name in ("train", "valid", "test")}


def _matrices(folder: Path) -> dict[str, sp.csr_matrix]:
    """The parts of the split as float64 matrices of one shape, as the authors load them."""
    pairs = _pairs(folder)
    shape = np.max([part.max(axis=0) for part in pairs.values()], axis=0) + 1
    return {
        name: sp.csr_matrix((np.ones(len(part)), part.T), shape=tuple(shape))
        for name, part in pairs.items()
    }


def named(measured: Sequence[Sequence[float]]) -> dict[str, float]:
    """Name the lists that their function returns."""
    names = ("precision", "recall", "ndcg", "mrr")
    return {
        f"{name}@{k}": float(value)
        for name, values in zip(names, measured, strict=True)
        for k, value in zip(CUTOFFS, values, strict=True)
    }
