"""Splits of tiny tables, row by row. Every row's number stands in its comment."""

from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl
import pytest

from diffrec_core.common.errors import DataError
from diffrec_core.data.seen import seen_of
from diffrec_core.data.splits import (
    Split,
    SplitConfig,
    describe_split,
    split_interactions,
    split_seen,
)
from diffrec_core.data.tables import INTERACTIONS
from diffrec_core.data.tables import SEEN as SEEN_TABLE

START = datetime(2024, 1, 1, tzinfo=UTC)


def day(number: float) -> datetime:
    return START + timedelta(days=number)


def table(rows: list[tuple[int, int, float]]) -> pl.DataFrame:
    """Rows of (user, item, day); the weight is the row's number, to recognise it by."""
    return pl.DataFrame(
        [(user, item, day(when), float(n)) for n, (user, item, when) in enumerate(rows)],
        schema=INTERACTIONS,
        orient="row",
    )


TEN = table(
    [
        (0, 4, 1),  # 0
        (0, 1, 2),  # 1
        (0, 3, 3),  # 2
        (0, 2, 8),  # 3
        (0, 0, 9),  # 4
        (1, 1, 3),  # 5
        (1, 0, 4),  # 6
        (1, 5, 7),  # 7
        (2, 2, 6),  # 8
        (2, 6, 7),  # 9
    ]
)


def row_numbers(split: Split) -> list[list[int]]:
    return [
        [int(w) for w in part["weight"]] for part in (split.train, split.validation, split.test)
    ]


def split_rows(frame: pl.DataFrame, **settings: Any) -> list[list[int]]:
    return row_numbers(split_interactions(frame, SplitConfig.model_validate(settings)))


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        # 5 interactions are cut at ⌈3⌉ and ⌈4⌉, 3 at ⌈1.8⌉ and ⌈2.4⌉, 2 at ⌈1.2⌉ and ⌈1.6⌉
        (
            {"method": "per_user_time", "validation_share": 0.2, "test_share": 0.2},
            [[0, 1, 2, 5, 6, 8, 9], [3, 7], [4]],
        ),
        (
            {"method": "per_user_time", "validation_share": 0.1, "test_share": 0.6},
            [[0, 1, 5, 8], [6], [2, 3, 4, 7, 9]],
        ),
        ({"method": "leave_last_out"}, [[0, 1, 2, 5, 8, 9], [3, 6], [4, 7]]),
        # in time: 0 | 1 | 2 5 | 6 | 8 | 7 9 | 3 | 4; ten times .7 and .8 fall on the two of day 7
        # and on day 8
        ({"method": "global_time"}, [[0, 1, 2, 5, 6, 8], [7, 9], [3, 4]]),
        (
            {"method": "predefined", "validation_start": day(3), "test_start": day(7)},
            [[0, 1], [2, 5, 6, 8], [3, 4, 7, 9]],
        ),
        (
            {
                "method": "predefined",
                "validation_start": day(3) + timedelta(microseconds=1),
                "test_start": day(9),
            },
            [[0, 1, 2, 5], [3, 6, 7, 8, 9], [4]],
        ),
    ],
)
def test_rows_land_where_the_method_says(
    settings: dict[str, Any], expected: list[list[int]]
) -> None:
    before = TEN.clone()
    assert split_rows(TEN, **settings) == expected
    assert TEN.equals(before)


@pytest.mark.parametrize(
    ("length", "sizes"), [(10, (7, 1, 2)), (20, (14, 2, 4)), (11, (8, 1, 2)), (100, (70, 10, 20))]
)
def test_seventy_ten_twenty_is_exact_where_it_can_be(
    length: int, sizes: tuple[int, int, int]
) -> None:
    frame = table([(0, n, n) for n in range(length)])
    assert tuple(map(len, split_rows(frame))) == sizes


