"""A night judged: what happened in it, scored with weights that were trained before it.

    before ─────────────────────────────┤ start ── the night ── end
    histories, seen, vocabularies       │ targets: events that make interactions

Nothing that the night decides about (which items are frequent enough, say) has seen the night.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

import numpy as np
import polars as pl
from numpy.typing import NDArray

from diffrec_core.data.build_interactions import InteractionsConfig, filters
from diffrec_core.data.histories import Histories
from diffrec_core.data.interactions import Interactions
from diffrec_core.data.schema import ITEM, ITEM_ID, TIMESTAMP, USER, USER_ID, WEIGHT
from diffrec_core.data.seen import as_histories
from diffrec_core.data.vocabulary import UNKNOWN
from diffrec_core.evaluation.items import NO_ITEM
from diffrec_core.evaluation.metrics import PerUser, hits, per_user_metrics
from diffrec_core.evaluation.ranking import RankingTask, Score, rank_task


@dataclass(frozen=True, slots=True)
class NightTask:
    """The users of a night with a history and a target, U of them, in the order of their indices.

    Attributes:
        user_ids: (U,) external ids.
        histories: U rows, everything before the night.
        seen: U rows, what the users had seen by then, histories included.
        targets: U rows, what they did in the night, of items of the vocabulary before it; new to
            the user, oldest first.
        n_targets: (U,) how many targets there are, those of unknown items included, which every
            model misses.
    """

    user_ids: tuple[str, ...]
    histories: Histories
    seen: Histories
    targets: Histories
    n_targets: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.user_ids)

    def for_items(self, index: NDArray[np.int32]) -> "NightTask":
        """The night in the words of weights with another vocabulary.

        Args:
            index: (I,) their index of each item, `UNKNOWN` for those that they do not know.
        """
        histories, seen, targets = (
            _with_items(part, index) for part in (self.histories, self.seen, self.targets)
        )
        return replace(self, histories=histories, seen=seen, targets=targets)


def _with_items(histories: Histories, index: NDArray[np.int32]) -> Histories:
    items = index[histories.items]
    return replace(histories, items=items).where(items != UNKNOWN)


def night_task(
    before: Interactions,
    events: pl.LazyFrame,
    config: InteractionsConfig,
    start: datetime,
    end: datetime,
) -> NightTask:
    """Find what is to be predicted in a night.

    A target is the first event of a user and an item in [start, end) that passes the filters of
    single events, if the user had not seen the item before. Users without a history or a target
    are excluded.

    Args:
        before: made of the events before `start`.
        events: the EVENTS table.
        config: section `build_interactions`; its own window does not count here.
        start: of the night.
        end: of the night, exclusive.
    """
    wanted = _wanted(events, config.model_copy(update={"start": start, "end": end}))
    users = before.users.indices(wanted[USER_ID].to_list())
    items = before.items.indices(wanted[ITEM_ID].to_list())
    wanted = wanted.with_columns(pl.Series(USER, users), pl.Series(ITEM, items))
    histories, seen = before.histories(), as_histories(before.seen, len(before.users))
    wanted = wanted.filter(pl.col(USER) != UNKNOWN).join(
        before.seen, on=[USER, ITEM], how="anti", maintain_order="left"
    )
    counts = np.bincount(wanted[USER].to_numpy(), minlength=len(before.users))
    rows = np.flatnonzero((counts > 0) & (histories.lengths > 0))
    known = wanted.filter(pl.col(ITEM) != UNKNOWN).sort(USER, TIMESTAMP, ITEM)
    targets = Histories.from_frame(
        known.with_columns(pl.lit(1, pl.Float32).alias(WEIGHT)), len(before.users)
    )
    ids = before.users.ids_of(rows)
    return NightTask(
        tuple(ids), histories.take(rows), seen.take(rows), targets.take(rows), counts[rows]
    )


def _wanted(events: pl.LazyFrame, config: InteractionsConfig) -> pl.DataFrame:
    """User, item and first time of the pairs of a window."""
    of_window = events.filter(*filters(config).values())
    pairs = of_window.group_by(USER_ID, ITEM_ID).agg(pl.col(TIMESTAMP).min())
    return pairs.sort(USER_ID, TIMESTAMP, ITEM_ID).collect(engine="streaming")


def score_night(
    score: Score, night: NightTask, cutoffs: Sequence[int], *, batch_size: int = 1024
) -> PerUser:
    """Rank every known item for every user of a night, and measure: (U,) of each metric."""
    task = RankingTask("night", night.histories, night.targets, night.seen)
    top = np.full((len(night), max(cutoffs)), NO_ITEM, dtype=np.int32)
    top[task.users] = rank_task(score, task, max(cutoffs), batch_size=batch_size)
    return per_user_metrics(hits(top, night.targets), night.n_targets, cutoffs)
