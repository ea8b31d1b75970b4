"""Events to interactions, on a dozen rows whose result is worked out by hand."""

from datetime import UTC, datetime
from typing import Any

import polars as pl
import pytest

from diffrec_core.common.errors import DataError
from diffrec_core.data.build_interactions import InteractionsConfig, build_interactions
from diffrec_core.data.schema import ITEM, TIMESTAMP, USER
from diffrec_core.data.tables import EVENTS, INTERACTIONS

DAY = 86_400


def events(rows: list[tuple[Any, ...]]) -> pl.LazyFrame:
    """Rows of (user, item, day, event type, value)."""
    return pl.LazyFrame(
        [
            {
                "user_id": user,
                "item_id": item,
                "timestamp": datetime.fromtimestamp(day * DAY, UTC),
                "event_type": kind,
                "value": value,
                "source_file": "f",
                "source_row": number,
            }
            for number, (user, item, day, kind, value) in enumerate(rows)
        ],
        schema=EVENTS,
    )


ROWS = [
    ("u2", "b", 3, "view", 5.0),
    ("u1", "a", 1, "view", 5.0),
    ("u1", "b", 2, "buy", 3.0),
    ("u1", "a", 4, "buy", 4.0),  # the pair (u1, a) again, later: dropped
    ("u2", "a", 3, "view", 2.0),  # same time as (u2, b): order by item id
]
NO_TITLES = pl.DataFrame(schema={"item_id": pl.String, "title": pl.String})
SMALL = InteractionsConfig(min_user_interactions=1, min_item_interactions=1)


def build(config: InteractionsConfig, titles: pl.DataFrame = NO_TITLES) -> Any:
    return build_interactions(events(ROWS), titles, config)


def test_first_of_each_pair_sorted_by_user_time_and_item() -> None:
    interactions, counts = build(SMALL)
    assert interactions.frame.schema == INTERACTIONS
    rows = [
        (interactions.users.ids[u], interactions.items.ids[i], t.timestamp() / DAY)
        for u, i, t in interactions.frame.select(USER, ITEM, TIMESTAMP).iter_rows()
    ]
    assert rows == [("u1", "a", 1), ("u1", "b", 2), ("u2", "a", 3), ("u2", "b", 3)]
    assert counts["events"] == 5
    assert counts["pairs"] == counts["interactions"] == 4
    assert counts["tied_timestamps"] == 1


def test_vocabularies_are_in_order_of_first_appearance() -> None:
    interactions, _ = build(SMALL)
    assert interactions.users.ids == ("u1", "u2")
    assert interactions.items.ids == ("a", "b")


def test_later_data_do_not_renumber_earlier_ids() -> None:
    early, _ = build(SMALL)
    more = [*ROWS, ("u0", "0", 9, "view", 5.0)]
    late, _ = build_interactions(events(more), NO_TITLES, SMALL)
    assert late.users.ids[:2] == early.users.ids
    assert late.items.ids[:2] == early.items.ids


def test_row_order_does_not_matter() -> None:
    forwards, _ = build(SMALL)
    backwards, _ = build_interactions(events(ROWS[::-1]), NO_TITLES, SMALL)
    assert forwards.frame.equals(backwards.frame)


@pytest.mark.parametrize(
    ("change", "left"),
    [
        ({"min_value": 4.0}, 2),
        ({"event_types": ("buy",)}, 2),
        ({"start": "1970-01-03"}, 4),
        ({"end": "1970-01-04"}, 2),
        ({"start": "1970-01-04", "end": "1970-01-05"}, 2),
    ],
)
def test_filters(change: dict[str, Any], left: int) -> None:
    config = InteractionsConfig(min_user_interactions=1, min_item_interactions=1, **change)
    interactions, _ = build(config)
    assert len(interactions.frame) == left


def test_what_each_filter_leaves_is_counted_in_their_order() -> None:
    config = InteractionsConfig(
        start="1970-01-02",
        end="1970-01-05",
        event_types=("view",),
        min_value=4.0,
        min_user_interactions=1,
        min_item_interactions=1,
    )
    rows = [
        ("u1", "a", 1, "view", 5.0),
        ("u1", "b", 2, "view", 5.0),
        ("u1", "b", 2.5, "view", 4.0),  # again
        ("u1", "c", 2, "view", 1.0),
        ("u1", "d", 2, "buy", 5.0),
        ("u1", "e", 2, "view", None),
        ("u2", "f", 3, "view", 4.0),
        ("u2", "g", 3, None, 4.0),
        ("u2", "h", 9, "view", 5.0),
    ]
    _, counts = build_interactions(events(rows), NO_TITLES, config)
    names = ("events", "in_window", "of_event_types", "of_min_value", "pairs", "interactions")
    assert [counts[name] for name in names] == [9, 8, 6, 4, 3, 3]
    assert not {"in_window", "of_event_types", "of_min_value"} & build(SMALL)[1].keys()


