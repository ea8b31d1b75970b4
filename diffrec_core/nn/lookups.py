"""Rows of a table by index, and scores of pairs of rows, with fast and repeatable gradients.

The gradient of a look-up adds up, for each row of the table, what came back from its uses.
Sorted by row, that is an embedding bag: 10 to 50 times as fast on CPU as what autograd does with
one look-up, and added up in a fixed order on every device.
"""

import torch
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx


def take_rows(table_ND: Tensor, rows_B: Tensor) -> Tensor:
    """(B, D): the rows of a table with the given indices."""
    result: Tensor = _TakeRows.apply(table_ND, rows_B)  # type: ignore[no-untyped-call]
    return result


def pair_scores(left_BD: Tensor, right_ND: Tensor, rows_BK: Tensor) -> Tensor:
    """(B, K): the inner product of row b on the left with row `rows_BK[b, k]` on the right."""
    result: Tensor = _PairScores.apply(left_BD, right_ND, rows_BK)  # type: ignore[no-untyped-call]
    return result


class _TakeRows(torch.autograd.Function):
    """table[rows], with the gradient summed by row."""

    @staticmethod
    def forward(ctx: FunctionCtx, table_ND: Tensor, rows_B: Tensor) -> Tensor:
        ctx.rows, ctx.n_rows = rows_B, len(table_ND)  # type: ignore[attr-defined]
        return nn.functional.embedding(rows_B, table_ND)

    @staticmethod
    def backward(ctx: FunctionCtx, grad_BD: Tensor) -> tuple[Tensor, None]:
        rows_B: Tensor = ctx.rows  # type: ignore[attr-defined]
        sources = torch.arange(len(rows_B), device=rows_B.device)
        n_rows: int = ctx.n_rows  # type: ignore[attr-defined]
        return _sums(rows_B, sources, None, grad_BD.contiguous(), n_rows), None


class _PairScores(torch.autograd.Function):
    """left · right[rows]; the (B, K, D) products live in the forward pass only."""

    @staticmethod
    def forward(ctx: FunctionCtx, left_BD: Tensor, right_ND: Tensor, rows_BK: Tensor) -> Tensor:
        ctx.save_for_backward(left_BD, right_ND, rows_BK)
        return (nn.functional.embedding(rows_BK, right_ND) * left_BD[:, None]).sum(dim=-1)

    @staticmethod
    def backward(ctx: FunctionCtx, grad_BK: Tensor) -> tuple[Tensor, Tensor, None]:
        left_BD, right_ND, rows_BK = ctx.saved_tensors  # type: ignore[attr-defined]
        grad_BK = grad_BK.contiguous()
        left_grad = nn.functional.embedding_bag(
            rows_BK, right_ND, mode="sum", per_sample_weights=grad_BK
        )
        sources = torch.arange(len(left_BD), device=left_BD.device)
        sources = sources.repeat_interleave(rows_BK.shape[1])
        return (
            left_grad,
            _sums(rows_BK.ravel(), sources, grad_BK.ravel(), left_BD, len(right_ND)),
            None,
        )


def _sums(
    targets_E: Tensor, sources_E: Tensor, weights_E: Tensor | None, table_BD: Tensor, n_targets: int
) -> Tensor:
    """(n_targets, D): row t is Σ weights[e] table[sources[e]] over the e with targets[e] = t."""
    targets_E, order_E = targets_E.sort(stable=True)
    every = torch.arange(n_targets, device=targets_E.device)
    return nn.functional.embedding_bag(
        sources_E[order_E],
        table_BD,
        torch.searchsorted(targets_E, every),
        mode="sum",
        per_sample_weights=None if weights_E is None else weights_E[order_E],
    )
