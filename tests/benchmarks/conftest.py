"""A split of a few users in the form of the paper's, and the benchmark on it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import _fit
from benchmarks.paper import Bench

N_USERS, N_ITEMS = 12, 20

PRESET = """\
# tiny
pretrain_item_embeddings: {embedding_dim: 4, epochs: 1}
cluster_items: {n_clusters: 2}
train:
  popularity: {kind: popularity}
  recent: {kind: popularity, half_life_days: 30.0}
  ease: {kind: ease, l2: 1.0}
  diffrec: {kind: diffrec, hidden_dims: [4], steps: 2, epochs: 2, validate_every_epochs: 1}
  l_diffrec:
    {kind: diffrec, latent: true, encoder_dims: [4], hidden_dims: [4], steps: 2, epochs: 2}
"""


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A split of 12 users, each with 10 of 20 items: 7 train, 1 test, 2 valid."""
    rng = np.random.default_rng(0)
    rows = np.stack([rng.permutation(N_ITEMS)[:10] for _ in range(N_USERS)])
    users = np.arange(N_USERS)

    def pairs(first: int, last: int) -> Any:
        items = rows[:, first:last]
        return np.stack([users.repeat(items.shape[1]), items.ravel()], axis=1).astype(np.int16)

    folder = tmp_path / "split"
    folder.mkdir()
    parts = {"train": pairs(0, 7), "test": pairs(7, 8), "valid": pairs(8, 10)}
    np.savez(folder / "split.npz", **parts)
    embeddings = rng.normal(size=(N_ITEMS, 4)).astype(np.float32)
    np.save(folder / "reference_item_embeddings.npy", embeddings)
    return folder


@pytest.fixture
def presets(tmp_path: Path) -> Path:
    """Tiny presets under the names of the two settings."""
    folder = tmp_path / "presets"
    folder.mkdir()
    (folder / "ml-1m-clean.yaml").write_text(PRESET)
    tuned = PRESET.replace("l2: 1.0", "l2: 5.0").replace("encoder_dims: [4]", "encoder_dims: [6]")
    (folder / "ml-1m-tuned.yaml").write_text(tuned)
    return folder


class Starter:
    """Does tasks in this process, and remembers them."""

    def __init__(self) -> None:
        self.started: list[str] = []

    def __call__(self, task: _fit.Task) -> dict[str, Any]:
        kind = "pretrain" if task.pretrain else task.fit["model"]
        self.started.append(f"{kind} {task.fit['protocol']} {task.fit['seed']}")
        return _fit.pretrain(task) if task.pretrain else _fit.fit(task)


@pytest.fixture
def make_bench(data: Path, presets: Path, tmp_path: Path) -> Callable[[], tuple[Bench, Starter]]:
    """Builds the benchmark anew, as another call of the command would."""

    def make() -> tuple[Bench, Starter]:
        starter = Starter()
        return Bench(data, presets, tmp_path / "out", starter), starter

    return make