def test_the_core_filter_repeats_until_both_hold() -> None:
    # c falls (1 user), then u3 has one item left and falls, and nobody else does
    rows = [
        *[(user, item, 1, None, None) for user in ("u1", "u2") for item in ("a", "b")],
        ("u3", "a", 1, None, None),
        ("u3", "c", 1, None, None),
    ]
    config = InteractionsConfig(min_user_interactions=2, min_item_interactions=2)
    interactions, counts = build_interactions(events(rows), NO_TITLES, config)
    assert interactions.users.ids == ("u1", "u2")
    assert interactions.items.ids == ("a", "b")
    assert counts["filter_rounds"] >= 2


def test_titles_are_joined_and_missing_ones_fall_back_to_the_id() -> None:
    titles = pl.DataFrame({"item_id": ["a", "z"], "title": ["Alpha", "Omega"]})
    interactions, _ = build(SMALL, titles)
    assert [interactions.items.title(index) for index in range(2)] == ["Alpha", "b"]


def test_nothing_left_says_which_filter_took_it() -> None:
    with pytest.raises(DataError, match=r"none of 5 events .* min_value=9\.0"):
        build(InteractionsConfig(min_value=9.0))
    with pytest.raises(DataError, match=r"none of 4 \(user, item\) pairs .* at least 5 items"):
        build(InteractionsConfig())


def weighted(**changes: Any) -> dict[tuple[str, str], tuple[float, float]]:
    """Day and weight of each pair."""
    config = InteractionsConfig(min_user_interactions=1, min_item_interactions=1, **changes)
    interactions, _ = build(config)
    return {
        (interactions.users.ids[u], interactions.items.ids[i]): (t.timestamp() / DAY, w)
        for u, i, t, w in interactions.frame.iter_rows()
    }


@pytest.mark.parametrize(
    ("duplicates", "weights", "expected"),
    [
        ("first", {}, (1, 1.0)),
        ("last", {}, (4, 1.0)),
        ("sum", {}, (1, 2.0)),
        ("first", {"buy": 5.0, "view": 0.5}, (1, 0.5)),
        ("last", {"buy": 5.0}, (4, 5.0)),
        ("sum", {"buy": 5.0}, (1, 6.0)),
    ],
)
def test_duplicates_make_one_interaction_by_a_stated_rule(
    duplicates: str, weights: dict[str, float], expected: tuple[float, float]
) -> None:
    found = weighted(duplicates=duplicates, event_weights=weights)
    assert found["u1", "a"] == expected
    assert found["u2", "b"] == (3, weights.get("view", 1.0))


def test_events_without_a_type_weigh_one() -> None:
    config = InteractionsConfig(
        min_user_interactions=1, min_item_interactions=1, event_weights={"buy": 5.0}
    )
    rows = [("u", "a", 1, None, None), ("u", "b", 1, "buy", None)]
    interactions, _ = build_interactions(events(rows), NO_TITLES, config)
    assert interactions.frame["weight"].to_list() == [1.0, 5.0]


def test_a_limit_of_events_per_user_and_day_is_counted(caplog: pytest.LogCaptureFixture) -> None:
    rows = [("bot", f"i{at}", 1 + at / 100, None, None) for at in range(9, -1, -1)]
    rows += [("bot", "i9", 2, None, None), ("u", "i0", 1, None, None), ("u", "i1", 1, None, None)]
    config = InteractionsConfig(
        min_user_interactions=1, min_item_interactions=1, max_user_events_per_day=3
    )
    interactions, counts = build_interactions(events(rows), NO_TITLES, config)
    assert len(interactions.frame) == 6
    assert set(interactions.items.ids) == {"i0", "i1", "i2", "i9"}
    assert (counts["above_daily_limit"], counts["users_above"]) == (7, 1)
    assert "leaves out 7 events of 1 users" in caplog.text


def test_event_types_that_never_occur_are_told(caplog: pytest.LogCaptureFixture) -> None:
    build(SMALL.model_copy(update={"event_types": ("buy", "add"), "event_weights": {"rent": 2.0}}))
    assert "no event has the type add, rent; found: view 3, buy 2" in caplog.text


def test_a_threshold_is_compared_as_it_is_written() -> None:
    rows = [("u", "a", 1, None, 4.1), ("u", "b", 1, None, 4.0999)]
    config = InteractionsConfig(min_user_interactions=1, min_item_interactions=1, min_value=4.1)
    interactions, _ = build_interactions(events(rows), NO_TITLES, config)
    assert interactions.items.ids == ("a",)


def test_nothing_left_says_what_there_was() -> None:
    with pytest.raises(DataError, match=r"values from 2\.0 to 5\.0 and the types \['buy'"):
        build(InteractionsConfig(event_types=("add",)))
