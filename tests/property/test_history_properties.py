"""Histories, the user-item matrix and recency weights against plain lists."""

from itertools import pairwise
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from diffrec_core.common.errors import DataError
from diffrec_core.data.histories import Histories, concatenate
from diffrec_core.data.recency import RecencyConfig, recency_weights
from diffrec_core.data.tables import INTERACTIONS
from diffrec_core.data.user_item_matrix import user_item_matrix
from tests.oracle import ranking_oracles as oracle
from tests.oracle.strategies import DAY, effort

Entry = tuple[int, int, float]
"""Item, time and weight."""
WEIGHTS = st.floats(0, 100, width=32, allow_subnormal=False)
ENTRIES = st.lists(st.tuples(st.integers(0, 9), st.integers(0, 10**15), WEIGHTS), max_size=6)
KINDS = ("none", "linear", "exponential_position", "exponential_age")


def build(rows: list[list[Entry]]) -> Histories:
    flat = [entry for row in rows for entry in row]
    return Histories(
        np.cumsum([0, *map(len, rows)], dtype=np.int64),
        np.array([item for item, _, _ in flat], dtype=np.int32),
        np.array([time for _, time, _ in flat], dtype=np.int64),
        np.array([weight for _, _, weight in flat], dtype=np.float32),
    )


def entries(histories: Histories) -> list[list[Entry]]:
    columns = zip(
        histories.items.tolist(),
        histories.timestamps.tolist(),
        histories.weights.tolist(),
        strict=True,
    )
    flat, bounds = list(columns), histories.offsets.tolist()
    return [flat[start:end] for start, end in pairwise(bounds)]


@effort(100)
@given(st.lists(ENTRIES, min_size=1, max_size=6), st.data())
def test_take_is_indexing(rows: list[list[Entry]], data: st.DataObject) -> None:
    picks = data.draw(st.lists(st.integers(0, len(rows) - 1), max_size=8))
    taken = build(rows).take(np.array(picks, dtype=np.int64))
    assert entries(taken) == [rows[pick] for pick in picks]
    assert len(taken) == len(picks)
    assert taken.lengths.tolist() == [len(rows[pick]) for pick in picks]
    assert taken.rows.tolist() == [row for row, pick in enumerate(picks) for _ in rows[pick]]


@effort(100)
@given(st.lists(st.tuples(ENTRIES, ENTRIES), max_size=6))
def test_concatenate_is_list_addition(pairs: list[tuple[list[Entry], list[Entry]]]) -> None:
    earlier, later = (build([pair[side] for pair in pairs]) for side in (0, 1))
    assert entries(concatenate(earlier, later)) == [left + right for left, right in pairs]


def test_histories_of_different_users_cannot_be_joined() -> None:
    with pytest.raises(DataError, match="2 and 1 users"):
        concatenate(build([[], []]), build([[]]))


@effort(60)
@given(st.lists(ENTRIES, max_size=6), st.integers(0, 3))
def test_from_frame_reads_what_the_table_says(rows: list[list[Entry]], extra: int) -> None:
    frame = pl.DataFrame(
        [(user, *entry) for user, row in enumerate(rows) for entry in row],
        schema={"user": pl.Int32, "item": pl.Int32, "timestamp": pl.Int64, "weight": pl.Float32},
        orient="row",
    ).cast(INTERACTIONS)
    histories = Histories.from_frame(frame, len(rows) + extra)
    assert entries(histories) == [*rows, *([[]] * extra)]


@pytest.mark.parametrize("users", [[1, 0], [0, 3], [-1, 0]])
def test_users_out_of_order_or_range_are_refused(users: list[int]) -> None:
    frame = pl.DataFrame(
        {"user": users, "item": [0, 0], "timestamp": [0, 0], "weight": [1.0, 1.0]}
    ).cast(INTERACTIONS)
    with pytest.raises(DataError, match="sorted by user index"):
        Histories.from_frame(frame, 3)


@pytest.mark.parametrize(
    ("offsets", "items", "times"),
    [([0, 2], 3, 3), ([1, 3], 3, 3), ([0, 2, 1, 3], 3, 3), ([], 0, 0), ([0, 3], 3, 2)],
)
def test_arrays_that_do_not_belong_together_are_refused(
    offsets: list[int], items: int, times: int
) -> None:
    with pytest.raises(DataError):
        Histories(
            np.array(offsets, dtype=np.int64),
            np.zeros(items, np.int32),
            np.zeros(times, np.int64),
            np.ones(items, np.float32),
        )


@effort(100)
@given(st.lists(ENTRIES, min_size=1, max_size=5), st.booleans())
def test_the_matrix_keeps_every_entry_and_the_largest_of_equals(
    rows: list[list[Entry]], weighted: bool
) -> None:
    histories = build(rows)
    matrix = user_item_matrix(histories, 10, histories.weights if weighted else None)
    expected: dict[tuple[int, int], float] = {}
    for user, row in enumerate(rows):
        for item, _, weight in row:
            value = weight if weighted else 1.0
            expected[user, item] = max(value, expected.get((user, item), -np.inf))
    assert matrix.shape == (len(rows), 10)
    assert matrix.dtype == np.float32
    assert matrix.nnz == len(expected)  # zeros included
    stored = matrix.tocoo()
    found = zip(stored.row.tolist(), stored.col.tolist(), stored.data.tolist(), strict=True)
    assert {(user, item): value for user, item, value in found} == expected


