"""The discriminator of IRGAN, what it rewards, and the losses of both sides.

Source: Wang et al., "IRGAN: A Minimax Game for Unifying Generative and Discriminative Information
Retrieval Models", SIGIR 2017 (arXiv 1705.10513), equations by their numbers there.

Shapes: B of all users, I items, N entries of their histories, K samples of each user, D embedding.
"""

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import embedding, logsigmoid, softplus

from diffrec_core.nn.negatives import pair_scores
from diffrec_core.nn.sparse_rows import SparseRows

Reward = Literal["log", "sigmoid"]


class Discriminator(nn.Module):
    """f(d, u) = v_u · v_d + b_d; σ(f) is how likely u has d (eq. 2; section 4.2).

    It is needed in training alone, so that its users may have vectors of their own.
    """

    def __init__(self, n_users: int, n_items: int, dim: int) -> None:
        super().__init__()
        scale = 0.1 * dim**-0.5  # nearly undecided: f is about 0
        self.users = nn.Parameter(torch.randn(n_users, dim) * scale)
        self.items = nn.Parameter(torch.randn(n_items, dim) * scale)
        self.bias = nn.Parameter(torch.zeros(n_items))

    def forward(self, users_B: Tensor, items_BK: Tensor) -> Tensor:
        """(B, K) f of each user's items."""
        user_BD = embedding(users_B, self.users)
        return pair_scores(user_BD, self.items, items_BK) + self.bias[items_BK]


def reward(f_BK: Tensor, kind: Reward) -> Tensor:
    """Reward the generator's items: ln(1 + exp f) (eq. 5), or 2 σ(f) - 1 (section 3.2)."""
    return softplus(f_BK) if kind == "log" else 2.0 * f_BK.sigmoid() - 1.0


def advantages(rewards_BK: Tensor, ratios_BK: Tensor) -> Tensor:
    """Each reward less a baseline that does not depend on its own draw (section 2.3).

    The baseline of a draw is the importance-weighted mean reward of the K - 1 others, an estimate
    of E_p[reward]: the gradient's mean is the same, its variance is less.

    Returns:
        (B, K); of a single draw, the reward itself.
    """
    count = rewards_BK.shape[1]
    if count == 1:
        return rewards_BK
    weighted_BK = rewards_BK * ratios_BK
    others_BK = weighted_BK.sum(dim=1, keepdim=True) - weighted_BK
    return rewards_BK - others_BK / (count - 1)


def policy_loss(
    log_probability_BI: Tensor, items_BK: Tensor, ratios_BK: Tensor, rewards_BK: Tensor
) -> Tensor:
    """Sum over users of a loss whose gradient is that of -E_p[reward], estimated (eq. 5).

    ∇ E_p[r] = E_p[∇ ln p(d) r(d)] ≈ 1/K Σ_k ratio_k ∇ ln p(d_k) (r(d_k) - baseline_k).
    """
    chosen_BK = log_probability_BI.gather(1, items_BK)
    advantage_BK = advantages(rewards_BK, ratios_BK) * ratios_BK
    return -(chosen_BK * advantage_BK.detach()).mean(dim=1).sum()


def discriminator_loss(own_BK: Tensor, fakes_BK: Tensor) -> Tensor:
    """Sum over users of -mean ln σ(f(own)) - mean ln(1 - σ(f(fake))) (eq. 3)."""
    return -(logsigmoid(own_BK) + logsigmoid(-fakes_BK)).mean(dim=1).sum()


def likelihood_loss(log_probability_BI: Tensor, rows: SparseRows) -> Tensor:
    """Sum over users of the mean -ln p of their items: maximum likelihood, for pre-training."""
    chosen_N = log_probability_BI.view(-1)[rows.positions]
    return -(chosen_N * rows.offsets.diff().reciprocal()[rows.rows]).sum()
