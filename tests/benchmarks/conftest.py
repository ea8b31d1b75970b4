"""A split of a few users in the form of the paper's, and the benchmarks on it."""

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import _fit
from benchmarks._laps import Lap, Laps
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


def write_tiny_split(folder: Path, n_items: int) -> None:
    """A split of 12 users, each with 10 of the items: 7 train, 1 test, 2 valid."""
    rng = np.random.default_rng(0)
    rows = np.stack([rng.permutation(n_items)[:10] for _ in range(N_USERS)])
    if n_items - 1 not in rows:
        rows[0, 0] = n_items - 1  # the largest number says how many items there are
    users = np.arange(N_USERS)

    def pairs(first: int, last: int) -> Any:
        items = rows[:, first:last]
        return np.stack([users.repeat(items.shape[1]), items.ravel()], axis=1).astype(np.int16)

    parts = {"train": pairs(0, 7), "test": pairs(7, 8), "valid": pairs(8, 10)}
    np.savez(folder / "split.npz", **parts)
    embeddings = rng.normal(size=(n_items, 4)).astype(np.float32)
    np.save(folder / "reference_item_embeddings.npy", embeddings)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A split of 12 users and 20 items."""
    folder = tmp_path / "split"
    folder.mkdir()
    write_tiny_split(folder, N_ITEMS)
    return folder


@pytest.fixture
def wide_data(tmp_path: Path) -> str:
    """A split of 12 users and 120 items: more than the largest cutoff."""
    write_tiny_split(tmp_path, 120)
    return str(tmp_path)


def laps_of(
    side: Callable[[dict[str, Any], Laps], None], told: dict[str, Any], turns: int
) -> list[Lap]:
    """Run a side in this process; the warm-up comes first."""
    replies = io.StringIO()
    try:
        side(told, Laps(io.StringIO("go\n" * turns), replies))
    except SystemExit as end:
        assert end.code == 0
    return [Lap(*json.loads(line)) for line in replies.getvalue().splitlines()]


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
