"""Slow oracles of the networks and of the linear models: loops and dense matrices in float64.

Sources: DiffRec (arXiv 2304.04971) section 3; Vaswani et al. 2017, section 3.5; Liang et al. 2018
(Mult-VAE) eq. 2; LightGCN (arXiv 2002.02126) eq. 3, 4 and 8; Rendle et al. 2009 (BPR); Steck 2019
(EASE) section 3.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from diffrec_core.models.diffrec.denoiser import Denoiser
from diffrec_core.nn.sparse_rows import SparseRows

Matrix = NDArray[np.float64]

ACTIVATIONS: dict[str, Callable[[float], float]] = {
    "tanh": math.tanh,
    "relu": lambda x: max(x, 0.0),
    "sigmoid": lambda x: 1.0 / (1.0 + math.exp(-x)),
    "leaky_relu": lambda x: x if x > 0 else 0.01 * x,
}


def activate(name: str, x: Matrix) -> Matrix:
    """An activation, number by number."""
    return np.array([[ACTIVATIONS[name](float(value)) for value in row] for row in x])


def affine(layer: nn.Linear, x: Matrix) -> Matrix:
    """W x + b of each row in float64."""
    weight, bias = (part.detach().cpu().double().numpy() for part in (layer.weight, layer.bias))
    return np.array([[w @ row + b for w, b in zip(weight, bias, strict=True)] for row in x])


def timestep_features(t: int, dim: int) -> list[float]:
    """Cosines, then sines, of t / 10000^(i / half); a last 0 if `dim` is odd."""
    half = dim // 2
    angles = [t / 10_000 ** (i / half) for i in range(half)]
    features = [math.cos(a) for a in angles] + [math.sin(a) for a in angles]
    return features + [0.0] * (dim - 2 * half)


def denoised(  # a plain function of everything that the docstrings promise
    embedding: nn.Linear,
    layers: Sequence[nn.Linear],
    x: Matrix,
    steps: Sequence[int],
    *,
    activation: str,
    normalize: bool,
) -> Matrix:
    """f_θ(x_t, t) from its layers: input and embedded timestep side by side, no dropout."""
    features = np.array([timestep_features(t, embedding.in_features) for t in steps])
    if normalize:
        x = np.array([row / math.sqrt(sum(v * v for v in row)) for row in x])
    hidden = np.concatenate([x, affine(embedding, features)], axis=1)
    for number, layer in enumerate(layers):
        hidden = affine(layer, hidden)
        if number < len(layers) - 1:
            hidden = activate(activation, hidden)
    return hidden


def linears(module: nn.Module) -> list[nn.Linear]:
    """The linear layers of a module, first to last."""
    return [layer for layer in module.modules() if isinstance(layer, nn.Linear)]


def denoiser_layers(denoiser: Denoiser) -> list[nn.Linear]:
    """From the input to the output; the first sees x_t and the embedded timestep side by side."""
    parts = denoiser.first, denoiser.first_of_t
    weight = torch.cat([part.weight for part in parts], dim=1)
    first = nn.Linear(weight.shape[1], weight.shape[0], device="meta")
    first.weight, first.bias = nn.Parameter(weight.detach()), denoiser.first.bias
    return [first, *linears(denoiser.rest)]


def sparse(x: Matrix, device: str = "cpu") -> SparseRows:
    """The entries of x that are not 0, row by row."""
    filled = x != 0
    return SparseRows(
        torch.from_numpy(np.concatenate([[0], np.cumsum(filled.sum(axis=1))])).to(device),
        torch.from_numpy(np.nonzero(filled)[1]).to(device),
        torch.from_numpy(x[filled]).to(torch.float32).to(device),
        x.shape[1],
    )


def encoder_layers(encoder: Any) -> list[nn.Linear]:
    """The layers of one category's encoder; the first is kept as a table, input by output."""
    first = nn.Linear(*encoder.table.shape)
    first.weight.data, first.bias.data = encoder.table.detach().T, encoder.bias.detach()
    return [first, *linears(encoder)]


def members(categories: Sequence[int]) -> list[list[int]]:
    """The items of each category, in vocabulary order."""
    return [
        [item for item, category in enumerate(categories) if category == c]
        for c in range(max(categories) + 1)
    ]


def encoded(vae: Any, categories: Sequence[int], x: Matrix) -> tuple[Matrix, Matrix]:
    """Means and log-variances: category by category, an activation after every layer."""
    means, log_variances = [], []
    for encoder, items in zip(vae.encoders, members(categories), strict=True):
        hidden = x[:, items]
        for layer in encoder_layers(encoder):
            hidden = activate(vae.config.vae_activation, affine(layer, hidden))
        half = hidden.shape[1] // 2
        means.append(hidden[:, :half])
        log_variances.append(hidden[:, half:])
    return np.concatenate(means, axis=1), np.concatenate(log_variances, axis=1)


