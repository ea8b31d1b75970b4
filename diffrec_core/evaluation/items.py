"""Facts about the items from the training part: popularity, its groups, embeddings.

Popularity is the share of the users with a training interaction who had the item there. Items are
divided into head, torso and tail by their shares of all training interactions: ordered by
popularity, ties by the lower index, an item belongs to the group in which its interactions begin.

    interactions  0 ........ head_share ........................... 1 - tail_share ........ 1
    items         |- head -|------------------ torso ------------------|------- tail -------|

Items without a training interaction are tail. Source of the groups: Abdollahpouri et al.,
User-centered Evaluation of Popularity Bias (UMAP 2021), who take 20 % at either end.
"""

from dataclasses import dataclass
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from diffrec_core.common.config import Config
from diffrec_core.common.errors import DataError
from diffrec_core.data.histories import Histories

GROUPS: Final = ("head", "torso", "tail")
"""Of items by popularity."""

NO_ITEM: Final = -1
"""Item index at the ranks for which no unseen item is left."""


class PopularityGroupsConfig(Config):
    """Bounds of head and tail, as shares of all training interactions."""

    head_share: float = Field(default=0.2, gt=0.0, lt=1.0)
    """The most popular items that have this share are the head."""

    tail_share: float = Field(default=0.2, ge=0.0, lt=1.0)
    """The least popular items that have this share are the tail."""

    @model_validator(mode="after")
    def _apart(self) -> Self:
        if self.head_share + self.tail_share > 1.0:
            raise ValueError(
                f"head_share = {self.head_share} and tail_share = {self.tail_share} must not "
                f"overlap: together at most 1"
            )
        return self


@dataclass(frozen=True, slots=True, eq=False)
class ItemFacts:
    """The catalogue in the training part.

    Attributes:
        popularity: (I,) training users who had the item.
        n_users: training users who had any item.
        group: (I,) position in GROUPS.
        embeddings: (I, D) float32 of length 1 or 0; None if there are none.
    """

    popularity: NDArray[np.int64]
    n_users: int
    group: NDArray[np.int64]
    embeddings: NDArray[np.float32] | None = None

    def __len__(self) -> int:
        return len(self.popularity)

    @classmethod
    def from_training(
        cls,
        training: Histories,
        n_items: int,
        config: PopularityGroupsConfig,
        embeddings: NDArray[np.float32] | None = None,
    ) -> Self:
        """Count popularity.

        Args:
            training: of every user, each item at most once.
            n_items: I.
            config: bounds of the groups.
            embeddings: (I, D) of any length.

        Raises:
            DataError: there is no interaction, or a number of items differs.
        """
        if len(training.items) == 0:
            raise DataError("the training part holds no interaction to count popularity in")
        if embeddings is not None and len(embeddings) != n_items:
            raise DataError(f"{len(embeddings)} item embeddings for {n_items} items")
        popularity = np.bincount(training.items, minlength=n_items)
        if len(popularity) > n_items:
            raise DataError(
                f"the training part has item index {len(popularity) - 1}, but there are only "
                f"{n_items} items"
            )
        return cls(
            popularity,
            int((training.lengths > 0).sum()),
            popularity_groups(popularity, config),
            None if embeddings is None else _unit(embeddings),
        )

    @property
    def self_information(self) -> NDArray[np.float64]:
        """(I,) bits: -log2 of the popularity; an item without users counts as having one."""
        information: NDArray[np.float64] = -np.log2(np.maximum(self.popularity, 1) / self.n_users)
        return information


def popularity_groups(
    popularity: NDArray[np.int64], config: PopularityGroupsConfig
) -> NDArray[np.int64]:
    """Divide items into head, torso and tail.

    >>> config = PopularityGroupsConfig(head_share=0.5, tail_share=0.2)
    >>> popularity_groups(np.array([1, 6, 0, 3]), config).tolist()
    [2, 0, 2, 1]
    """
    order = np.argsort(-popularity, kind="stable")
    before = np.cumsum(popularity[order]) - popularity[order]
    total = popularity.sum()
    # rounded, so that a bound of .8 is not missed by 1 - .2 = .8 and something
    bounds = np.round(np.array([config.head_share, 1.0 - config.tail_share]) * total, 9)
    group = np.empty(len(popularity), dtype=np.int64)
    group[order] = np.searchsorted(bounds, before, side="right")
    group[popularity == 0] = GROUPS.index("tail")
    return group


def _unit(embeddings: NDArray[np.float32]) -> NDArray[np.float32]:
    lengths = np.sqrt(np.square(embeddings).sum(axis=1, keepdims=True))
    return (embeddings / np.where(lengths > 0, lengths, 1.0)).astype(np.float32)
