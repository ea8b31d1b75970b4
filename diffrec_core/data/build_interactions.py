"""From events to interactions: filter, keep each pair's first, index, sort; and what was seen."""

import logging
from typing import Annotated, Any, Literal, Self

import polars as pl
from pydantic import Field, model_validator

from diffrec_core.common.config import Config, StringTuple, UtcTime
from diffrec_core.common.errors import DataError
from diffrec_core.data.interactions import NOTHING_KNOWN, Interactions, KnownIds, time_span
from diffrec_core.data.schema import (
    EVENT_TYPE,
    FIRST_SEEN,
    ITEM,
    ITEM_ID,
    LAST_SEEN,
    SOURCE_FILE,
    SOURCE_ROW,
    TIMESTAMP,
    TITLE,
    USER,
    USER_ID,
    VALUE,
    WEIGHT,
)
from diffrec_core.data.tables import SEEN
from diffrec_core.data.vocabulary import Vocabulary

log = logging.getLogger(__name__)


class InteractionsConfig(Config):
    """Section `build_interactions` of params.yaml: filters of events, users and items."""

    start: UtcTime | None = None
    """Start of the half-open window [start, end); null: open."""

    end: UtcTime | None = None
    """End of the window, exclusive; null: open."""

    event_types: StringTuple | None = None
    """Keep events of these types only; null: all."""

    min_value: float | None = None
    """Keep events of at least this value (a rating, say); null: all."""

    max_user_events_per_day: int | None = Field(default=None, ge=1)
    """Of a user's events of one day (UTC) the first so many count, those of programs that click
    all day long do not; null: all."""

    event_weights: dict[str, Annotated[float, Field(gt=0)]] = Field(default_factory=dict)
    """Weight of an interaction by event type, such as {view: 1.0, buy: 5.0}; others have 1."""

    duplicates: Literal["first", "last", "sum"] = "first"
    """Which event of a user and an item makes the interaction: the first (at that time the item
    was new to the user) or the last; sum: the time of the first, and the weights of all."""

    min_user_interactions: int = Field(default=5, ge=1)
    """Users with fewer interactions are dropped; repeated with the item filter until both hold."""

    min_item_interactions: int = Field(default=5, ge=1)
    """Items with fewer interactions are dropped."""

    seen_event_types: StringTuple | None = None
    """Events of these types, whatever their value and however old, mean that the user has seen the
    item, which is then not recommended; null: all types; []: only events that pass the filters."""

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.start and self.end and self.start >= self.end:
            raise ValueError(f"start = {self.start} must be before end = {self.end}")
        return self


def build_interactions(
    events: pl.LazyFrame,
    titles: pl.DataFrame,
    config: InteractionsConfig,
    known: KnownIds = NOTHING_KNOWN,
) -> tuple[Interactions, dict[str, Any]]:
    """Turn events into interactions.

    Only the first event of a (user, item) pair counts, unless `duplicates` says otherwise: then the
    item was new to the user, and new items are what recommendations are judged by. Configured event
    types that no event has are warned of. Vocabularies hold the known ids, each at its old
    index even if no interaction has it any more, then new ones in order of first appearance.

    Seen are pairs of the vocabularies that have an event of `seen_event_types`, or one that passes
    the filters, before the end of the window.

    Args:
        events: the EVENTS table.
        titles: `item_id` and `title`, possibly empty.
        config: the filters.
        known: ids that have indices already.

    Returns:
        The interactions, and the counts after each filter.

    Raises:
        DataError: nothing is left; the counts say after which filter.
    """
    single = filters(config)
    passes = pl.all_horizontal(True, *single.values())
    counts = _count_after_each(single, events)
    _warn_of_absent_types(events, config)
    kept = events.filter(passes)
    if config.max_user_events_per_day is not None:
        kept, capped = _first_of_each_day(kept, config.max_user_events_per_day)
        counts |= capped
    pairs = _pairs(kept, config).collect(engine="streaming")
    counts["pairs"] = len(pairs)
    frame, rounds = _core(pairs, config)
    counts |= {"interactions": len(frame), "filter_rounds": rounds}
    if frame.is_empty():
        raise DataError(_nothing_left(counts, config, events))
    users = _vocabulary(known.users, frame, USER_ID)
    items = _with_titles(_vocabulary(known.items, frame, ITEM_ID), titles)
    indexed = _indexed(frame, users, items)
    built = Interactions(indexed, users, items, _seen(events, passes, config, users, items))
    return built, counts | _facts(built)


