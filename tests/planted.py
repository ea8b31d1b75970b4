"""Planted structure: two blocks of users and items whose right recommendations are known."""

import numpy as np
import polars as pl

from diffrec_core.data.histories import Histories
from diffrec_core.data.interactions import Interactions
from diffrec_core.data.schema import ITEM, TIMESTAMP, USER, WEIGHT
from diffrec_core.data.seen import seen_of
from diffrec_core.data.tables import INTERACTIONS, TIMESTAMP_TYPE
from diffrec_core.data.vocabulary import Vocabulary
from diffrec_core.evaluation.ranking import RankingTask
from diffrec_core.models.base import TrainingData

N_USERS, N_ITEMS, HELD_OUT = 80, 24, 2
HALF_USERS, HALF_ITEMS = N_USERS // 2, N_ITEMS // 2


def planted_task(seed: int = 0) -> RankingTask:
    """Users of a block have had all but two of its items, in random order; the two are targets.

    Each user's held-out pair is another one, so that popularity within the block tells nothing.
    """
    rng = np.random.default_rng(seed)
    histories, targets = [], []
    for user in range(N_USERS):
        first = 0 if user < HALF_USERS else HALF_ITEMS
        order = first + rng.permutation(HALF_ITEMS)
        histories.append(order[:-HELD_OUT].tolist())
        targets.append(order[-HELD_OUT:].tolist())
    past, future = Histories.from_lists(histories), Histories.from_lists(targets)
    return RankingTask("validation", past, future)


def planted_data(seed: int = 0) -> TrainingData:
    """The past of the planted task, to be trained on for all epochs: nothing stops it early."""
    items = Vocabulary(tuple(f"item-{index}" for index in range(N_ITEMS)))
    clusters = np.repeat([0, 1], HALF_ITEMS)
    histories = planted_task(seed).histories
    return TrainingData(histories=histories, items=items, item_clusters=clusters)


def planted_interactions() -> Interactions:
    """The planted past as the interactions that a service is given."""
    data = planted_data()
    frame = pl.DataFrame(
        {
            USER: data.histories.rows,
            ITEM: data.histories.items,
            TIMESTAMP: data.histories.timestamps,
            WEIGHT: data.histories.weights,
        }
    ).with_columns(pl.col(TIMESTAMP).cast(TIMESTAMP_TYPE))
    users = Vocabulary(tuple(f"user-{index}" for index in range(N_USERS)))
    frame = frame.cast(dict(INTERACTIONS))
    return Interactions(frame, users, data.items, seen_of(frame))
