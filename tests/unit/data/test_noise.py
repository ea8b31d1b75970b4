"""False positives go where they belong, and nowhere else."""

from datetime import UTC, datetime

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from diffrec_core.common.errors import DataError
from diffrec_core.data.histories import Histories, concatenate
from diffrec_core.data.noise import Pairs, add_pairs, divide, low_rated_pairs, random_pairs
from diffrec_core.data.tables import EVENTS
from diffrec_core.data.vocabulary import Vocabulary

N_ITEMS = 40


def planted(n_users: int = 30, length: int = 8) -> tuple[Histories, Histories]:
    """Train and test: distinct items per user."""
    rng = np.random.default_rng(1)
    items = [rng.permutation(N_ITEMS)[: length + 2].tolist() for _ in range(n_users)]
    return (
        Histories.from_lists([row[:length] for row in items]),
        Histories.from_lists([row[length:] for row in items]),
    )


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 1.0])
def test_random_pairs_are_new_distinct_and_as_many_as_asked(share: float) -> None:
    train, test = planted()
    known = concatenate(train, test)
    pairs = random_pairs(train, known, share=share, n_items=N_ITEMS, seed=3)
    assert len(pairs.rows) == round(share * len(train.items))
    met = set(zip(known.rows.tolist(), known.items.tolist(), strict=True))
    drawn = list(zip(pairs.rows.tolist(), pairs.items.tolist(), strict=True))
    assert len(set(drawn)) == len(drawn)
    assert not met & set(drawn)
    noisy = add_pairs(train, pairs)
    for row in range(len(noisy)):
        times = noisy.timestamps[noisy.offsets[row] : noisy.offsets[row + 1]]
        assert (np.diff(times) >= 0).all()
        assert times[0] == train.timestamps[train.offsets[row]]  # within the user's own span
    again = random_pairs(train, known, share=share, n_items=N_ITEMS, seed=3)
    assert all(np.array_equal(a, b) for a, b in zip(pairs, again, strict=True))


def test_random_pairs_differ_by_seed_and_are_spread_over_all_items() -> None:
    train, test = planted(n_users=400)
    known = concatenate(train, test)
    one = random_pairs(train, known, share=0.5, n_items=N_ITEMS, seed=1)
    two = random_pairs(train, known, share=0.5, n_items=N_ITEMS, seed=2)
    assert not np.array_equal(one.items, two.items)
    counts = np.bincount(one.items, minlength=N_ITEMS)
    assert counts.min() > 0.5 * counts.mean()
    assert counts.max() < 1.6 * counts.mean()


def test_too_many_random_pairs_are_refused() -> None:
    train = Histories.from_lists([[0, 1, 2]])
    with pytest.raises(DataError, match="needs 3 user-item pairs that never met, found 1"):
        random_pairs(train, train, share=1.0, n_items=4, seed=0)


@given(st.data())
def test_adding_pairs_keeps_what_was_there_in_order(data: st.DataObject) -> None:
    rows = data.draw(st.lists(st.lists(st.integers(0, 9), max_size=4), min_size=1, max_size=4))
    histories = Histories.from_lists(rows, [[10 * i for i in range(len(row))] for row in rows])
    new = data.draw(
        st.lists(
            st.tuples(st.integers(0, len(rows) - 1), st.integers(100, 109), st.integers(0, 50)),
            max_size=6,
        )
    )
    columns = np.array(new, dtype=np.int64).reshape(-1, 3).T
    noisy = add_pairs(histories, Pairs(*columns))
    for row, items in enumerate(rows):
        part = slice(noisy.offsets[row], noisy.offsets[row + 1])
        found = noisy.items[part]
        assert found[found < 100].tolist() == items
        assert sorted(found[found >= 100].tolist()) == sorted(i for r, i, _ in new if r == row)
        assert (np.diff(noisy.timestamps[part]) >= 0).all()


def event(user: str, item: str, second: int, value: float | None) -> dict[str, object]:
    time = datetime.fromtimestamp(second, UTC)
    return {
        "user_id": user,
        "item_id": item,
        "timestamp": time,
        "event_type": None,
        "value": value,
        "source_file": "log",
        "source_row": 1,
    }


def test_low_rated_pairs_of_known_users_and_items_are_found_once() -> None:
    users, items = Vocabulary(("u", "v")), Vocabulary(("a", "b", "c"))
    events = pl.DataFrame(
        [
            event("u", "b", 5, 2.0),
            event("u", "b", 3, 1.0),  # the first one counts
            event("u", "a", 4, 1.0),  # rated high before
            event("v", "c", 7, 4.0),  # not low
            event("v", "c", 8, None),  # no value
            event("?", "c", 1, 1.0),
            event("v", "?", 1, 1.0),
            event("v", "b", 9, 3.5),
        ],
        schema=EVENTS,
    )
    known = Histories.from_lists([[0], [2]])
    pairs = low_rated_pairs(events, 4.0, users, items, known)
    assert sorted(zip(*(column.tolist() for column in pairs), strict=True)) == [
        (0, 1, 3_000_000),
        (1, 1, 9_000_000),
    ]


def test_pairs_are_divided_by_each_user_s_own_times_and_later_ones_dropped() -> None:
    train = Histories.from_lists([[0, 1], [2]], [[0, 10], [5]])
    validation = Histories.from_lists([[3], []], [[20], []])
    pairs = Pairs(
        np.array([0, 0, 0, 1, 1]), np.array([5, 6, 7, 8, 9]), np.array([10, 15, 21, 4, 6])
    )
    first, second = divide(pairs, train, validation)
    assert first.items.tolist() == [5, 8]
    assert second.items.tolist() == [6]
