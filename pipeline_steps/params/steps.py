"""Sections of params.yaml that belong to steps, not to a part of the library."""

import re
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, Strict

from diffrec_core.common.config import Config, StringTuple
from diffrec_core.data.seen import Repeats


class RefitConfig(Config):
    """Data of the final training."""

    hold_out_test: bool = False
    """Leave the test part out, so that models can be compared on data that none has seen."""


class RegisterConfig(Config):
    """Names in the registry."""

    experiment: str = Field(default="diffrec", min_length=1)
    model_name: str = Field(default="diffrec", min_length=1)
    alias: str = Field(default="champion", min_length=1)
    """champion: serve it at once; challenger: leave that to the gate."""


class RecommendConfig(Config):
    """The table of recommendations, and the answers of a registered version."""

    k: int = Field(default=20, ge=1)
    """Items per user; fewer where a user has seen nearly everything."""

    batch_size: int = Field(default=1024, ge=1)
    """Users scored at a time; does not change results."""

    repeats: Repeats = "never"
    """Whether what a user has seen (build_interactions.seen_event_types) may be recommended again:
    never, allowed, or a number, so many days after the user met it last."""


class AppliedPreset(Config):
    """Section `preset`: written by `use-preset`, read by the next one."""

    name: str
    """The preset whose values params.yaml has now."""

    base: str | None = None
    """Of `tuned`: the preset that its values lie over."""

    before: dict[str, Any] = Field(default_factory=dict)
    """The values that it replaced, by dotted key."""


def _check_budget(value: object) -> object:
    whole = isinstance(value, int) and not isinstance(value, bool) and value >= 1
    if whole or (isinstance(value, str) and re.fullmatch(r"[1-9][0-9]*[smh]", value)):
        return value
    raise ValueError(
        "is neither a number of trials, such as 20, nor a time, such as 90s, 10m or 2h"
    )


class TuneConfig(Config):
    """Budget of a tuning study; the same for every model."""

    budget: Annotated[int | str, BeforeValidator(_check_budget)] = 20
    """Settings to try, those of params.yaml first; or a time, such as 90s, 10m or 2h: after it no
    trial begins, and the one under way ends at its next validation if another is complete."""

    @property
    def trials(self) -> int | None:
        """Trials of each model; None: there is a time instead.

        >>> TuneConfig().trials, TuneConfig(budget="10m").trials
        (20, None)
        """
        return self.budget if isinstance(self.budget, int) else None

    @property
    def seconds(self) -> float | None:
        """Seconds for the trials of each model; None: there is a number of trials instead.

        >>> TuneConfig().seconds, TuneConfig(budget="10m").seconds
        (None, 600.0)
        """
        if isinstance(self.budget, int):
            return None
        return int(self.budget[:-1]) * {"s": 1.0, "m": 60.0, "h": 3600.0}[self.budget[-1]]


Shares = Annotated[
    tuple[Annotated[float, Field(gt=0.0, le=5.0)], ...], Strict(strict=False), Field(max_length=20)
]


class RobustnessConfig(Config):
    """Models to retrain, and the noise to retrain them on."""

    models: Annotated[StringTuple, Field(min_length=1)] = ("ease", "diffrec", "l_diffrec")
    """Entries under `train`."""

    random_shares: Shares = (0.1, 0.2, 0.3, 0.4, 0.5)
    """Random pairs added, as shares of the number of interactions."""

    natural: bool = True
    """Also add the events with a value below `build_interactions.min_value`."""

    seeds: int = Field(default=3, ge=1)
    """Fits of each model on each noise, for the error bars."""


class NightlyConfig(Config):
    """Overrides for scheduled runs."""

    window_days: Annotated[int, Field(ge=1)] | None = None
    """Days of data before the end of the window; null: all."""

    params: dict[str, dict[str, Any]] = Field(default_factory=dict)
    """Sections that override those of this file."""