def filters(config: InteractionsConfig) -> dict[str, pl.Expr]:
    """The active filters of single events, in order, by the name of their count."""
    active: dict[str, pl.Expr] = {}
    if config.start or config.end:
        after = [pl.col(TIMESTAMP) >= config.start] if config.start else []
        before = [pl.col(TIMESTAMP) < config.end] if config.end else []
        active["in_window"] = pl.all_horizontal(*after, *before)
    if config.event_types is not None:
        active["of_event_types"] = pl.col(EVENT_TYPE).is_in(config.event_types)
    if config.min_value is not None:
        active["of_min_value"] = pl.col(VALUE) >= config.min_value
    return active


def _count_after_each(filters: dict[str, pl.Expr], events: pl.LazyFrame) -> dict[str, Any]:
    """Number of events, and of those that pass the first, the first two, … filters."""
    passes, left = pl.lit(value=True), []
    for name, keeps in filters.items():
        passes = passes & keeps
        left.append(passes.fill_null(value=False).sum().alias(name))
    counts = events.select(pl.len().alias("events"), *left).collect(engine="streaming")
    return counts.row(0, named=True)


def _warn_of_absent_types(events: pl.LazyFrame, config: InteractionsConfig) -> None:
    wanted = {*(config.event_types or ()), *(config.seen_event_types or ()), *config.event_weights}
    if not wanted:
        return
    types = events.group_by(EVENT_TYPE).len().sort("len", descending=True).collect()
    found = dict(types.drop_nulls().iter_rows())
    absent = sorted(wanted - found.keys())
    if absent:
        log.warning(
            "build_interactions: no event has the type %s; found: %s",
            ", ".join(absent),
            ", ".join(f"{name} {count}" for name, count in list(found.items())[:20]) or "none",
        )


def _first_of_each_day(events: pl.LazyFrame, limit: int) -> tuple[pl.LazyFrame, dict[str, int]]:
    """The first events of every user and day, and how many others of how many users there were."""
    day = pl.col(TIMESTAMP).dt.date().alias("day")
    rank = pl.struct(TIMESTAMP, ITEM_ID, SOURCE_FILE, SOURCE_ROW).rank("ordinal")
    ranked = events.with_columns(rank.over(USER_ID, day).alias("rank")).collect()
    above = ranked.filter(pl.col("rank") > limit)
    counts = {"above_daily_limit": above.height, "users_above": above[USER_ID].n_unique()}
    if above.height:
        log.warning(
            "build_interactions.max_user_events_per_day = %d leaves out %d events of %d users",
            *(limit, *counts.values()),
        )
    return ranked.filter(pl.col("rank") <= limit).lazy(), counts


def _pairs(events: pl.LazyFrame, config: InteractionsConfig) -> pl.LazyFrame:
    """An interaction of every user and item: time and weight.

    Of events at the same time, the one of the largest weight counts.
    """
    time, weight = pl.col(TIMESTAMP), pl.col(WEIGHT)
    weights = pl.lit(1.0, pl.Float32)
    if config.event_weights:
        by_type = pl.col(EVENT_TYPE).replace_strict(
            dict(config.event_weights), default=1.0, return_dtype=pl.Float32
        )
        weights = by_type.fill_null(1.0)
    when = time.max() if config.duplicates == "last" else time.min()
    total = weight.sum() if config.duplicates == "sum" else weight.filter(time == when).max()
    if not config.event_weights and config.duplicates != "sum":
        total = pl.lit(1.0, pl.Float32)
    grouped = events.with_columns(weights.alias(WEIGHT)).group_by(USER_ID, ITEM_ID)
    return grouped.agg(when, total.alias(WEIGHT))


