"""Recommendations by external ids, for consumers of the registry and for the nightly table."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Self

import numpy as np
import polars as pl
from numpy.typing import NDArray

from diffrec_core.common.errors import ArtifactError, DataError
from diffrec_core.data.histories import Histories, concatenate
from diffrec_core.data.interactions import Interactions, read_interactions
from diffrec_core.data.schema import ITEM_ID, LAST_SEEN, RANK, SCORE, SOURCE, USER_ID
from diffrec_core.data.seen import Repeats, as_histories, not_again
from diffrec_core.data.tables import RECOMMENDATIONS, Source
from diffrec_core.data.vocabulary import UNKNOWN
from diffrec_core.evaluation.items import NO_ITEM
from diffrec_core.evaluation.ranking import rank
from diffrec_core.models.base import Recommender


@dataclass(frozen=True, slots=True)
class Recommendation:
    """The answer to one request.

    Attributes:
        item_ids: external ids, best first; fewer than k where fewer items are left.
        scores: their scores, comparable within this answer only.
        source: `history`, or `popularity` where no item of the history is known.
    """

    item_ids: list[str]
    scores: list[float]
    source: Source


class RecommendationService:
    """A fitted model together with the histories of the users that it knows.

    Args:
        model: fitted.
        interactions: the histories, and what was seen.
        repeats: whether what a user has seen may be recommended again.

    Raises:
        ArtifactError: model and interactions have different item vocabularies.
    """

    def __init__(
        self, model: Recommender, interactions: Interactions, repeats: Repeats = "never"
    ) -> None:
        if model.catalogue.items.fingerprint != interactions.items.fingerprint:
            raise ArtifactError(
                "the model and the interactions have different item vocabularies: "
                "re-run the stages from build_interactions on"
            )
        self.model, self.items = model, interactions.items
        self.users, self.histories = interactions.users, interactions.histories()
        self._repeats, self._newest = repeats, interactions.seen[LAST_SEEN].max()
        self._masks = as_histories(not_again(interactions.seen, repeats), len(self.users))

    @classmethod
    def load(cls, model: Recommender, interactions: Path, repeats: Repeats = "never") -> Self:
        """Combine a model with a folder of interactions."""
        return cls(model, read_interactions(interactions), repeats)

    def for_users(
        self, user_ids: Sequence[str], k: int, *, exclude_seen: bool = True
    ) -> list[Recommendation]:
        """Recommend for users by external id; unknown users get popular items."""
        indices = self.users.indices(user_ids)
        masks = _rows_of(self._masks, indices) if exclude_seen else None
        return self._recommend(_rows_of(self.histories, indices), k, masks)

    def for_items(
        self,
        item_ids: Sequence[Sequence[str]],
        k: int,
        *,
        timestamps: Sequence[Sequence[float]] | None = None,
        seen: Sequence[Sequence[str]] | None = None,
        exclude_seen: bool = True,
    ) -> list[Recommendation]:
        """Recommend for histories given as external item ids, oldest first.

        Args:
            item_ids: one list per user; unknown ids are ignored, and of an item that occurs more
                than once the last occurrence counts.
            k: how many items to recommend.
            timestamps: seconds since 1970 UTC of each item; None: one day apart, which matters to
                models with recency by age only.
            seen: further items by external id that the user has seen, one list per user.
            exclude_seen: recommend neither these nor, unless repeats are allowed, items of the
                history; where they are after some days, a history without timestamps is new.

        Raises:
            DataError: items and timestamps do not match.
        """
        if timestamps is not None and [len(t) for t in timestamps] != [len(i) for i in item_ids]:
            raise DataError("timestamps must be given for every item of a history, or for none")
        known, times = [], []
        for user, ids in enumerate(item_ids):
            indices = self.items.indices(ids)
            kept = _last_of_each(indices)
            known.append(indices[kept].tolist())
            if timestamps is not None:
                times.append([int(timestamps[user][place] * 1e6) for place in kept.tolist()])
        histories = Histories.from_lists(known, times if timestamps is not None else None)
        masks = self._masks_of(histories, timestamps is not None, seen) if exclude_seen else None
        return self._recommend(histories, k, masks)

    def table(
        self, k: int, *, batch_size: int, on_batch: Callable[[int], None] | None = None
    ) -> pl.DataFrame:
        """The RECOMMENDATIONS of every known user, in vocabulary order, ranks from 1."""
        ids, item_ids = np.array(self.users.ids), np.array(self.items.ids)
        sources, parts = np.array([_source(n) for n in self.histories.lengths]), []
        for rows, items, scores in rank(
            self.model.score,
            self.histories,
            k,
            batch_size=batch_size,
            exclude_seen=False,
            excluded=self._masks,
            on_batch=on_batch,
        ):
            real = items != NO_ITEM
            user, place = np.nonzero(real)
            parts.append(
                pl.DataFrame(
                    {
                        USER_ID: ids[rows[user]],
                        RANK: (place + 1).astype(np.int32),
                        ITEM_ID: item_ids[items[real]],
                        SCORE: scores[real].astype(np.float32),
                        SOURCE: sources[rows[user]],
                    },
                    schema=RECOMMENDATIONS,
                )
            )
        return pl.concat(parts)

    def _masks_of(
        self, histories: Histories, dated: bool, seen: Sequence[Sequence[str]] | None
    ) -> Histories:
        """What is not to be recommended to users with given histories."""
        masks = histories
        if self._repeats == "allowed":
            masks = histories.where(np.zeros(len(histories.items), dtype=bool))
        elif self._repeats != "never" and dated and isinstance(self._newest, datetime):
            since = self._newest - timedelta(days=self._repeats)
            masks = histories.where(histories.timestamps > since.timestamp() * 1e6)
        if seen is None:
            return masks
        indices = [self.items.indices(ids) for ids in seen]
        known = [each[each != UNKNOWN].tolist() for each in indices]
        return concatenate(masks, Histories.from_lists(known))

    def _recommend(
        self, histories: Histories, k: int, masks: Histories | None
    ) -> list[Recommendation]:
        if k < 1:
            raise DataError(f"k = {k}: must be at least 1")
        answers = []
        ranked = rank(self.model.score, histories, k, exclude_seen=False, excluded=masks)
        for rows, items, scores in ranked:
            for row, best, score in zip(rows, items, scores, strict=True):
                real = best != NO_ITEM
                ids, source = self.items.ids_of(best[real]), _source(histories.lengths[row])
                answers.append(Recommendation(ids, score[real].tolist(), source))
        return answers


def _source(length: int) -> Source:
    """What a user with so many known items in the history is answered from."""
    return "history" if length else "popularity"


def _rows_of(histories: Histories, indices: NDArray[np.int32]) -> Histories:
    """The rows of known users by index, and an empty one for each unknown user."""
    rows = np.maximum(indices, 0)
    lengths = np.where(indices == UNKNOWN, 0, histories.lengths[rows])
    return histories.runs(histories.offsets[rows], lengths)


def _last_of_each(indices: NDArray[np.int32]) -> NDArray[np.int64]:
    """Positions, in order, of the last occurrence of each known index."""
    _, from_end = np.unique(indices[::-1], return_index=True)
    last: NDArray[np.int64] = np.sort(len(indices) - 1 - from_end)
    return np.compress(indices[last] != UNKNOWN, last)
