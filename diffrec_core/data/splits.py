"""Splitting by time. Every method keeps each user's past before the user's future.

    per_user_time    each user's own interactions are cut by share (paper, section 4.1.1)
        user a   t t t t t t t v T T
        user b      t t t t v T
    global_time      one cut for everyone, [.., validation_start) [.., test_start) [.., end)
        user a   t t t t | v v | T
        user b           | v   | T T
    leave_last_out   the last interaction is test, the one before validation
        user a   t t t t t v T
    predefined       as global_time, at given times

t train, v validation, T test. Validation is scored from the train history, test from train and
validation. What was seen is divided likewise: before which part did the user first see the item?
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, Self

import polars as pl
from pydantic import Field, model_validator

from diffrec_core.common.artifacts import read_manifest
from diffrec_core.common.config import Config, UtcTime
from diffrec_core.common.errors import DataError
from diffrec_core.data.histories import Histories
from diffrec_core.data.interactions import read_interaction_table, time_span
from diffrec_core.data.schema import FIRST_SEEN, ITEM, SPLIT_SCHEMA, TIMESTAMP, USER
from diffrec_core.data.seen import SEEN_FILE, as_histories, read_seen

PARTS: Final = ("train", "validation", "test")
"""In the order of time."""

EVALUATED_PARTS: Final = PARTS[1:]

_FILE = "interactions.parquet"


class SplitConfig(Config):
    """How interactions are divided."""

    method: Literal["per_user_time", "global_time", "leave_last_out", "predefined"] = (
        "per_user_time"
    )
    validation_share: float = Field(default=0.1, gt=0.0, lt=1.0)
    """per_user_time: share of each user's interactions; global_time: share of all of them."""

    test_share: float = Field(default=0.2, gt=0.0, lt=1.0)
    """Likewise for the newest part."""

    validation_start: UtcTime | None = None
    """predefined: end of train, exclusive."""

    test_start: UtcTime | None = None
    """predefined: end of validation, exclusive."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.validation_share + self.test_share >= 1.0:
            raise ValueError(
                f"validation_share = {self.validation_share} and test_share = {self.test_share} "
                f"must leave something to train on: together less than 1"
            )
        start, test_start = self.validation_start, self.test_start
        if self.method == "predefined" and not (start and test_start):
            raise ValueError("method = predefined needs validation_start and test_start")
        if start and test_start and start >= test_start:
            raise ValueError(f"validation_start = {start} must be before test_start = {test_start}")
        return self


@dataclass(frozen=True, slots=True)
class Split:
    """The three parts, each sorted as the interactions are; together they are all of them."""

    train: pl.DataFrame
    validation: pl.DataFrame
    test: pl.DataFrame


def split_interactions(interactions: pl.DataFrame, config: SplitConfig) -> Split:
    """Divide the INTERACTIONS table, sorted by (user, timestamp, item id), by a method.

    Raises:
        DataError: a part is empty.
    """
    part = {
        "per_user_time": _per_user_time,
        "global_time": _global_time,
        "leave_last_out": _leave_last_out,
        "predefined": _predefined,
    }[config.method](interactions, config)
    labelled = interactions.with_columns(part.alias("part"))
    parts = {
        name: labelled.filter(pl.col("part") == number).drop("part")
        for number, name in enumerate(PARTS)
    }
    empty = [name for name, frame in parts.items() if frame.is_empty()]
    if empty:
        sizes = ", ".join(f"{name} {len(frame)}" for name, frame in parts.items())
        raise DataError(
            f"the split {config.method} leaves no interaction for {' and '.join(empty)} "
            f"(found {sizes}): bring more data, or change the shares or times under split"
        )
    return Split(**parts)


def split_seen(seen: pl.DataFrame, split: Split, config: SplitConfig) -> Split:
    """Divide the SEEN table, without the pairs that the interactions of a part or before it have.

    A pair is in the part during which it was first seen: a part begins with the user's first
    interaction of it or, where one cut is for everyone, with the first of all.
    """
    later = {"validation": [split.validation, split.test], "test": [split.test]}
    starts = {part: pl.concat(frames) for part, frames in later.items()}
    if config.method in ("per_user_time", "leave_last_out"):
        for part, frame in starts.items():
            begins = frame.group_by(USER).agg(pl.col(TIMESTAMP).min().alias(part))
            seen = seen.join(begins, on=USER, how="left", maintain_order="left")
    else:
        seen = seen.with_columns(
            pl.lit(frame[TIMESTAMP].min()).alias(part) for part, frame in starts.items()
        )
    first = pl.col(FIRST_SEEN)
    has_begun = ((first >= pl.col(part)).fill_null(value=False) for part in starts)
    numbered = seen.with_columns(pl.sum_horizontal(has_begun).alias("part")).drop(list(starts))
    known, parts = split.train.clear(), {}
    for at, name in enumerate(PARTS):
        known = pl.concat([known, getattr(split, name)])
        of_part = numbered.filter(pl.col("part") == at).drop("part")
        parts[name] = of_part.join(known, on=[USER, ITEM], how="anti", maintain_order="left")
    return Split(**parts)


def _position() -> pl.Expr:
    return pl.int_range(pl.len()).over(USER)


def _per_user_time(_: pl.DataFrame, config: SplitConfig) -> pl.Expr:
    """Cut each user's M interactions at ⌈M·train⌉ and ⌈M·(train + validation)⌉."""
    count = pl.len().over(USER)
    train = 1.0 - config.validation_share - config.test_share
    # Rounded first, so that 10 interactions at .7 are cut at 7 and not, by 7.000…1, at 8.
    train_end = (count * train).round(9).ceil()
    validation_end = (count * (1.0 - config.test_share)).round(9).ceil()
    return _number(_position(), train_end, validation_end)


