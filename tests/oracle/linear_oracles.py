"""Slow oracles of the item-item and factor models: loops over users and items, in float64.

Sources: Sarwar et al. 2001 (ItemKNN) section 3.1; Cooper et al. 2014 and Paudel et al. 2017 (RP3β);
Shen et al. 2021 (GF-CF) section 4.2; Ning & Karypis 2011 (SLIM) eq. 3; Hu et al. 2008 (iALS) eq. 3.
"""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls

from diffrec_core.data.histories import Histories
from diffrec_core.data.vocabulary import Vocabulary
from diffrec_core.models.base import TrainingData

Matrix = NDArray[np.float64]


def random_users(seed: int, *, count: int, n_items: int) -> list[list[int]]:
    """Histories of 1 to 6 items, low ones more often; nobody has the last item."""
    rng = np.random.default_rng(seed)
    share = 1.0 / np.arange(1, n_items)
    return [
        rng.choice(n_items - 1, rng.integers(1, 7), replace=False, p=share / share.sum()).tolist()
        for _ in range(count)
    ]


def training_data(users: Sequence[Sequence[int]], n_items: int) -> TrainingData:
    """The histories with a vocabulary for them."""
    items = Vocabulary(tuple(f"i{index}" for index in range(n_items)))
    return TrainingData(histories=Histories.from_lists(users), items=items)


def matrix(users: Sequence[Sequence[int]], n_items: int) -> Matrix:
    """(U, I) ones where a user had an item."""
    x = np.zeros((len(users), n_items))
    for user, row in enumerate(users):
        for item in row:
            x[user, item] = 1.0
    return x


def nearest(similarities: Sequence[float], k: int) -> list[int]:
    """The k items of the largest similarity above 0, ties by index."""
    similar = [item for item, value in enumerate(similarities) if value > 0]
    return sorted(similar, key=lambda item: (-similarities[item], item))[:k]


def keep_nearest(weights: Matrix, k: int) -> Matrix:
    """Each column's k largest entries off the diagonal, 0 elsewhere."""
    kept = np.zeros_like(weights)
    for j in range(len(weights)):
        column = [0.0 if i == j else float(weights[i, j]) for i in range(len(weights))]
        for i in nearest(column, k):
            kept[i, j] = weights[i, j]
    return kept


def similarity(first: set[int], second: set[int], kind: str, shrink: float) -> float:
    """Of two items, by the sets of users who had them."""
    both = len(first & second)
    whole = len(first | second) if kind == "jaccard" else math.sqrt(len(first) * len(second))
    return both / (whole + shrink) if both else 0.0


def knn_weights(x: Matrix, kind: str, shrink: float, k: int) -> Matrix:
    """W of ItemKNN: column j holds the similarities of the k nearest neighbours of item j."""
    users = [set(np.flatnonzero(column).tolist()) for column in x.T]
    all_pairs = [[similarity(a, b, kind, shrink) for b in users] for a in users]
    return keep_nearest(np.array(all_pairs), k)


def rp3beta_weights(x: Matrix, alpha: float, beta: float, k: int) -> Matrix:
    """W of RP3β: over all users who had both, the ways from i to j, step by step."""
    n_users, n_items = x.shape
    weights = np.zeros((n_items, n_items))
    for i in range(n_items):
        for j in range(n_items):
            for u in range(n_users):
                if x[u, i] and x[u, j]:
                    to_user, to_item = 1.0 / x[:, i].sum(), 1.0 / x[u].sum()
                    weights[i, j] += to_user**alpha * to_item**alpha / x[:, j].sum() ** beta
    return keep_nearest(weights, k)


def gf_cf_filter(x: Matrix, alpha: float, factors: int) -> Matrix:
    """R̃ᵀR̃ + α D_I^-½ Ū Ūᵀ D_I^½ in dense matrices, from a full singular value decomposition."""
    per_user, per_item = x.sum(axis=1), x.sum(axis=0)
    user = np.diag([1 / math.sqrt(n) if n else 0.0 for n in per_user])
    item = np.diag([1 / math.sqrt(n) if n else 0.0 for n in per_item])
    normal = user @ x @ item
    low = np.linalg.svd(normal, full_matrices=False)[2][:factors].T
    result: Matrix = normal.T @ normal + alpha * item @ low @ low.T @ np.diag(np.sqrt(per_item))
    return result


def slim_weights(x: Matrix, l1: float, l2: float) -> Matrix:
    """W of SLIM, column by column, as non-negative least squares with the penalties completed.

    ½‖x_j - X w‖² + ½ l2 ‖w‖² + l1 Σ w is ½‖R w - r‖² and a constant, with RᵀR = XᵀX + l2 I and
    Rᵀr = Xᵀx_j - l1.
    """
    n_items = x.shape[1]
    weights = np.zeros((n_items, n_items))
    for j in range(n_items):
        others = [i for i in range(n_items) if i != j]
        root = np.linalg.cholesky(x[:, others].T @ x[:, others] + l2 * np.eye(n_items - 1)).T
        target = np.linalg.solve(root.T, x[:, others].T @ x[:, j] - l1)
        weights[others, j] = nnls(root, target)[0]
    return weights


def slim_violations(x: Matrix, weights: Matrix, l1: float, l2: float) -> Matrix:
    """How far each weight is from meeting the conditions of Karush, Kuhn and Tucker.

    The gradient of the loss and the penalties with respect to w_ij must be 0 where w_ij > 0, and
    not negative where w_ij = 0.
    """
    gradient = x.T @ (x @ weights - x) + l2 * weights + l1
    violations = np.where(weights > 0, np.abs(gradient), np.maximum(-gradient, 0.0))
    np.fill_diagonal(violations, 0.0)
    return violations


def ials_user(
    item_factors: Matrix, history: Sequence[int], confidence: Sequence[float], l2: float
) -> Matrix:
    """(F,) the factor of the smallest weighted squared error, by least squares over all items."""
    n_items, n_factors = item_factors.shape
    weight, target = np.ones(n_items), np.zeros(n_items)
    for item, value in zip(history, confidence, strict=True):
        weight[item], target[item] = value, 1.0
    design = np.concatenate(
        [np.sqrt(weight)[:, None] * item_factors, math.sqrt(l2) * np.eye(n_factors)]
    )
    wanted = np.concatenate([np.sqrt(weight) * target, np.zeros(n_factors)])
    solution: Matrix = np.linalg.lstsq(design, wanted, rcond=None)[0]
    return solution
