"""From events to interactions: keep, count, de-duplicate, filter, index, sort."""

from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Annotated, Any, Self
from uuid import uuid4

import polars as pl
from pydantic import BeforeValidator, Field, model_validator

from diffrec_core.common.config import Config, StringTuple
from diffrec_core.common.errors import ArtifactError, DataError
from diffrec_core.data.histories import Histories
from diffrec_core.data.schema import (
    EVENT_TYPE,
    INTERACTIONS_SCHEMA,
    ITEM,
    ITEM_ID,
    TIMESTAMP,
    TITLE,
    USER,
    USER_ID,
    VALUE,
    WEIGHT,
)
from diffrec_core.data.tables import INTERACTIONS, read_table
from diffrec_core.data.vocabulary import UNKNOWN, Vocabulary, read_items, read_users


def _as_utc(value: object) -> object:
    """Accept what YAML makes of a date or time; without an offset it is UTC."""
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            raise ValueError("no date or time: write it as 2026-11-24T00:00:00Z") from None
    if isinstance(value, datetime):
        return value if value.tzinfo else value.replace(tzinfo=UTC)
    if isinstance(value, date):
        return datetime(value.year, value.month, value.day, tzinfo=UTC)
    return value


UtcTime = Annotated[datetime, BeforeValidator(_as_utc)]


class InteractionsConfig(Config):
    """Section `build_interactions` of params.yaml: filters of events, users and items."""

    start: UtcTime | None = None
    """Start of the half-open window [start, end); null: open."""

    end: UtcTime | None = None
    """End of the window, itself outside; null: open."""

    event_types: StringTuple | None = None
    """Keep events of these types only; null: all."""

    min_value: float | None = None
    """Keep events of at least this value (a rating, say); null: all."""

    min_user_interactions: int = Field(default=5, ge=1)
    """Users with fewer interactions are left out; applied with the item filter until both hold."""

    min_item_interactions: int = Field(default=5, ge=1)
    """Items with fewer interactions are left out."""

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.start and self.end and self.start >= self.end:
            raise ValueError(f"start = {self.start} must be before end = {self.end}")
        return self


@dataclass(frozen=True, slots=True)
class Interactions:
    """Interactions by index, with the vocabularies that give the indices their meaning.

    Attributes:
        frame: the INTERACTIONS table, sorted by (user, timestamp, item id).
        users: the user vocabulary.
        items: the item vocabulary, with titles where known.
    """

    frame: pl.DataFrame
    users: Vocabulary
    items: Vocabulary

    def histories(self) -> Histories:
        """Every user's history; row u is user index u."""
        return Histories.from_frame(self.frame, len(self.users))

    def without_user(self, user_id: str) -> Self:
        """The same without one user's interactions and id; all others keep their indices.

        Args:
            user_id: external id; nothing changes if it is not in the vocabulary.
        """
        index = self.users.indices([user_id])[0]
        if index == UNKNOWN:
            return self
        ids = list(self.users.ids)
        ids[index] = f"erased-{uuid4()}"
        return replace(
            self, frame=self.frame.filter(pl.col(USER) != index), users=Vocabulary(tuple(ids))
        )

    def write(self, directory: Path) -> None:
        """Write interactions.parquet, users.parquet and items.parquet."""
        self.frame.write_parquet(directory / "interactions.parquet", compression="zstd")
        self.users.to_users_frame().write_parquet(directory / "users.parquet", compression="zstd")
        self.items.to_items_frame().write_parquet(directory / "items.parquet", compression="zstd")


@dataclass(frozen=True, slots=True)
class KnownIds:
    """Ids by the index that an earlier run gave them."""

    users: tuple[str, ...] = ()
    items: tuple[str, ...] = ()


NOTHING_KNOWN = KnownIds()


def read_known_ids(directory: Path) -> KnownIds:
    """Read the vocabularies that `list_raw` has put there; none where the folder has none.

    Raises:
        ArtifactError: they are not vocabularies.
    """
    users, items = directory / "users.parquet", directory / "items.parquet"
    if not users.is_file():
        return NOTHING_KNOWN
    return KnownIds(read_users(users).ids, read_items(items).ids)


def read_interactions(directory: Path) -> Interactions:
    """Read what `Interactions.write` wrote.

    Raises:
        ArtifactError: a file is missing or has other columns.
    """
    return Interactions(
        read_interaction_table(directory / "interactions.parquet"),
        read_users(directory / "users.parquet"),
        read_items(directory / "items.parquet"),
    )


def read_interaction_table(path: Path) -> pl.DataFrame:
    """Read one INTERACTIONS table.

    Raises:
        ArtifactError: the file is missing or has other columns or types.
    """
    frame = read_table(path)
    if frame.schema != INTERACTIONS:
        raise ArtifactError(f"{path} is not a {INTERACTIONS_SCHEMA} table: found {frame.schema}")
    return frame


