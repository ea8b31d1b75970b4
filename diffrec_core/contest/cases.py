"""Cases of a comparison: users of a window that none of the models was trained on.

                       training ends of the models compared
                              │       │ the latest one
    ──────────────────────────┴───────┴──────────────────────────────────────┐ end of the data
    of each user: ········ history ···│······ history ······│··· targets ····│
                                      └ window ─────────────┴────────────────┘

Models score from histories, which may hold earlier interactions of the window: no model was trained
on them. So users have cases even if they visit only once.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import polars as pl

from diffrec_core.common.errors import DataError
from diffrec_core.common.rng import generator
from diffrec_core.contest.config import GateConfig
from diffrec_core.data.interactions import Interactions
from diffrec_core.data.schema import (
    FIRST_SEEN,
    INDEX,
    ITEM,
    ITEM_ID,
    LAST_SEEN,
    TICK,
    TIMESTAMP,
    USER,
    USER_ID,
)
from diffrec_core.data.seen import Repeats, not_again

ITEMS, TIMESTAMPS, TARGETS, SEEN_BESIDES = "items", "timestamps", "targets", "seen"
_CUT = "cut"
_SECONDS = pl.col(TIMESTAMP).dt.timestamp("us") / 1e6


class UnfairComparisonError(DataError):
    """There is no window, or too few users in it, to compare the models on."""


@dataclass(frozen=True, slots=True)
class Window:
    """A half-open span of time, [start, end).

    Attributes:
        start: one microsecond, the resolution of all data, after the latest training end.
        end: exclusive.
        cut_by: the model whose training end determined the start.
        cut_seconds: how much later the window starts than the earliest training end would allow.
    """

    start: datetime
    end: datetime
    cut_by: str
    cut_seconds: float


def by_external_ids(interactions: Interactions) -> pl.DataFrame:
    """Interactions as `user_id`, `item_id`, `timestamp`, sorted by user, time and item."""
    ids = _with_ids(interactions, interactions.frame)
    return ids.select(USER_ID, ITEM_ID, TIMESTAMP).sort(USER_ID, TIMESTAMP, ITEM_ID)


def seen_by_external_ids(interactions: Interactions) -> pl.DataFrame:
    """What was seen as `user_id`, `item_id`, `first_seen`, `last_seen`, likewise sorted."""
    ids = _with_ids(interactions, interactions.seen)
    return ids.select(USER_ID, ITEM_ID, FIRST_SEEN, LAST_SEEN).sort(USER_ID, FIRST_SEEN, ITEM_ID)


def _with_ids(interactions: Interactions, frame: pl.DataFrame) -> pl.DataFrame:
    users = interactions.users.to_users_frame().rename({INDEX: USER})
    items = interactions.items.to_items_frame().rename({INDEX: ITEM})
    return frame.join(users, on=USER).join(items, on=ITEM)


def window(
    facts: pl.DataFrame, training_ends: Mapping[str, datetime], end: datetime | None = None
) -> Window:
    """Find the time after every model's training data.

    Args:
        facts: see `by_external_ids`.
        training_ends: by model, time of the last interaction that it was trained on.
        end: of the window, exclusive; None: all data.

    Raises:
        UnfairComparisonError: nothing happened after the latest training end.
    """
    last = facts[TIMESTAMP].max()
    if not isinstance(last, datetime):
        raise UnfairComparisonError("there are no interactions to compare models on")
    latest = max(training_ends, key=lambda name: training_ends[name])
    start, end = training_ends[latest] + TICK, end or last + TICK
    if facts.filter(pl.col(TIMESTAMP).is_between(start, end, closed="left")).is_empty():
        raise UnfairComparisonError(
            f"the {latest} was trained on data up to {training_ends[latest]}, and the comparison "
            f"needs data after that: the last interaction is of {last}. Wait for newer data, "
            f"and train candidates with refit.hold_out_test: true and split.method: global_time"
        )
    cut = training_ends[latest] - min(training_ends.values())
    return Window(start, end, latest, cut.total_seconds())


def cases(
    facts: pl.DataFrame, seen: pl.DataFrame, window: Window, config: GateConfig, *, seed: int
) -> pl.DataFrame:
    """Build a case for each user who is active in the window.

    Of a user's n interactions in the window, the latest ceil(target_share · n) are targets, and
    all at the same time as the first of them; all earlier ones, in the window and before it, are
    the history. What the user has seen before the first target is no target. Users without a
    history or without a target are excluded.

    Args:
        facts: see `by_external_ids`.
        seen: see `seen_by_external_ids`.
        window: the time of the targets.
        config: target_share, min_users and max_users.
        seed: of the sample, if there are more than max_users.

    Returns:
        A row per user, by id: `user_id`, `items` (oldest first), `timestamps` (seconds since 1970
        of each), `targets`, and `seen`, items that the user has seen besides.

    Raises:
        UnfairComparisonError: fewer than min_users.
    """
    facts = facts.filter(pl.col(TIMESTAMP) < window.end)
    in_window = facts.filter(pl.col(TIMESTAMP) >= window.start)
    cut = in_window.group_by(USER_ID).agg(_first_target(config.target_share).alias(_CUT))
    divided = facts.join(cut, on=USER_ID).sort(USER_ID, TIMESTAMP, ITEM_ID)
    is_target = pl.col(TIMESTAMP) >= pl.col(_CUT)
    past = divided.filter(~is_target)
    before = seen.join(cut, on=USER_ID).filter(pl.col(FIRST_SEEN) < pl.col(_CUT))
    targets = divided.filter(is_target).join(before, on=[USER_ID, ITEM_ID], how="anti")
    result = (
        histories(past, before)
        .join(_items_of_users(targets, TARGETS), on=USER_ID, maintain_order="left")
        .select(USER_ID, ITEMS, TIMESTAMPS, TARGETS, SEEN_BESIDES)
    )
    if len(result) < config.min_users:
        raise UnfairComparisonError(
            f"{len(result)} users with a history were active in the window from {window.start} to "
            f"{window.end}, after the training end of the {window.cut_by}; gate.min_users = "
            f"{config.min_users} are needed. Wait for newer data or lower gate.min_users"
        )
    return _sampled(result, config.max_users, seed)


def histories(facts: pl.DataFrame, seen: pl.DataFrame, repeats: Repeats = "never") -> pl.DataFrame:
    """Whole histories of all users as `cases` without targets.

    Args:
        facts: see `by_external_ids`.
        seen: see `seen_by_external_ids`.
        repeats: `never`: the column `seen` is what was seen beside the history; otherwise it is
            all that is not to be recommended.
    """
    besides = not_again(seen, repeats)
    if repeats == "never":
        besides = besides.join(facts, on=[USER_ID, ITEM_ID], how="anti", maintain_order="left")
    return (
        facts.group_by(USER_ID, maintain_order=True)
        .agg(pl.col(ITEM_ID).alias(ITEMS), _SECONDS.alias(TIMESTAMPS))
        .join(_items_of_users(besides, SEEN_BESIDES), on=USER_ID, how="left", maintain_order="left")
        .with_columns(pl.col(SEEN_BESIDES).fill_null(pl.lit([], pl.List(pl.String))))
    )


def _items_of_users(pairs: pl.DataFrame, name: str) -> pl.DataFrame:
    return pairs.group_by(USER_ID, maintain_order=True).agg(pl.col(ITEM_ID).alias(name))


def _first_target(share: float) -> pl.Expr:
    """Time of the first of the latest ceil(share · n) interactions."""
    # less a little: 0.1 · 30 is 3.0000000000000004 in floating point, which must not become 4
    count = (pl.len() * share - 1e-9).ceil().clip(lower_bound=1).cast(pl.Int64)
    return pl.col(TIMESTAMP).sort().get(pl.len().cast(pl.Int64) - count)


def _sampled(cases: pl.DataFrame, most: int, seed: int) -> pl.DataFrame:
    if len(cases) <= most:
        return cases
    rows = generator(seed, "gate", "users").choice(len(cases), size=most, replace=False)
    return cases[np.sort(rows)]