def decoded(vae: Any, categories: Sequence[int], z: Matrix) -> Matrix:
    """Scores by item: each decoder speaks of its items in vocabulary order."""
    groups, scores = members(categories), np.full((len(z), len(categories)), np.nan)
    if not vae.config.decoder_dims:  # one layer from all of z to all items
        (layer,) = linears(vae.decoders)
        return affine(layer, z)
    start = 0
    for decoder, items in zip(vae.decoders, groups, strict=True):
        layers = linears(decoder)
        hidden = z[:, start : start + layers[0].in_features]
        start += layers[0].in_features
        for number, layer in enumerate(layers):
            hidden = affine(layer, hidden)
            if number < len(layers) - 1:
                hidden = activate(vae.config.vae_activation, hidden)
        scores[:, items] = hidden
    return scores


def multinomial(scores: Matrix, x: Matrix) -> list[float]:
    """-Σ_i x_i ln π_i with π the softmax of the scores (Mult-VAE eq. 2)."""
    result = []
    for score_row, x_row in zip(scores, x, strict=True):
        total = sum(math.exp(s) for s in score_row)
        result.append(
            -sum(
                value * math.log(math.exp(s) / total)
                for s, value in zip(score_row, x_row, strict=True)
            )
        )
    return result


def adjacency(histories: Sequence[Sequence[int]], n_items: int) -> Matrix:
    """Dense D^-½ A D^-½ of the two-way graph, users first (LightGCN eq. 8)."""
    n_users = len(histories)
    degree = [0] * (n_users + n_items)
    edges = [(user, n_users + item) for user, row in enumerate(histories) for item in row]
    for user, item in edges:
        degree[user] += 1
        degree[item] += 1
    matrix = np.zeros((n_users + n_items, n_users + n_items))
    for user, item in edges:
        weight = 1.0 / (math.sqrt(degree[user]) * math.sqrt(degree[item]))
        matrix[user, item] = matrix[item, user] = weight
    return matrix


def layers_of(
    histories: Sequence[Sequence[int]], n_items: int, embeddings: Matrix, depth: int
) -> list[Matrix]:
    """Layers 0 … L by eq. 3, node by node: a sum over neighbours, divided by √degree of both."""
    n_users = len(histories)
    neighbours: list[list[int]] = [[n_users + item for item in row] for row in histories]
    neighbours += [[] for _ in range(n_items)]
    for user, row in enumerate(histories):
        for item in row:
            neighbours[n_users + item].append(user)
    layers = [embeddings.astype(np.float64)]
    for _ in range(depth):
        below, above = layers[-1], np.zeros(embeddings.shape)
        for node, others in enumerate(neighbours):
            for other in others:
                size = math.sqrt(len(others)) * math.sqrt(len(neighbours[other]))
                above[node] += below[other] / size
        layers.append(above)
    return layers


def scores_without_own_layer(
    layers: Sequence[Matrix], n_users: int, *, user_layers: slice
) -> Matrix:
    """Scores of known users: their propagated layers times the items' read-out (eq. 4 and 7)."""
    depth = len(layers)
    user_side = sum(layer[:n_users] for layer in layers[user_layers]) / depth
    item_side = sum(layer[n_users:] for layer in layers) / depth
    return np.array([[float(user @ item) for item in item_side] for user in user_side])


def bpr(user: Matrix, positive: Matrix, negative: Matrix) -> float:
    """Mean of -ln σ(ŷ_ui - ŷ_uj) over the triples."""
    total = 0.0
    for u, i, j in zip(user, positive, negative, strict=True):
        difference = float(u @ i) - float(u @ j)
        total += math.log1p(math.exp(-difference))
    return total / len(user)


def dense_propagation(matrix: Tensor, embeddings: Tensor, depth: int) -> list[Tensor]:
    """Layers by dense products that autograd differentiates by itself."""
    layers = [embeddings]
    for _ in range(depth):
        layers.append(torch.einsum("nm,md->nd", matrix, layers[-1]))
    return layers


def ease_weights(x: Matrix, l2: float) -> Matrix:
    """B column by column: ridge regression of item j on all the others, B_jj = 0 by omission."""
    n_items = x.shape[1]
    result = np.zeros((n_items, n_items))
    for j in range(n_items):
        others = [i for i in range(n_items) if i != j]
        penalty = math.sqrt(l2) * np.eye(len(others))
        design = np.concatenate([x[:, others], penalty])
        target = np.concatenate([x[:, j], np.zeros(len(others))])
        result[others, j] = np.linalg.lstsq(design, target, rcond=None)[0]
    return result


def ease_weights_by_lagrangian(x: Matrix, l2: float) -> Matrix:
    """The same from the stationary point of the Lagrangian: one bordered system for each column."""
    n_items = x.shape[1]
    gram = x.T @ x
    result = np.zeros((n_items, n_items))
    for j in range(n_items):
        unit = np.zeros(n_items)
        unit[j] = 1.0
        system = np.zeros((n_items + 1, n_items + 1))
        system[:n_items, :n_items] = gram + l2 * np.eye(n_items)
        system[:n_items, n_items] = system[n_items, :n_items] = unit
        result[:, j] = np.linalg.solve(system, np.append(gram[:, j], 0.0))[:n_items]
    return result
