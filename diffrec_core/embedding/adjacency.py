"""The symmetrically normalised user-item graph, both directions, and propagation over it."""

import warnings

import numpy as np
import torch
from scipy import sparse
from torch import Tensor
from torch.autograd.function import FunctionCtx

from diffrec_core.data.histories import Histories
from diffrec_core.data.user_item_matrix import user_item_matrix


def normalised_adjacency(histories: Histories, n_items: int) -> Tensor:
    """Build Â = D^-½ A D^-½ of the bipartite graph (LightGCN, eq. 3 and 8).

    Every interaction is an edge in both directions: with one direction only, the degree of one
    side is 0 and nothing propagates. Nodes without edges have zero rows.

    Returns:
        (N, N) sparse CSR float32, symmetric, users before items.
    """
    x_UI = user_item_matrix(histories, n_items)
    adjacency = sparse.bmat([[None, x_UI], [x_UI.T, None]], format="csr", dtype=np.float64)
    degree = np.asarray(adjacency.sum(axis=1)).ravel()
    scale = np.divide(1.0, np.sqrt(degree), out=np.zeros_like(degree), where=degree > 0)
    normalised = (sparse.diags(scale) @ adjacency @ sparse.diags(scale)).tocsr()
    normalised.sort_indices()
    with warnings.catch_warnings():  # "sparse CSR support is in beta": the tests watch over it
        warnings.simplefilter("ignore", UserWarning)
        return torch.sparse_csr_tensor(
            torch.from_numpy(normalised.indptr.astype(np.int64)),
            torch.from_numpy(normalised.indices.astype(np.int64)),
            torch.from_numpy(normalised.data.astype(np.float32)),
            size=normalised.shape,
            check_invariants=True,
        )


class _Propagate(torch.autograd.Function):
    """Â E, with the gradient Â G: Â is its own transpose, which autograd does not know."""

    @staticmethod
    def forward(
        ctx: torch.autograd.function.FunctionCtx, adjacency: Tensor, e_ND: Tensor
    ) -> Tensor:
        ctx.adjacency = adjacency  # type: ignore[attr-defined]
        return adjacency @ e_ND

    @staticmethod
    def backward(ctx: FunctionCtx, grad_ND: Tensor) -> tuple[None, Tensor]:
        adjacency: Tensor = ctx.adjacency  # type: ignore[attr-defined]
        return None, adjacency @ grad_ND


def propagate(adjacency: Tensor, e_ND: Tensor, layers: int) -> list[Tensor]:
    """Return the embeddings of layers 0 … L; layer l + 1 is Â times layer l (eq. 3)."""
    outputs = [e_ND]
    for _ in range(layers):
        outputs.append(_Propagate.apply(adjacency, outputs[-1]))  # type: ignore[no-untyped-call]
    return outputs
