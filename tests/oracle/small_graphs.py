"""Small user-item graphs, with everything that can be odd about one."""

import numpy as np

from diffrec_core.data.histories import Histories
from diffrec_core.models.lightgcn.adjacency import Adjacency, normalised_adjacency
from tests.oracle.model_oracles import Matrix

GRAPHS = {
    "connected": [[0, 1, 2], [1, 3], [0, 2, 3, 4], [4]],
    "isolated": [[0, 2], [], [2, 4], []],  # two users and two items without edges
    "one edge": [[3], [], [], []],
    "complete": [[4, 3, 2, 1, 0]] * 4,
}
N_ITEMS, DIM = 5, 3
N_NODES = 4 + N_ITEMS


def embeddings(seed: int = 1) -> Matrix:
    """(N, D) of any numbers."""
    return np.random.default_rng(seed).normal(size=(N_NODES, DIM))


def graph(name: str) -> tuple[list[list[int]], Adjacency]:
    """Histories and what we make of them."""
    rows = GRAPHS[name]
    return rows, normalised_adjacency(Histories.from_lists(rows), N_ITEMS)
