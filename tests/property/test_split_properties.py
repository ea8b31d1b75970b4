"""What every split keeps: all interactions, each user's order, and the cuts that it promises."""

from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl
from hypothesis import assume, given
from hypothesis import strategies as st

from diffrec_core.common.errors import DataError
from diffrec_core.data.splits import Split, SplitConfig, split_interactions
from diffrec_core.data.tables import INTERACTIONS
from tests.oracle import ranking_oracles as oracle
from tests.oracle.strategies import effort

START = datetime(2024, 1, 1, tzinfo=UTC)
METHODS = ("per_user_time", "global_time", "leave_last_out", "predefined")
SHARES = ("0.1", "0.2", "0.05", "0.15", "0.25", "0.3", "0.01", "0.33")
PARTS = (oracle.TRAIN, oracle.VALIDATION, oracle.TEST)


def hour(number: int) -> datetime:
    return START + timedelta(hours=number)


@st.composite
def tables(draw: st.DrawFn, *, unique_times: bool = False) -> pl.DataFrame:
    """Sorted interactions; the weight numbers the rows. Few hours make many ties."""
    lengths = draw(st.lists(st.integers(1, 14), min_size=1, max_size=6))
    total = sum(lengths)
    hours = st.integers(0, 10_000 if unique_times else 15)
    times = draw(st.lists(hours, min_size=total, max_size=total, unique=unique_times))
    rows = []
    for user, length in enumerate(lengths):
        own = sorted(times[len(rows) : len(rows) + length])
        rows += [(user, item, hour(when)) for item, when in enumerate(own)]
    numbered = [(*row, float(number)) for number, row in enumerate(rows)]
    return pl.DataFrame(numbered, schema=INTERACTIONS, orient="row")


@st.composite
def configs(draw: st.DrawFn) -> SplitConfig:
    values: dict[str, Any] = {"method": draw(st.sampled_from(METHODS))}
    if values["method"] == "predefined":
        start = draw(st.integers(1, 13))
        values["validation_start"] = hour(start)
        values["test_start"] = hour(draw(st.integers(start + 1, 15)))
    else:
        values["validation_share"] = float(draw(st.sampled_from(SHARES)))
        values["test_share"] = float(draw(st.sampled_from(SHARES)))
    return SplitConfig.model_validate(values)


def split_or_skip(frame: pl.DataFrame, config: SplitConfig) -> Split:
    """Splits; an empty part is refused by contract and tells nothing here."""
    try:
        return split_interactions(frame, config)
    except DataError as error:
        assert "leaves no interaction" in str(error)
        assume(False)
        raise


def parts_by_row(split: Split, count: int) -> list[str]:
    """The part of each row; a row must be in exactly one."""
    found: dict[int, str] = {}
    for name in PARTS:
        for number in getattr(split, name)["weight"].to_list():
            assert number not in found
            found[int(number)] = name
    assert sorted(found) == list(range(count))
    return [found[number] for number in range(count)]


@effort(150)
@given(tables(), configs())
def test_parts_partition_the_interactions_in_their_order(
    frame: pl.DataFrame, config: SplitConfig
) -> None:
    split = split_or_skip(frame, config)
    parts = parts_by_row(split, len(frame))
    for name in PARTS:
        part: pl.DataFrame = getattr(split, name)
        assert part.schema == INTERACTIONS
        kept = [number for number, other in enumerate(parts) if other == name]
        assert part.equals(frame[kept])


@effort(150)
@given(tables(), configs())
def test_no_user_has_a_future_before_the_past(frame: pl.DataFrame, config: SplitConfig) -> None:
    parts = parts_by_row(split_or_skip(frame, config), len(frame))
    rank = {name: number for number, name in enumerate(PARTS)}
    users, times = frame["user"].to_list(), frame["timestamp"].to_list()
    for earlier in range(len(frame)):
        for later in range(earlier + 1, len(frame)):
            if users[earlier] == users[later]:
                assert rank[parts[earlier]] <= rank[parts[later]]
            if config.method in {"global_time", "predefined"}:  # one line for everyone
                first, second = sorted((earlier, later), key=times.__getitem__)
                assert rank[parts[first]] <= rank[parts[second]]


@effort(150)
@given(tables(), st.sampled_from(SHARES), st.sampled_from(SHARES))
def test_per_user_cuts_are_exact_in_decimal_shares(
    frame: pl.DataFrame, validation: str, test: str
) -> None:
    config = SplitConfig(validation_share=float(validation), test_share=float(test))
    parts = parts_by_row(split_or_skip(frame, config), len(frame))
    expected: list[str] = []
    for count in frame.group_by("user", maintain_order=True).len()["len"]:
        expected += oracle.per_user_parts(count, validation, test)
    assert parts == expected


@effort(60)
@given(st.integers(1, 3000), st.sampled_from(SHARES), st.sampled_from(SHARES))
def test_long_lines_are_cut_exactly_too(count: int, validation: str, test: str) -> None:
    frame = pl.DataFrame(
        [(0, item, hour(item), float(item)) for item in range(count)],
        schema=INTERACTIONS,
        orient="row",
    )
    config = SplitConfig(validation_share=float(validation), test_share=float(test))
    parts = parts_by_row(split_or_skip(frame, config), count)
    assert parts == oracle.per_user_parts(count, validation, test)


@effort(60)
@given(tables())
def test_leave_last_out_takes_the_last_two_of_three_or_more(frame: pl.DataFrame) -> None:
    parts = parts_by_row(split_or_skip(frame, SplitConfig(method="leave_last_out")), len(frame))
    expected: list[str] = []
    for count in frame.group_by("user", maintain_order=True).len()["len"]:
        expected += oracle.last_out_parts(count)
    assert parts == expected


@effort(60)
@given(tables(), st.integers(1, 13), st.integers(1, 13))
def test_predefined_intervals_are_half_open(frame: pl.DataFrame, start: int, length: int) -> None:
    config = SplitConfig(
        method="predefined", validation_start=hour(start), test_start=hour(start + length)
    )
    parts = parts_by_row(split_or_skip(frame, config), len(frame))
    expected = oracle.parts_by_time(frame["timestamp"].to_list(), hour(start), hour(start + length))
    assert parts == expected


@effort(80)
@given(tables(unique_times=True), st.sampled_from(SHARES), st.sampled_from(SHARES))
def test_one_cut_for_everyone_meets_the_shares(
    frame: pl.DataFrame, validation: str, test: str
) -> None:
    config = SplitConfig(
        method="global_time", validation_share=float(validation), test_share=float(test)
    )
    parts, count = parts_by_row(split_or_skip(frame, config), len(frame)), len(frame)
    assert abs(parts.count(oracle.TEST) - count * float(test)) <= 1
    train = count * (1 - float(validation) - float(test))
    assert abs(parts.count(oracle.TRAIN) - train) <= 1


@effort(80)
@given(tables(), st.sampled_from(SHARES), st.sampled_from(SHARES))
def test_equal_times_are_never_torn_apart_by_a_global_cut(
    frame: pl.DataFrame, validation: str, test: str
) -> None:
    config = SplitConfig(
        method="global_time", validation_share=float(validation), test_share=float(test)
    )
    parts = parts_by_row(split_or_skip(frame, config), len(frame))
    at: dict[datetime, str] = {}
    for time, part in zip(frame["timestamp"].to_list(), parts, strict=True):
        assert at.setdefault(time, part) == part