def _seen(
    events: pl.LazyFrame,
    passes: pl.Expr,
    config: InteractionsConfig,
    users: Vocabulary,
    items: Vocabulary,
) -> pl.DataFrame:
    """The SEEN table."""
    time, types = pl.col(TIMESTAMP), config.seen_event_types
    is_seen = pl.lit(value=True) if types is None else pl.col(EVENT_TYPE).is_in(types) | passes
    if config.end:
        is_seen &= time < config.end
    by_user = users.to_users_frame().lazy().rename({"index": USER})
    by_item = items.to_items_frame().lazy().select(pl.col("index").alias(ITEM), ITEM_ID)
    return (
        events.filter(is_seen)
        .group_by(USER_ID, ITEM_ID)
        .agg(time.min().alias(FIRST_SEEN), time.max().alias(LAST_SEEN))
        .join(by_user, on=USER_ID)
        .join(by_item, on=ITEM_ID)
        .select(SEEN.names())
        .sort(USER, FIRST_SEEN, ITEM)
        .collect(engine="streaming")
    )


def _facts(built: Interactions) -> dict[str, Any]:
    frame = built.frame
    return {
        "users": len(built.users),
        "items": len(built.items),
        **time_span(frame),
        "tied_timestamps": len(frame) - frame.n_unique([USER, TIMESTAMP]),
        "seen_pairs": len(built.seen),
        "seen_not_liked": len(built.seen) - len(frame),
    }


def _core(pairs: pl.DataFrame, config: InteractionsConfig) -> tuple[pl.DataFrame, int]:
    """The k-core: drop small users and items until none is small; the rest and the rounds."""
    rounds = 0
    while True:
        rounds += 1
        large = pairs.filter(pl.len().over(USER_ID) >= config.min_user_interactions).filter(
            pl.len().over(ITEM_ID) >= config.min_item_interactions
        )
        if len(large) == len(pairs):
            return large, rounds
        pairs = large


def _nothing_left(counts: dict[str, Any], config: InteractionsConfig, events: pl.LazyFrame) -> str:
    if counts["pairs"] == 0:
        time, value, types = pl.col(TIMESTAMP), pl.col(VALUE), pl.col(EVENT_TYPE)
        ranges = (time.min().alias("a"), time.max().alias("b"), value.min(), value.max().alias("c"))
        first, last, least, most = events.select(ranges).collect().row(0)
        found = events.select(types.unique()).head(20).collect().to_series().sort().to_list()
        return (
            f"none of {counts['events']} events is left by build_interactions: check start, end, "
            f"event_types and min_value in params.yaml (found start={config.start}, "
            f"end={config.end}, event_types={config.event_types}, min_value={config.min_value}; "
            f"the events have times from {first} to {last}, values from {least} to {most} and "
            f"the types {found})"
        )
    return (
        f"none of {counts['pairs']} (user, item) pairs is left: no group of users with at least "
        f"{config.min_user_interactions} items shares items with at least "
        f"{config.min_item_interactions} users. Lower build_interactions.min_user_interactions "
        f"or min_item_interactions, or bring more data"
    )


def _vocabulary(known: tuple[str, ...], frame: pl.DataFrame, column: str) -> Vocabulary:
    """The known ids, then the others of a column in order of first appearance (ties: by id)."""
    first = frame.group_by(column).agg(pl.col(TIMESTAMP).min()).sort(TIMESTAMP, column)
    new = first.filter(~pl.col(column).is_in(list(known)))
    return Vocabulary((*known, *new[column]))


def _with_titles(items: Vocabulary, titles: pl.DataFrame) -> Vocabulary:
    known: dict[str, str] = dict(titles.select(ITEM_ID, TITLE).iter_rows())
    return Vocabulary(items.ids, tuple(known.get(i) for i in items.ids) if known else ())


def _indexed(frame: pl.DataFrame, users: Vocabulary, items: Vocabulary) -> pl.DataFrame:
    by_user, by_item = users.to_users_frame(), items.to_items_frame()
    return (
        frame.join(by_user.rename({"index": USER}), on=USER_ID)
        .join(by_item.select(pl.col("index").alias(ITEM), ITEM_ID), on=ITEM_ID)
        .sort(USER, TIMESTAMP, ITEM_ID)
        .select(USER, ITEM, TIMESTAMP, pl.col(WEIGHT).cast(pl.Float32))
    )
