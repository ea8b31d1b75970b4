"""A night's targets and scores, worked out by hand."""

from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from diffrec_core.contest.judging import NightTask, night_task, score_night
from diffrec_core.data.build_interactions import InteractionsConfig, build_interactions
from diffrec_core.data.histories import Histories
from diffrec_core.data.interactions import Interactions
from diffrec_core.data.tables import EVENTS
from diffrec_core.data.vocabulary import UNKNOWN
from tests.oracle.strategies import effort

START = datetime(2024, 1, 1, tzinfo=UTC)
NO_TITLES = pl.DataFrame(schema={"item_id": pl.String, "title": pl.String})
CONFIG = InteractionsConfig(
    event_types=("buy",), min_value=3.0, min_user_interactions=1, min_item_interactions=1
)
Row = tuple[str, str, float, str, float]

ROWS: list[Row] = [
    *[("ann", "a", 0, "buy", 5.0), ("ann", "b", 1, "buy", 5.0), ("ann", "c", 1, "look", 5.0)],
    *[("bob", "b", 1, "buy", 5.0), ("bob", "c", 2, "buy", 4.0), ("bob", "d", 3, "buy", 4.0)],
    ("eve", "a", 2, "look", 5.0),  # no history: she has bought nothing
    # the night of day 10
    ("ann", "d", 10.9, "buy", 5.0),
    ("ann", "d", 10.1, "buy", 5.0),  # the same pair, earlier
    ("ann", "new", 10.2, "buy", 5.0),  # an item that nobody had
    ("ann", "c", 10.3, "buy", 5.0),  # seen before
    ("ann", "b", 10.4, "buy", 5.0),  # in the history
    ("bob", "a", 10.0, "buy", 2.0),  # not liked
    ("bob", "a", 11.0, "buy", 5.0),  # after the night
    *[("eve", "b", 10.5, "buy", 5.0), ("zoe", "a", 10.5, "buy", 5.0)],
]


def day(number: float) -> datetime:
    return START + timedelta(days=number)


def events(rows: list[Row]) -> pl.LazyFrame:
    table = [(u, i, day(at), kind, value, "f", n) for n, (u, i, at, kind, value) in enumerate(rows)]
    return pl.LazyFrame(table, schema=EVENTS, orient="row")


def before(rows: list[Row], until: float) -> Interactions:
    config = CONFIG.model_copy(update={"end": day(until)})
    return build_interactions(events(rows), NO_TITLES, config)[0]


def night(rows: list[Row], start: float, end: float) -> tuple[Interactions, NightTask]:
    known = before(rows, start)
    return known, night_task(known, events(rows), CONFIG, day(start), day(end))


def test_targets_are_what_was_liked_and_new_to_users_with_a_history() -> None:
    known, found = night(ROWS, 10, 11)
    assert known.items.ids == ("a", "b", "c", "d")
    assert found.user_ids == ("ann",)
    assert found.targets.items.tolist() == [3]
    assert found.n_targets.tolist() == [2]  # d, and one that no model can know
    assert found.histories.items.tolist() == [0, 1]
    assert sorted(found.seen.items.tolist()) == [0, 1, 2]


def test_users_of_unknown_items_alone_count_as_missed() -> None:
    _, found = night([*ROWS, ("bob", "new", 12.5, "buy", 5.0)], 12, 13)
    assert (found.user_ids, found.n_targets.tolist()) == (("bob",), [1])
    assert score_night(by_index, found, (2,))["recall@2"].tolist() == [0.0]


def by_index(histories: Histories) -> Tensor:
    """The highest index first."""
    return torch.arange(4.0).expand(len(histories), 4).clone()


def test_scores_by_hand() -> None:
    _, found = night(ROWS, 10, 11)
    measured = score_night(by_index, found, (1, 2))
    assert measured["recall@2"].tolist() == [0.5]
    assert measured["ndcg@1"].tolist() == [1.0]
    ideal = 1 + 1 / np.log2(3)
    assert measured["ndcg@2"].tolist() == pytest.approx([1 / ideal])


def test_older_weights_miss_items_that_they_do_not_know() -> None:
    _, found = night(ROWS, 10, 11)
    older = found.for_items(np.array([2, 1, 0, UNKNOWN], np.int32))
    assert older.histories.items.tolist() == [2, 1]
    assert sorted(older.seen.items.tolist()) == [0, 1, 2]
    assert older.targets.items.tolist() == []
    assert older.n_targets.tolist() == [2]
    scores = score_night(lambda h: torch.ones(len(h), 3), older, (2,))
    assert scores["recall@2"].tolist() == [0.0]


@st.composite
def logs(draw: st.DrawFn) -> list[Row]:
    row = st.tuples(
        *(st.sampled_from("uvw"), st.sampled_from("abcde"), st.integers(0, 11).map(float)),
        *(st.sampled_from(["look", "buy"]), st.sampled_from([1.0, 5.0])),
    )
    return [("u", "a", 0.0, "buy", 5.0), *draw(st.lists(row, max_size=40))]


@effort(60)
@given(rows=logs(), start=st.integers(1, 10))
def test_a_night_is_what_its_events_say(rows: list[Row], start: int) -> None:
    known, found = night(rows, start, start + 1)
    liked: dict[str, dict[str, float]] = {}
    seen: dict[str, set[str]] = {}
    for user, item, at, kind, value in rows:
        if at < start:
            seen.setdefault(user, set()).add(item)
            if kind == "buy" and value >= 3:
                liked.setdefault(user, {}).setdefault(item, at)
    wanted: dict[str, set[str]] = {}
    for user, item, at, kind, value in rows:
        # what the user saw of items that nobody had bought is unknown to all
        met = item in seen.get(user, set()) and item in known.items.ids
        if at == start and kind == "buy" and value >= 3 and not met and user in liked:
            wanted.setdefault(user, set()).add(item)
    assert dict(zip(found.user_ids, found.n_targets.tolist(), strict=True)) == {
        user: len(items) for user, items in wanted.items()
    }
    for row, user in enumerate(found.user_ids):
        own = np.array([row])
        targets = {known.items.ids[item] for item in found.targets.take(own).items}
        assert targets == wanted[user] & set(known.items.ids)
        assert {known.items.ids[i] for i in found.histories.take(own).items} == set(liked[user])


def test_a_night_knows_nothing_of_itself() -> None:
    rows: list[Any] = [*ROWS, *[(f"u{n}", "e", 10.5, "buy", 5.0) for n in range(9)]]
    assert night(rows, 10, 11)[1].user_ids == night(ROWS, 10, 11)[1].user_ids
