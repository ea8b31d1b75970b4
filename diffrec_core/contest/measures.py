"""Measures of a model's answers: the metric of each user, and the values that guards check."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain, islice

import numpy as np
import polars as pl
from numpy.typing import NDArray

from diffrec_core.common.errors import DataError
from diffrec_core.contest.cases import ITEMS, SEEN_BESIDES, TARGETS, Window
from diffrec_core.contest.config import GateConfig
from diffrec_core.data.histories import Histories
from diffrec_core.data.schema import ITEM_ID, TIMESTAMP, USER_ID
from diffrec_core.evaluation.items import NO_ITEM
from diffrec_core.evaluation.metrics import hits, per_user_metrics


@dataclass(frozen=True, slots=True)
class Answers:
    """A model's answers to U cases, in their order.

    Attributes:
        item_ids: external ids, best first, without items of the history.
        sources: `history`, or `popularity` where the model knew no item of the history.
        seconds_per_user: latency; None if not measured.
        size_bytes: of the model directory; None if not measured.
    """

    item_ids: Sequence[Sequence[str]]
    sources: Sequence[str]
    seconds_per_user: float | None = None
    size_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class PriorPopularity:
    """Popularity of the items before the window.

    Attributes:
        shares: of the users who had the item, by its id; items without an interaction are absent.
        n_items: in the whole data.
    """

    shares: dict[str, float]
    n_items: int


@dataclass(frozen=True, slots=True)
class Measures:
    """Measures of one model.

    Attributes:
        per_user: (U,) the metric.
        coverage: share of all items that are recommended to at least one user.
        served_share: of the users whose answer comes from their history.
        popularity: mean over users of the mean popularity of their recommendations.
        latency_ms: per user; None if not measured.
        size_mib: of the model directory; None if not measured.
    """

    per_user: NDArray[np.float64]
    coverage: float
    served_share: float
    popularity: float
    latency_ms: float | None = None
    size_mib: float | None = None


def popularity_before(facts: pl.DataFrame, window: Window) -> PriorPopularity:
    """Share of the users who had each item before the window; of `cases.by_external_ids`."""
    before = facts.filter(pl.col(TIMESTAMP) < window.start)
    users = max(1, before[USER_ID].n_unique())
    counts = before.group_by(ITEM_ID).agg(pl.col(USER_ID).n_unique())
    shares = {item: count / users for item, count in counts.iter_rows()}
    return PriorPopularity(shares, facts[ITEM_ID].n_unique())


def most_popular(cases: pl.DataFrame, prior: PriorPopularity, k: int) -> Answers:
    """Answer each case with the k most popular items that the user has not seen.

    Equally popular items are in the order of their ids.
    """
    ranked = sorted(prior.shares, key=lambda item: (-prior.shares[item], item))
    known = ({*items, *besides} for items, besides in cases.select(ITEMS, SEEN_BESIDES).iter_rows())
    answers = [list(islice((i for i in ranked if i not in seen), k)) for seen in known]
    return Answers(answers, ["popularity"] * len(answers))


def measure(
    answers: Answers, cases: pl.DataFrame, prior: PriorPopularity, config: GateConfig
) -> Measures:
    """Compare answers with the targets of the cases; an unknown target counts as a miss.

    Raises:
        DataError: the answers are not as many as the cases.
    """
    if not len(answers.item_ids) == len(answers.sources) == len(cases):
        raise DataError(f"{len(answers.item_ids)} answers to {len(cases)} cases")
    top = [list(items[: config.k]) for items in answers.item_ids]
    served = [
        source == "history" and bool(items)
        for source, items in zip(answers.sources, top, strict=True)
    ]
    seconds, size = answers.seconds_per_user, answers.size_bytes
    return Measures(
        per_user=_per_user(top, cases[TARGETS].to_list(), config),
        coverage=len({item for items in top for item in items}) / max(1, prior.n_items),
        served_share=float(np.mean(served)),
        popularity=_mean_popularity(top, prior),
        latency_ms=None if seconds is None else seconds * 1e3,
        size_mib=None if size is None else size / 2**20,
    )


def _per_user(
    top: Sequence[Sequence[str]], targets: Sequence[Sequence[str]], config: GateConfig
) -> NDArray[np.float64]:
    ids = dict.fromkeys(chain.from_iterable([*top, *targets]))
    index = {item: number for number, item in enumerate(ids)}
    ranked = np.full((len(top), config.k), NO_ITEM, dtype=np.int64)
    for row, items in enumerate(top):
        ranked[row, : len(items)] = [index[item] for item in items]
    wanted = Histories.from_lists([[index[item] for item in items] for items in targets])
    hit = hits(ranked, wanted)
    values = per_user_metrics(hit, wanted.lengths, [config.k], [config.metric_name])
    return values[config.metric]


def _mean_popularity(top: Sequence[Sequence[str]], prior: PriorPopularity) -> float:
    """Mean over the users with a recommendation; 0 without one."""
    means = [
        sum(prior.shares.get(item, 0.0) for item in items) / len(items) for items in top if items
    ]
    return float(np.mean(means)) if means else 0.0
