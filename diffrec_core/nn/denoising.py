"""Adaptive denoising training: interactions that a model finds unlikely count less, or not at all.

Source: Wang, Feng, He, Nie & Chua, "Denoising Implicit Feedback for Recommendation", WSDM 2021:
noisy interactions are those that are hard to fit early in training. Of the interactions of a batch
(the positives; what a user does not have is as before)

  truncated (T-CE)    those with the largest losses get the weight 0, a share
                      ε(t) = min(α t, ε_max) of them in the batch's step t,
  reweighted (R-CE)   each gets the weight p^β, p being the probability that it is given.

With the cross entropy -ln p, p^β = exp(-β loss): that is how the weight carries over to every loss
that is a negative log-likelihood of single interactions, up to a constant:

  logistic      -ln σ(s), the paper's own; SASRec's next item against its negatives too;
  multinomial   -ln softmax(s)_i, p being the share of the whole catalogue that the item gets, so
                that weights fall with the size of the catalogue, and the loss with them;
  Gaussian      ½ (x̂ - x)², the squared error of DiffRec, p being relative to its maximum.

Weights are constants to the gradient. Several processes weigh their parts of a batch each.
Shapes: B users, N entries of a batch.
"""

from collections.abc import Callable
from typing import Any, Literal

import torch
from pydantic import Field
from torch import Tensor

from diffrec_core.common.config import Config
from diffrec_core.common.trial import Trial
from diffrec_core.nn.sparse_rows import SparseRows

Reweigh = Callable[[Tensor, Tensor], Tensor]
"""(N,) losses of single interactions and (N,) weights to (N,) new weights."""


class DenoisingConfig(Config):
    """Which interactions count less, and by how much."""

    kind: Literal["none", "truncated", "reweighted"] = "none"
    """Interactions with large losses: as all others, left out, or weighed less."""

    drop_rate_max: float = Field(default=0.1, gt=0.0, lt=1.0)
    """`truncated`: ε_max, the share of a batch's interactions that is left out in the end."""

    drop_rate_anneal_steps: int = Field(default=500, ge=0)
    """`truncated`: the share rises by ε_max / this = α per batch; 0: it starts at ε_max."""

    exponent: float = Field(default=0.2, ge=0.0)
    """`reweighted`: β; 0 weighs all alike."""


def suggest_denoising(trial: Trial) -> dict[str, Any]:
    """For models that offer it: data tell whether their interactions are to be trusted."""
    kind = trial.suggest_categorical("denoising.kind", ("none", "truncated", "reweighted"))
    values: dict[str, Any] = {"denoising.kind": kind}
    if kind == "truncated":
        key = "denoising.drop_rate_max"
        values[key] = trial.suggest_float(key, 0.01, 0.5, log=True)
    elif kind == "reweighted":
        key = "denoising.exponent"
        values[key] = trial.suggest_float(key, 0.03, 1.0, log=True)
    return values


def reweighing(config: DenoisingConfig, step: int) -> Reweigh | None:
    """Return the reweighing of a 0-based step, counted over all epochs; None: no reweighing."""
    if config.kind == "none":
        return None
    if config.kind == "reweighted":
        return lambda losses, weights: weights * torch.exp(-config.exponent * losses)
    rate = config.drop_rate_max
    if config.drop_rate_anneal_steps:
        rate *= min(1.0, step / config.drop_rate_anneal_steps)
    return lambda losses, weights: truncated(losses, weights, rate)


def truncated(losses: Tensor, weights: Tensor, rate: float) -> Tensor:
    """Set the weights of the largest losses to 0.

    Args:
        losses: (N,).
        weights: (N,); what weighs nothing is no interaction, and is not counted.
        rate: share of the interactions, rounded down; of equal losses the first are left out.

    >>> truncated(torch.tensor([1.0, 3.0, 2.0]), torch.ones(3), 0.4).tolist()
    [1.0, 0.0, 1.0]
    """
    counted = weights != 0
    n_dropped = (rate * counted.sum()).floor()
    order = losses.where(counted, -torch.inf).argsort(descending=True, stable=True)
    kept = torch.arange(len(order), device=order.device) >= n_dropped
    return weights.where(torch.empty_like(kept).scatter_(0, order, kept), 0.0)


def denoised(
    histories: SparseRows, losses: Callable[[], Tensor], reweigh: Reweigh | None
) -> SparseRows:
    """Return the histories that the loss is to explain.

    Args:
        histories: B rows.
        losses: tells the (N,) loss of each of their entries, apart from its weight.
        reweigh: from `reweighing`; None returns the histories as they are.
    """
    if reweigh is None:
        return histories
    with torch.no_grad():
        return histories.with_weights(reweigh(losses(), histories.weights))
