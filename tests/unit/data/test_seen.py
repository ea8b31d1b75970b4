"""What counts as seen, and what follows for masks; against the events, pair by pair."""

from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from diffrec_core.common.errors import ArtifactError
from diffrec_core.data.build_interactions import InteractionsConfig, build_interactions
from diffrec_core.data.interactions import (
    Interactions,
    KnownIds,
    read_interactions,
)
from diffrec_core.data.seen import as_histories, not_again, read_seen, seen_of
from diffrec_core.data.tables import EVENTS, SEEN
from tests.oracle.strategies import effort

NO_TITLES = pl.DataFrame(schema={"item_id": pl.String, "title": pl.String})
START = datetime(2024, 1, 1, tzinfo=UTC)
Row = tuple[str, str, int, str | None, float | None]


def events(rows: list[Row]) -> pl.LazyFrame:
    """Rows of (user, item, day, event type, value)."""
    return pl.LazyFrame(
        [
            (user, item, START + timedelta(days=day), kind, value, "f", number)
            for number, (user, item, day, kind, value) in enumerate(rows)
        ],
        schema=EVENTS,
        orient="row",
    )


def build(rows: list[Row], known: KnownIds | None = None, **settings: Any) -> Interactions:
    least = {"min_user_interactions": 1, "min_item_interactions": 1}
    config = InteractionsConfig.model_validate({**least, **settings})
    return build_interactions(events(rows), NO_TITLES, config, known or KnownIds())[0]


def seen_days(built: Interactions) -> dict[tuple[str, str], tuple[int, int]]:
    """(user, item) -> first and last day."""
    return {
        (built.users.ids[u], built.items.ids[i]): ((first - START).days, (last - START).days)
        for u, i, first, last in built.seen.iter_rows()
    }


ROWS: list[Row] = [
    ("ann", "a", 1, "buy", 5.0),
    ("ann", "b", 2, "view", 1.0),
    ("bob", "a", 3, "view", 2.0),
    ("bob", "b", 4, "buy", 4.0),
    ("bob", "b", 9, "view", None),
    ("bob", "c", 5, "view", 4.0),  # nobody buys c: it is no item
    ("cat", "a", 5, None, None),  # cat buys nothing: it is no user
    ("ann", "b", 20, "buy", 4.0),
]


@pytest.mark.parametrize(
    ("settings", "seen"),
    [
        ({}, {"ann a": (1, 1), "ann b": (2, 20), "bob a": (3, 3), "bob b": (4, 9)}),
        (
            {"seen_event_types": ["buy"]},
            {"ann a": (1, 1), "ann b": (20, 20), "bob b": (4, 4)},
        ),
        ({"seen_event_types": []}, {"ann a": (1, 1), "ann b": (20, 20), "bob b": (4, 4)}),
        (  # what came before the window was seen, what comes after it is unknown
            {"start": START + timedelta(days=2), "end": START + timedelta(days=9)},
            {"bob b": (4, 4)},
        ),
    ],
)
def test_which_events_mean_that_an_item_was_seen(
    settings: dict[str, Any], seen: dict[str, tuple[int, int]]
) -> None:
    built = build(ROWS, event_types=["buy"], **settings)
    assert built.seen.schema == SEEN
    assert seen_days(built) == {tuple(pair.split()): days for pair, days in seen.items()}


def test_what_was_seen_before_the_window_stays_seen() -> None:
    built = build(ROWS, min_value=4.0, start=START + timedelta(days=3))
    assert seen_days(built)["ann", "b"] == (2, 20)


def test_users_and_items_that_an_earlier_run_knew_have_seen_what_they_have_seen() -> None:
    built = build(ROWS, KnownIds(("cat",), ("c",)), event_types=["buy"])
    assert seen_days(built)["cat", "a"] == (5, 5)
    assert seen_days(built)["bob", "c"] == (5, 5)


@st.composite
def logs(draw: st.DrawFn) -> list[Row]:
    row = st.tuples(
        *(st.sampled_from("uvw"), st.sampled_from("abcd"), st.integers(0, 9)),
        *(st.sampled_from(["view", "buy", None]), st.sampled_from([1.0, 4.0, None])),
    )
    return [("u", "a", 0, "buy", 5.0), *draw(st.lists(row, max_size=25))]


@effort(100)
@given(
    rows=logs(),
    types=st.sampled_from([None, [], ["view"], ["view", "buy"]]),
    liked=st.sampled_from([None, ["buy"]]),
    min_value=st.sampled_from([None, 4.0]),
    end=st.integers(1, 10),
)
def test_seen_is_what_the_events_say(
    rows: list[Row],
    types: list[str] | None,
    liked: list[str] | None,
    min_value: float | None,
    end: int,
) -> None:
    built = build(
        rows,
        seen_event_types=types,
        event_types=liked,
        min_value=min_value,
        end=START + timedelta(days=end),
    )
    expected: dict[tuple[str, str], list[int]] = {}
    for user, item, day, kind, value in rows:
        passes = (liked is None or kind in liked) and (
            min_value is None or (value is not None and value >= min_value)
        )
        counts = types is None or kind in types or passes
        if day < end and counts and user in built.users.ids and item in built.items.ids:
            expected.setdefault((user, item), []).append(day)
    assert seen_days(built) == {pair: (min(d), max(d)) for pair, d in expected.items()}
    met = set(built.seen.select("user", "item").iter_rows())
    assert set(built.frame.select("user", "item").iter_rows()) <= met
    histories = as_histories(built.seen, len(built.users))
    assert set(zip(histories.rows.tolist(), histories.items.tolist(), strict=True)) == met
    if types == []:
        assert met == set(built.frame.select("user", "item").iter_rows())


def test_what_may_come_again() -> None:
    rows: list[Row] = [("u", "a", 0, None, None), ("u", "b", 5, None, None)]
    seen = build([*rows, ("u", "b", 9, None, None), ("u", "c", 10, None, None)]).seen
    assert not_again(seen, "never").equals(seen)
    assert not_again(seen, "allowed").is_empty()
    assert not_again(seen, 10)["item"].to_list() == [1, 2]  # a was met 10 days before
    assert not_again(seen, 11)["item"].to_list() == [0, 1, 2]
    assert not_again(seen, 1)["item"].to_list() == [2]


def test_files(tmp_path: Any) -> None:
    built = build(ROWS)
    built.write(tmp_path)
    assert read_interactions(tmp_path).seen.equals(built.seen)
    (tmp_path / "seen.parquet").unlink()  # as of versions that were registered before there was one
    assert read_interactions(tmp_path).seen.equals(seen_of(built.frame))
    built.frame.write_parquet(tmp_path / "seen.parquet")
    with pytest.raises(ArtifactError, match="no table of seen items"):
        read_seen(tmp_path)


def test_an_erased_user_has_seen_nothing() -> None:
    erased = build(ROWS).without_user("ann")
    assert {user for user, _ in seen_days(erased)} == {"bob", "cat"}