@st.composite
def recency_settings(draw: st.DrawFn) -> dict[str, Any]:
    high = draw(st.floats(0.01, 4.0))
    return {
        "kind": draw(st.sampled_from(KINDS)),
        "weight_max": high,
        "weight_min": high * draw(st.floats(0.0, 1.0)),
        "half_life": draw(st.floats(0.1, 50.0)),
    }


TIMES = st.lists(st.integers(0, 400 * DAY), max_size=8).map(sorted)


@effort(150)
@given(st.lists(TIMES, max_size=5), recency_settings())
def test_recency_is_the_loop_over_each_history(
    times: list[list[int]], values: dict[str, Any]
) -> None:
    histories = Histories.from_lists([list(range(len(row))) for row in times], times)
    weights = recency_weights(histories, RecencyConfig(**values))
    assert weights.dtype == np.float32
    expected = [
        weight
        for row in times
        for weight in oracle.recency(
            values["kind"],
            row,
            low=values["weight_min"],
            high=values["weight_max"],
            half_life=values["half_life"],
        )
    ]
    np.testing.assert_allclose(weights, np.array(expected), rtol=1e-5, atol=1e-6)


@effort(100)
@given(st.lists(TIMES, max_size=5), recency_settings())
def test_weights_rise_along_a_history_to_the_maximum(
    times: list[list[int]], values: dict[str, Any]
) -> None:
    histories = Histories.from_lists([[0] * len(row) for row in times], times)
    config = RecencyConfig(**values)
    weights = recency_weights(histories, config)
    low, high = (1.0, 1.0) if config.kind == "none" else (config.weight_min, config.weight_max)
    for start, end in zip(histories.offsets[:-1], histories.offsets[1:], strict=True):
        row = weights[start:end]
        assert (np.diff(row) >= 0).all()
        if len(row):
            assert row[-1] == row.max() == np.float32(high)
            assert row.min() >= np.float32(low) - np.float32(1e-6) * np.float32(high)


@effort(60)
@given(TIMES, TIMES, recency_settings())
def test_a_users_weights_do_not_depend_on_the_batch(
    one: list[int], other: list[int], values: dict[str, Any]
) -> None:
    config = RecencyConfig(**values)
    alone = recency_weights(Histories.from_lists([[0] * len(one)], [one]), config)
    batch = Histories.from_lists([[0] * len(other), [0] * len(one), []], [other, one, []])
    together = recency_weights(batch, config)
    assert together[len(other) :].tolist() == alone.tolist()


@pytest.mark.parametrize("length", [2, 3, 7])
def test_linear_weights_are_an_even_ladder(length: int) -> None:
    config = RecencyConfig(kind="linear", weight_min=0.25, weight_max=0.75)
    weights = recency_weights(Histories.from_lists([list(range(length)), [0]]), config)
    np.testing.assert_allclose(weights[:-1], np.linspace(0.25, 0.75, length), rtol=1e-6)
    assert weights[-1] == 0.75


def test_exponential_weights_by_hand() -> None:
    """Days 0, 6, 9 and 10: ages 10, 4, 1, 0, and places 3, 2, 1, 0 from the newest."""
    histories = Histories.from_lists([[0, 1, 2, 3]], [[0, 6 * DAY, 9 * DAY, 10 * DAY]])
    settings = {"weight_min": 0.1, "weight_max": 2.0, "half_life": 2.0}
    by_age = recency_weights(histories, RecencyConfig(kind="exponential_age", **settings))
    by_place = recency_weights(histories, RecencyConfig(kind="exponential_position", **settings))
    np.testing.assert_allclose(by_age, [0.1, 0.5, 2 / 2**0.5, 2.0], rtol=1e-6)
    np.testing.assert_allclose(by_place, [2 / 2**1.5, 1.0, 2 / 2**0.5, 2.0], rtol=1e-6)


@effort(80)
@given(st.lists(TIMES, max_size=5), recency_settings())
def test_a_kept_total_is_the_length_and_keeps_the_proportions(
    times: list[list[int]], values: dict[str, Any]
) -> None:
    histories = Histories.from_lists([[0] * len(row) for row in times], times)
    plain = recency_weights(histories, RecencyConfig(**values))
    kept = recency_weights(histories, RecencyConfig(**values, keep_total=True))
    for start, end in zip(histories.offsets[:-1], histories.offsets[1:], strict=True):
        assert float(kept[start:end].sum()) == pytest.approx(end - start, rel=1e-4)
        ratio = float(kept[start:end].sum()) / max(float(plain[start:end].sum()), 1e-30)
        np.testing.assert_allclose(kept[start:end], plain[start:end] * ratio, rtol=1e-3)


def test_a_kept_total_by_hand() -> None:
    config = RecencyConfig(kind="linear", weight_min=0.0, keep_total=True)
    weights = recency_weights(Histories.from_lists([[4, 5, 6], [7]]), config)
    assert weights.tolist() == [0.0, 1.0, 2.0, 1.0]
