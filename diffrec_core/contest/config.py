"""The sections `gate` and `publish` of params.yaml."""

from typing import Annotated, Self

from pydantic import Field, model_validator

from diffrec_core.common.config import Config, StringTuple
from diffrec_core.evaluation.metrics import MetricKey, split_key


class GuardsConfig(Config):
    """Limits besides accuracy. Ratios are to the champion, if there is one."""

    min_coverage_ratio: float = Field(default=0.8, ge=0.0)
    """Different recommended items, in relation to the champion's."""

    min_served_share: float = Field(default=0.9, ge=0.0, le=1.0)
    """Share of the users whose answer comes from their history; popularity answers the others, of
    whose items the model knows none."""

    max_popularity_ratio: float = Field(default=1.25, gt=0.0)
    """Mean popularity of the recommended items, in relation to the champion's."""

    max_latency_ratio: float = Field(default=10.0, gt=0.0)
    """Time per user, in relation to the champion's. Wide, since machines are noisy and a linear
    model is much faster than any network."""

    max_latency_ms: float = Field(default=50.0, gt=0.0)
    """Milliseconds per user, scored in requests of many users."""

    max_size_mib: float = Field(default=2048.0, gt=0.0)
    """Size of the model directory."""

    max_rejected_share: float = Field(default=0.01, ge=0.0, le=1.0)
    """Share of the raw rows that `ingest` rejected."""

    min_seed_sds: float = Field(default=1.0, ge=0.0)
    """If the run trained its winner from several seeds: the difference in standard deviations over
    them. A smaller one may be due to the seed."""

    allowed_flags: StringTuple = ("popularity_drift", "history_drift")
    """Flags of data quality that do not block a candidate; every other flag does. A real drift
    calls for a new model."""


class GateConfig(Config):
    """Section `gate` of params.yaml: metric, margin, confidence, users and guards."""

    metric: MetricKey = "recall@20"
    """The accuracy metric that is compared."""

    margin: float = Field(default=0.0, ge=0.0)
    """The difference of the means, in the metric's own unit, that must be exceeded."""

    confidence_level: float = Field(default=0.95, gt=0.5, lt=1.0)
    """Of the one-sided lower bound of the difference."""

    resamples: int = Field(default=10_000, ge=100)
    """Of the paired bootstrap over users."""

    min_users: int = Field(default=100, ge=1)
    """With fewer users in the window, the comparison is refused."""

    max_users: int = Field(default=20_000, ge=1)
    """Sample at most this many users, which bounds the time of the gate."""

    target_share: float = Field(default=0.5, gt=0.0, le=1.0)
    """Share of a user's interactions in the window, the latest, that are to be predicted."""

    guards: GuardsConfig = GuardsConfig()
    """Limits besides accuracy."""

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.max_users < self.min_users:
            raise ValueError(
                f"max_users = {self.max_users} must be at least min_users = {self.min_users}"
            )
        return self

    @property
    def k(self) -> int:
        """Number of recommended items that are compared."""
        return split_key(self.metric)[1]

    @property
    def metric_name(self) -> str:
        """The metric without its k."""
        return split_key(self.metric)[0]


class ContestConfig(Config):
    """Section `contest`: what a night decides by, and on how much evidence."""

    metric: MetricKey = "ndcg@20"
    """The accuracy metric that is compared. Differences of ndcg vary less between users than those
    of recall, so the same users tell more."""

    odds: float = Field(default=20.0, gt=1.0)
    """Evidence at which a challenger becomes champion, as odds to 1. 60 hardly ever errs, 10 is
    quick. With more than 3 challengers, odds · challengers / 3 are asked for."""

    horizon_nights: int = Field(default=60, ge=9)
    """The newest nights that count. Fewer notice sooner that the order of recipes has turned, and
    switch more often between equal ones."""

    margin: float = Field(default=0.0, ge=0.0)
    """The mean advantage, in the metric's own unit, that must be exceeded."""

    challengers: int = Field(default=3, ge=1)
    """At most so many recipes are compared with the champion's."""

    min_users: int = Field(default=50, ge=2)
    """A night with fewer users is added to those after it until there are so many."""


Share = Annotated[float, Field(ge=0.0, le=1.0)]


class PublishConfig(Config):
    """Bounds of what a new table of recommendations may change in the current one.

    A value at its bound is kept; null: no bound.
    """

    max_lost_share: Share | None = 0.1
    """Users of the current table who are not in the new one. A window that moves loses a few a
    day; a tenth at once is a lost part of the log, or ids that changed."""

    max_new_share: Annotated[float, Field(ge=0.0)] | None = 1.0
    """Users who are not in the current table, in relation to it: more than as many again are ids
    that changed, or bots."""

    min_rows_ratio: Annotated[float, Field(ge=0.0)] | None = 0.8
    """Rows, in relation to the current table's: with the users who may be lost, a further tenth by
    shorter lists."""

    min_overlap: Share | None = 0.5
    """Mean overlap of the users' top 20, where both tables are of one recipe. A week apart it is
    0.87 to 0.96 on the sample: half of all items exchanged is no new day of data."""

    min_coverage_ratio: Annotated[float, Field(ge=0.0)] | None = 0.7
    """Different items, in relation to the current table's. Below `gate.guards.min_coverage_ratio`,
    which is of a sample of users, so that what the gate has promoted is not refused by chance."""

    max_popularity_rise: Share | None = 0.1
    """By how much the share of users answered by popularity may rise; of their history the model
    knows no item. As many as `gate.guards.min_served_share` lets a candidate leave out."""