def test_equal_times_stay_together_and_go_to_the_later_part() -> None:
    frame = table(
        [
            (0, 0, 1),  # 0
            (0, 1, 5),  # 1
            (0, 2, 9),  # 2
            (1, 0, 2),  # 3
            (1, 1, 5),  # 4
            (1, 2, 9),  # 5
            (2, 0, 5),  # 6
            (2, 1, 5),  # 7
            (2, 2, 6),  # 8
            (2, 3, 9),  # 9
        ]
    )
    settings = {"method": "global_time", "validation_share": 0.3, "test_share": 0.2}
    # in time: days 1 2 5 5 5 5 6 9 9 9; the cuts at places 5 and 8 lie inside a tie
    assert split_rows(frame, **settings) == [[0, 3], [1, 4, 6, 7, 8], [2, 5, 9]]


def test_a_part_keeps_the_columns_and_their_types() -> None:
    split = split_interactions(TEN, SplitConfig(method="global_time"))
    for part in (split.train, split.validation, split.test):
        assert part.schema == INTERACTIONS


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"method": "predefined", "validation_start": day(0), "test_start": day(5)},
            r"for train \(found train 0, validation 5, test 5\)",
        ),
        (
            {"method": "predefined", "validation_start": day(4), "test_start": day(99)},
            r"for test \(found train 4, validation 6, test 0\)",
        ),
    ],
)
def test_an_empty_part_is_an_error(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        split_rows(TEN, **settings)


def test_everything_at_once_cannot_be_split_by_time() -> None:
    with pytest.raises(DataError, match="train and validation"):
        split_rows(table([(0, n, 1) for n in range(10)]), method="global_time")


def test_the_description_counts_what_train_does_not_know() -> None:
    config = SplitConfig(method="predefined", validation_start=day(3), test_start=day(7))
    split = split_interactions(TEN, config)
    facts = describe_split(split, split_seen(seen_of(TEN), split, config))
    assert facts["train"] == {
        "interactions": 2,
        "users": 1,
        "items": 2,
        "new_users": 0,
        "new_items": 0,
        "seen_before": 0,
        "first": day(1).isoformat(),
        "last": day(2).isoformat(),
    }
    # train has user 0 and items 4 and 1; validation users 0 1 1 2 and items 3 1 0 2
    validation = facts["validation"]
    assert (validation["new_users"], validation["new_items"]) == (2, 3)
    assert (facts["test"]["new_users"], facts["test"]["new_items"]) == (2, 4)


SEEN = pl.DataFrame(
    [
        *[(0, 9, day(1), day(9)), (0, 8, day(3), day(3)), (0, 2, day(2), day(8))],
        *[(0, 7, day(8.5), day(8.5)), (1, 9, day(5), day(5)), (2, 8, day(6.5), day(6.5))],
        *[(0, 4, day(0), day(1)), (1, 5, day(6.9), day(7))],
    ],
    schema=SEEN_TABLE,
    orient="row",
)
"""Beside what TEN has: (0, 2) of day 8, (1, 5) of day 7 and (0, 4) of day 1 were seen before."""


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        (  # of user 0, validation begins on day 8, of 1 on day 7 (its test); of 2, test on day 7
            {"method": "per_user_time", "validation_share": 0.2, "test_share": 0.2},
            [[(0, 9), (0, 8), (0, 2), (1, 9), (1, 5), (2, 8)], [(0, 7)], []],
        ),
        (
            {"method": "predefined", "validation_start": day(3), "test_start": day(7)},
            [[(0, 9), (0, 2)], [(0, 8), (1, 9), (2, 8), (1, 5)], [(0, 7)]],
        ),
    ],
)
def test_what_was_seen_is_in_the_part_during_which_it_was_first_seen(
    settings: dict[str, Any], expected: list[list[tuple[int, int]]]
) -> None:
    config = SplitConfig.model_validate(settings)
    split = split_interactions(TEN, config)
    seen = split_seen(SEEN, split, config)
    found = [
        sorted(part.select("user", "item").iter_rows())
        for part in (seen.train, seen.validation, seen.test)
    ]
    assert found == [sorted(part) for part in expected]
    before = {part: facts["seen_before"] for part, facts in describe_split(split, seen).items()}
    by_user = settings["method"] == "per_user_time"  # (0, 2) and (1, 5) are of validation there
    assert before == {"train": 0, "validation": 2 * by_user, "test": 2 * (not by_user)}