def build_interactions(
    events: pl.LazyFrame,
    titles: pl.DataFrame,
    config: InteractionsConfig,
    known: KnownIds = NOTHING_KNOWN,
) -> tuple[Interactions, dict[str, Any]]:
    """Turn events into interactions.

    The first event of a (user, item) pair counts and later ones are dropped: at that time the
    item was new to the user, which is what a recommendation is judged by. Vocabularies hold the
    ids known before, with the indices that they had, then new ones in order of first appearance.
    An id that no interaction has any more keeps its index.

    Args:
        events: the EVENTS table.
        titles: `item_id` and `title`, possibly empty.
        config: the filters.
        known: ids that have indices already.

    Returns:
        The interactions, and the counts after each filter.

    Raises:
        DataError: nothing is left after a filter; the counts say which one took it.
    """
    counts = _count_after_each_filter(events, config)
    pairs = _first_of_each_pair(_kept_events(events, config)).collect(engine="streaming")
    counts["pairs"] = len(pairs)
    frame, rounds = _core(pairs, config)
    counts |= {"interactions": len(frame), "filter_rounds": rounds}
    if frame.is_empty():
        raise DataError(_nothing_left(counts, config))
    users = _vocabulary(known.users, frame, USER_ID)
    items = _with_titles(_vocabulary(known.items, frame, ITEM_ID), titles)
    indexed = _indexed(frame, users, items)
    counts |= {"users": len(users), "items": len(items), **_time_facts(indexed)}
    return Interactions(indexed, users, items), counts


def _filters(config: InteractionsConfig) -> dict[str, pl.Expr]:
    """The filters of single events that are on, in their order, by the name of their count."""
    filters: dict[str, pl.Expr] = {}
    if config.start or config.end:
        after = [pl.col(TIMESTAMP) >= config.start] if config.start else []
        before = [pl.col(TIMESTAMP) < config.end] if config.end else []
        filters["in_window"] = pl.all_horizontal(*after, *before)
    if config.event_types is not None:
        filters["of_event_types"] = pl.col(EVENT_TYPE).is_in(config.event_types)
    if config.min_value is not None:
        filters["of_min_value"] = pl.col(VALUE) >= config.min_value
    return filters


def _count_after_each_filter(events: pl.LazyFrame, config: InteractionsConfig) -> dict[str, Any]:
    """How many events there are, and how many the first, the first two, … filters leave."""
    passes, left = pl.lit(value=True), []
    for name, keeps in _filters(config).items():
        passes = passes & keeps
        left.append(passes.fill_null(value=False).sum().alias(name))
    counts = events.select(pl.len().alias("events"), *left).collect(engine="streaming")
    return counts.row(0, named=True)


def _kept_events(events: pl.LazyFrame, config: InteractionsConfig) -> pl.LazyFrame:
    return events.filter(*_filters(config).values())


def _first_of_each_pair(events: pl.LazyFrame) -> pl.LazyFrame:
    return events.group_by(USER_ID, ITEM_ID).agg(pl.col(TIMESTAMP).min())


def _core(pairs: pl.DataFrame, config: InteractionsConfig) -> tuple[pl.DataFrame, int]:
    """Drop small users and items until none is small; return the rest and the rounds taken."""
    rounds = 0
    while True:
        rounds += 1
        large = pairs.filter(pl.len().over(USER_ID) >= config.min_user_interactions).filter(
            pl.len().over(ITEM_ID) >= config.min_item_interactions
        )
        if len(large) == len(pairs):
            return large, rounds
        pairs = large


def _nothing_left(counts: dict[str, Any], config: InteractionsConfig) -> str:
    if counts["pairs"] == 0:
        return (
            f"none of {counts['events']} events is left by build_interactions: check start, end, "
            f"event_types and min_value in params.yaml (found start={config.start}, "
            f"end={config.end}, event_types={config.event_types}, min_value={config.min_value})"
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
        .select(USER, ITEM, TIMESTAMP, pl.lit(1.0, pl.Float32).alias(WEIGHT))
    )


def _time_facts(frame: pl.DataFrame) -> dict[str, Any]:
    """Time span, and how many interactions share a timestamp with their predecessor."""
    ties = frame.select(
        (
            (pl.col(TIMESTAMP) == pl.col(TIMESTAMP).shift())
            & (pl.col(USER) == pl.col(USER).shift())
        ).sum()
    ).item()
    return {**time_span(frame), "tied_timestamps": int(ties or 0)}


def time_span(frame: pl.DataFrame) -> dict[str, str]:
    """Earliest and latest timestamp of a table, ISO 8601, as `first` and `last`."""
    times = frame[TIMESTAMP]
    return {name: _iso(time) for name, time in (("first", times.min()), ("last", times.max()))}


def _iso(value: object) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)