def _leave_last_out(_: pl.DataFrame, config: SplitConfig) -> pl.Expr:
    """Users with fewer than three interactions only train."""
    count = pl.len().over(USER)
    held_out = pl.when(count >= 3).then(1).otherwise(0)
    return _number(_position(), count - 2 * held_out, count - held_out)


def _global_time(interactions: pl.DataFrame, config: SplitConfig) -> pl.Expr:
    """Cut at the times that give the shares over all interactions; equal times stay together."""
    times = interactions[TIMESTAMP].sort()
    last = len(times) - 1
    validation = times[
        min(last, round(len(times) * (1 - config.validation_share - config.test_share)))
    ]
    test = times[min(last, round(len(times) * (1 - config.test_share)))]
    return _number(pl.col(TIMESTAMP), pl.lit(validation), pl.lit(test))


def _predefined(_: pl.DataFrame, config: SplitConfig) -> pl.Expr:
    return _number(
        pl.col(TIMESTAMP),
        pl.lit(config.validation_start).dt.cast_time_unit("us"),
        pl.lit(config.test_start).dt.cast_time_unit("us"),
    )


def _number(value: pl.Expr, train_end: pl.Expr, validation_end: pl.Expr) -> pl.Expr:
    """0 before train_end, 1 before validation_end, else 2."""
    return (value >= train_end).cast(pl.Int8) + (value >= validation_end).cast(pl.Int8)


def write_part(directory: Path, part: pl.DataFrame, seen: pl.DataFrame) -> None:
    """Write one part of a split: its interactions, and what was seen besides."""
    part.write_parquet(directory / _FILE, compression="zstd")
    seen.write_parquet(directory / SEEN_FILE, compression="zstd")


def read_part(directory: Path) -> Histories:
    """Read one part of a split as histories; row u is user index u.

    Raises:
        ArtifactError: the directory is not one that `split` wrote.
    """
    manifest = read_manifest(directory, SPLIT_SCHEMA)
    return Histories.from_frame(read_interaction_table(directory / _FILE), manifest["n_users"])


def read_seen_besides(directory: Path) -> Histories:
    """Read what was seen during a part and is not in the histories then; row u is user index u.

    Raises:
        ArtifactError: the directory is not one that `split` wrote.
    """
    n_users = read_manifest(directory, SPLIT_SCHEMA)["n_users"]
    return as_histories(read_seen(directory), n_users)


def describe_split(split: Split, seen: Split) -> dict[str, Any]:
    """Size, time span and, against train, new users and items of each part.

    Also how many of its interactions are with items that the user had seen before the part:
    nobody would recommend these, so they are no targets.
    """
    before = {"train": [], "validation": [seen.train], "test": [seen.train, seen.validation]}
    train_users, train_items = split.train[USER].unique(), split.train[ITEM].unique()
    facts: dict[str, Any] = {}
    for name in PARTS:
        frame: pl.DataFrame = getattr(split, name)
        users, items = frame[USER].unique(), frame[ITEM].unique()
        facts[name] = {
            "interactions": len(frame),
            "users": len(users),
            "items": len(items),
            "new_users": int((~users.is_in(train_users.implode())).sum()),
            "new_items": int((~items.is_in(train_items.implode())).sum()),
            "seen_before": _met(frame, before[name]),
            **time_span(frame),
        }
    return facts


def _met(interactions: pl.DataFrame, seen: list[pl.DataFrame]) -> int:
    """How many interactions have a pair of a table."""
    return sum(interactions.join(each, on=[USER, ITEM], how="semi").height for each in seen)
