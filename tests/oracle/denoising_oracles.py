"""Slow oracles of adaptive denoising training: single interactions in loops, in float64.

Source: Wang et al., "Denoising Implicit Feedback for Recommendation", WSDM 2021.
"""

import math
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray

Matrix = NDArray[np.float64]
Weights = Callable[[dict[tuple[int, int], float]], dict[tuple[int, int], float]]
"""Losses of the interactions of a batch to their weights, both by (row, item)."""


def cut(rate: float) -> Weights:
    """T-CE: the largest losses, a share of them, weigh nothing."""

    def weights(losses: dict[tuple[int, int], float]) -> dict[tuple[int, int], float]:
        largest = sorted(losses, key=lambda place: -losses[place])[: int(rate * len(losses))]
        return {place: 0.0 if place in largest else 1.0 for place in losses}

    return weights


def softened(exponent: float) -> Weights:
    """R-CE: p^β, p being exp(-loss)."""
    return lambda losses: {place: math.exp(-loss) ** exponent for place, loss in losses.items()}


def places(x: Matrix) -> list[tuple[int, int]]:
    return [(int(row), int(item)) for row, item in np.argwhere(x)]


def sigmoid(score: float) -> float:
    return 1.0 / (1.0 + math.exp(-score))


def softmax(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    exps = np.array([math.exp(score) for score in scores])
    return exps / exps.sum()


def logistic_losses(scores: Matrix, x: Matrix, weights: Weights) -> Matrix:
    """(B,) binary cross entropies of all items, those of the history weighed."""
    losses = {(u, i): -math.log(sigmoid(scores[u, i])) for u, i in places(x)}
    chosen, total = weights(losses), np.zeros(len(x))
    for u, i in np.ndindex(x.shape):
        if x[u, i]:
            total[u] += chosen[u, i] * x[u, i] * losses[u, i]
        else:
            total[u] -= math.log(1.0 - sigmoid(scores[u, i]))
    return total


def multinomial_losses(scores: Matrix, x: Matrix, weights: Weights) -> Matrix:
    """(B,) cross entropies of the items of each history, weighed."""
    shares = np.array([softmax(row) for row in scores])
    losses = {(u, i): -math.log(shares[u, i]) for u, i in places(x)}
    chosen, total = weights(losses), np.zeros(len(x))
    for (u, i), loss in losses.items():
        total[u] += chosen[u, i] * x[u, i] * loss
    return total


def squared_errors(output: Matrix, x: Matrix, weights: Weights) -> Matrix:
    """(B,) mean squared errors, those of the items of the history weighed."""
    losses = {(u, i): 0.5 * (output[u, i] - x[u, i]) ** 2 for u, i in places(x)}
    chosen, total = weights(losses), np.zeros(len(x))
    for u, i in np.ndindex(x.shape):
        total[u] += chosen.get((u, i), 1.0) * (output[u, i] - x[u, i]) ** 2
    return total / x.shape[1]


def double(tensor: torch.Tensor) -> Matrix:
    result: Matrix = tensor.detach().double().numpy()
    return result
