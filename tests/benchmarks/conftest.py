"""A split of a few users in the form of the paper's, and settings for tiny models."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

N_USERS, N_ITEMS = 12, 20
TINY = {"kind": "diffrec", "hidden_dims": [4], "steps": 2}
LATENT = {**TINY, "latent": True, "encoder_dims": [4]}


def tiny_settings(l2: float) -> dict[str, Any]:
    return {
        "pretrain_item_embeddings": {"embedding_dim": 4, "epochs": 1},
        "cluster_items": {"n_clusters": 2},
        "train": {
            "popularity": {"kind": "popularity"},
            "recent": {"kind": "popularity", "half_life_days": 30.0},
            "ease": {"kind": "ease", "l2": l2},
            "diffrec": {**TINY, "epochs": 2, "validate_every_epochs": 1},
            "l_diffrec": {**LATENT, "epochs": 2},
        },
    }


@pytest.fixture
def settings() -> dict[str, dict[str, Any]]:
    """Settings that differ in EASE alone."""
    return {"authors": tiny_settings(1.0), "ours": tiny_settings(5.0)}


def write_tiny_split(folder: Path, n_items: int) -> Path:
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
    folder.mkdir(exist_ok=True)
    np.savez(folder / "split.npz", **parts)
    embeddings = rng.normal(size=(n_items, 4)).astype(np.float32)
    np.save(folder / "reference_item_embeddings.npy", embeddings)
    return folder


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A split of 12 users and 20 items."""
    return write_tiny_split(tmp_path / "split", N_ITEMS)


@pytest.fixture
def wide_data(tmp_path: Path) -> str:
    """A split of 12 users and 120 items: more than the largest cutoff."""
    return str(write_tiny_split(tmp_path / "wide", 120))
