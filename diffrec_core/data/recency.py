"""Recency: weights of history entries by their position or age.

The temporal extension of the paper (section 3.6) weights a user's interactions linearly by
position. Beside it stands decay that is exponential in position or age. All are offered to every
model, since on some data recency of the input is worth more than the model.
"""

from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from diffrec_core.common.config import Config
from diffrec_core.common.trial import Trial
from diffrec_core.data.histories import Histories
from diffrec_core.data.schema import MICROSECONDS_PER_DAY


class RecencyConfig(Config):
    """Weights of history entries; the newest always has the largest."""

    kind: Literal["none", "linear", "exponential_position", "exponential_age"] = "none"
    """none: 1; linear: from weight_min (oldest) to weight_max (newest), as in the paper;
    exponential_*: weight_max halved every `half_life` interactions or days."""

    weight_min: float = Field(default=0.1, ge=0.0)
    """linear: weight of the oldest entry; exponential: no entry gets less."""

    weight_max: float = Field(default=1.0, gt=0.0)
    """Weight of the newest entry."""

    half_life: float = Field(default=5.0, gt=0.0)
    """exponential_position: in interactions; exponential_age: in days."""

    keep_total: bool = False
    """Scale a history's weights to add up to its length, so that the input of a nonlinear network
    is as large as without recency. Linear models rank the same."""

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.weight_min > self.weight_max:
            raise ValueError(
                f"weight_min = {self.weight_min} must not exceed weight_max = {self.weight_max}"
            )
        return self


def recency_weights(histories: Histories, config: RecencyConfig) -> NDArray[np.float32]:
    """(N,) float32 weights, aligned with `histories.items`; multiply them by `histories.weights`.

    >>> linear = RecencyConfig(kind="linear", weight_min=0.0)
    >>> recency_weights(Histories.from_lists([[4, 5, 6], [7]]), linear).tolist()
    [0.0, 0.5, 1.0, 1.0]
    """
    if config.kind == "none":
        return np.ones(len(histories.items), dtype=np.float32)
    weights = _relative_weights(histories, config)
    if config.keep_total:
        total = np.bincount(histories.rows, weights, minlength=len(histories))
        # the newest entry weighs something: only a history without entries has a total of 0
        scale = histories.lengths / np.where(total > 0, total, 1.0)
        weights = weights * scale[histories.rows]
    return weights.astype(np.float32)


def _relative_weights(histories: Histories, config: RecencyConfig) -> NDArray[np.float64]:
    """(N,) weights between weight_min and weight_max."""
    rows, last = histories.rows, np.maximum(histories.offsets[1:] - 1, 0)
    if config.kind == "exponential_age":
        age = histories.timestamps[last[rows]] - histories.timestamps
        halvings = age / MICROSECONDS_PER_DAY / config.half_life
        return _decayed(halvings, config)
    from_newest = last[rows] - np.arange(len(rows))
    if config.kind == "exponential_position":
        return _decayed(from_newest / config.half_life, config)
    # A single entry is the newest one, hence the maximum; the paper's formula is 0/0 there.
    share = from_newest / np.maximum(histories.lengths[rows] - 1, 1)
    weights: NDArray[np.float64] = config.weight_max - share * (
        config.weight_max - config.weight_min
    )
    return weights


def _decayed(halvings: NDArray[np.float64], config: RecencyConfig) -> NDArray[np.float64]:
    return np.maximum(config.weight_max * np.exp2(-halvings), config.weight_min)


def suggest_recency(trial: Trial) -> dict[str, Any]:
    """Settings of `recency` to try: the kind, and its minimum or half-life."""
    kinds = ("none", "linear", "exponential_position", "exponential_age")
    kind = trial.suggest_categorical("recency.kind", kinds)
    values: dict[str, Any] = {"recency.kind": kind}
    if kind == "linear":
        values["recency.weight_min"] = trial.suggest_float("recency.weight_min", 0.0, 0.5)
    elif kind != "none":
        longest = 50.0 if kind == "exponential_position" else 365.0
        name = f"recency.half_life ({kind})"  # entries and days are on different scales
        values["recency.half_life"] = trial.suggest_float(name, 1.0, longest, log=True)
    return values
