"""Ids that were known before keep their indices, whatever the new events are."""

from datetime import UTC, datetime
from pathlib import Path

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from diffrec_core.common.errors import DataError
from diffrec_core.data.build_interactions import InteractionsConfig, build_interactions
from diffrec_core.data.interactions import NOTHING_KNOWN, Interactions, KnownIds, read_known_ids
from diffrec_core.data.schema import ITEM, USER
from diffrec_core.data.tables import EVENTS

SMALL = InteractionsConfig(min_user_interactions=1, min_item_interactions=1)
NO_TITLES = pl.DataFrame(schema={"item_id": pl.String, "title": pl.String})
Rows = list[tuple[str, str, int]]


def build(
    rows: Rows, known: KnownIds = NOTHING_KNOWN, config: InteractionsConfig = SMALL
) -> Interactions:
    """Interactions of (user, item, day) rows."""
    events = pl.LazyFrame(
        [
            {
                "user_id": user, "item_id": item, "value": 5.0, "event_type": "view",
                "timestamp": datetime.fromtimestamp(day * 86_400, UTC),
                "source_file": "f", "source_row": number,
            }
            for number, (user, item, day) in enumerate(rows)
        ],
        schema=EVENTS,
    )  # fmt: skip
    return build_interactions(events, NO_TITLES, config, known)[0]


def ids_of(interactions: Interactions) -> KnownIds:
    return KnownIds(interactions.users.ids, interactions.items.ids)


def by_ids(interactions: Interactions) -> set[tuple[str, str]]:
    users, items = interactions.users.ids, interactions.items.ids
    return {(users[u], items[i]) for u, i in interactions.frame.select(USER, ITEM).iter_rows()}


def test_known_ids_keep_their_indices_and_new_ones_follow() -> None:
    rows = [("u1", "a", 1), ("u2", "b", 2), ("u0", "c", 3), ("u9", "0", 3)]
    found = build(rows, KnownIds(("u2", "u1"), ("b", "x", "a")))
    assert found.users.ids == ("u2", "u1", "u0", "u9")
    assert found.items.ids == ("b", "x", "a", "0", "c")
    assert by_ids(found) == {(user, item) for user, item, _ in rows}


def test_an_id_without_interactions_keeps_its_place() -> None:
    found = build([("u1", "a", 1)], KnownIds(("gone", "u1"), ("a", "gone", "too")))
    assert found.users.ids == ("gone", "u1")
    assert found.items.ids == ("a", "gone", "too")
    assert found.frame.select(USER, ITEM).rows() == [(1, 0)]


def test_a_known_id_that_falls_below_the_core_keeps_its_place() -> None:
    rows = [("u1", "a", 1), ("u1", "b", 2), ("u2", "a", 1)]
    config = InteractionsConfig(min_user_interactions=2, min_item_interactions=1)
    found = build(rows, KnownIds(("u2",), ("c",)), config)
    assert found.users.ids == ("u2", "u1")
    assert found.items.ids == ("c", "a", "b")
    assert by_ids(found) == {("u1", "a"), ("u1", "b")}


def test_what_is_written_is_known_the_next_time(tmp_path: Path) -> None:
    found = build([("u1", "a", 1), ("u2", "b", 2)])
    found.write(tmp_path)
    assert read_known_ids(tmp_path) == KnownIds(("u1", "u2"), ("a", "b"))


def test_a_folder_without_vocabularies_knows_nothing(tmp_path: Path) -> None:
    assert read_known_ids(tmp_path) == NOTHING_KNOWN


ROWS = st.lists(
    st.tuples(
        st.sampled_from([f"u{n}" for n in range(6)]),
        st.sampled_from([f"i{n}" for n in range(6)]),
        st.integers(0, 9),
    ),
    min_size=1,
    max_size=40,
)


@settings(deadline=None, max_examples=40)  # ten nights each
@given(rows=ROWS, window=st.integers(1, 10), core=st.integers(1, 2))
def test_day_by_day_no_id_is_renumbered(rows: Rows, window: int, core: int) -> None:
    """With late events, windows that forget and a core that drops: indices only grow."""
    config = InteractionsConfig(min_user_interactions=core, min_item_interactions=core)
    known = NOTHING_KNOWN
    for day in range(10):
        inside = [row for row in rows if day - window < row[2] <= day]
        try:
            found = build(inside, known, config)
            alone = build(inside, NOTHING_KNOWN, config)
        except DataError:  # the night fails, and its ids are never those of the night before
            continue
        now = ids_of(found)
        assert now.users[: len(known.users)] == known.users
        assert now.items[: len(known.items)] == known.items
        assert len(set(now.users)) == len(now.users)
        assert set(now.users) == set(known.users) | set(alone.users.ids)
        assert set(now.items) == set(known.items) | set(alone.items.ids)
        assert by_ids(found) == by_ids(alone)  # the same interactions by any numbering
        known = now
