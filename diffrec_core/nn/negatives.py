"""Bayesian personalised ranking: negatives, scores and losses of a positive against them."""

import numpy as np
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import embedding, softplus

from diffrec_core.data.histories import Histories


class NegativeSampler:
    """Draws items that a user does not have, uniformly, each with one binary search.

    Let s_0 < s_1 < … be the user's items in `positives`. Item r + #{k: s_k - k <= r} is the r-th,
    from 0, that the user does not have: no draw collides and none is repeated.
    """

    def __init__(self, positives: Histories, n_items: int) -> None:
        keys = np.unique(positives.rows * n_items + positives.items)
        users = keys // n_items
        degree = np.bincount(users, minlength=len(positives))
        self._n_items = n_items
        self._first = np.concatenate([[0], np.cumsum(degree)])[:-1]
        self._gaps = keys - (np.arange(len(keys)) - self._first[users])
        # who has everything has no negative: any item must do
        self._choices = np.where(degree < n_items, n_items - degree, n_items)

    def draw(
        self, users: NDArray[np.int64], count: int, rng: np.random.Generator
    ) -> NDArray[np.int64]:
        """Draw (B, count) items, each independently, for (B,) users."""
        nth = (rng.random((len(users), count)) * self._choices[users, None]).astype(np.int64)
        keys = users[:, None] * self._n_items + nth
        passed = np.searchsorted(self._gaps, keys.ravel(), side="right").reshape(keys.shape)
        result: NDArray[np.int64] = (nth + passed - self._first[users, None]) % self._n_items
        return result


def pair_scores(left_BD: Tensor, right_ND: Tensor, rows_BK: Tensor) -> Tensor:
    """(B, K): the inner product of row b on the left with row `rows_BK[b, k]` on the right."""
    return (embedding(rows_BK, right_ND) * left_BD[:, None]).sum(dim=-1)


def bpr_loss(scores_BK: Tensor) -> Tensor:
    """Mean -ln σ(positive - negative) over all pairs (Rendle et al., eq. BPR-Opt).

    Args:
        scores_BK: the positive's score in column 0, its negatives' after it.
    """
    return softplus(scores_BK[:, 1:] - scores_BK[:, :1]).mean()


def softmax_loss(scores_BK: Tensor) -> Tensor:
    """Mean -ln of the positive's softmax among its negatives: hard negatives weigh more.

    Args:
        scores_BK: as for `bpr_loss`; with one negative the two losses are equal.
    """
    return -scores_BK.log_softmax(dim=1)[:, 0].mean()
