"""What a table of recommendations changes in the one before, against what was computed by hand."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from ruamel.yaml import YAML

from diffrec_core.common.config import load_section
from diffrec_core.common.errors import ConfigError
from diffrec_core.contest.config import PublishConfig
from diffrec_core.contest.guards import Guard
from diffrec_core.contest.table_changes import TableChanges, check_changes, compare_tables
from diffrec_core.data.tables import RECOMMENDATIONS
from tests.oracle.strategies import effort

PROJECT = Path(__file__).resolve().parents[2]
LIMITS = PublishConfig()


def table(lists: dict[str, str], popular: str = "") -> pl.DataFrame:
    """A table of each user's items, a letter each; `popular` names users without a history."""
    rows = [
        (user, rank, item, 1.0 / rank, "popularity" if user in popular else "history")
        for user, items in lists.items()
        for rank, item in enumerate(items, 1)
    ]
    return pl.DataFrame(rows, schema=RECOMMENDATIONS, orient="row")


BEFORE = table({"u": "abc", "v": "abd", "w": "ab", "x": "abcd"}, popular="x")
NEW = table({"v": "bad", "w": "ce", "x": "abe", "y": "e", "z": "e"}, popular="yz")


def test_two_tables_by_hand() -> None:
    assert compare_tables(BEFORE, NEW) == TableChanges(
        users_before=4,
        users=5,
        users_lost=1,  # u
        users_new=2,  # y, z
        rows_before=12,
        rows=10,
        top=3,  # no new list is longer
        overlap=pytest.approx((3 / 3 + 0 / 2 + 2 / 3) / 3),  # v, w, x, whose d is not looked at
        coverage_before=4,
        coverage=5,
        popularity_before=1 / 4,
        popularity=2 / 5,
    )


def test_a_shorter_list_overlaps_less_though_all_of_it_is_common() -> None:
    long, short = table({"u": "abcd", "v": "abcd"}), table({"u": "abcd", "v": "a"})
    assert compare_tables(long, short).overlap == compare_tables(short, long).overlap == 5 / 8


def test_the_top_20_alone_is_looked_at() -> None:
    letters = "abcdefghijklmnopqrst"
    changes = compare_tables(table({"u": letters + "uvw"}), table({"u": letters[::-1] + "xyz"}))
    assert (changes.top, changes.overlap, changes.coverage) == (20, 1.0, 23)


def test_without_a_user_in_both_there_is_no_overlap() -> None:
    changes = compare_tables(table({"u": "ab"}), table({"v": "ab"}))
    assert (changes.overlap, changes.users_lost, changes.users_new) == (None, 1, 1)
    assert "min_overlap" not in keys(check(changes))


def test_a_table_without_sources_is_compared_by_the_rest() -> None:
    changes = compare_tables(BEFORE.drop("source"), NEW)
    assert changes == replace(compare_tables(BEFORE, NEW), popularity_before=None)
    assert "max_popularity_rise" not in keys(check(changes))
    assert "unknown → 40.0 % of the users answered by popularity" in str(changes)


LISTS = st.dictionaries(
    st.sampled_from("uvwxyz"),
    st.lists(st.sampled_from("abcdef"), min_size=1, max_size=6, unique=True).map("".join),
    min_size=1,
)


@effort(100)
@given(LISTS, LISTS)
def test_the_other_way_round_lost_is_new_and_the_overlap_is_the_same(
    one: dict[str, str], other: dict[str, str]
) -> None:
    forth = compare_tables(table(one, popular="uv"), table(other, popular="vw"))
    back = compare_tables(table(other, popular="vw"), table(one, popular="uv"))
    assert forth.overlap == back.overlap
    assert (forth.users_lost, forth.users_new) == (back.users_new, back.users_lost)
    assert (forth.users_before, forth.rows_before) == (back.users, back.rows)
    assert (forth.coverage_before, forth.popularity_before) == (back.coverage, back.popularity)
    assert forth.users == forth.users_before - forth.users_lost + forth.users_new
    # sets, as somebody would do it who knows no data frames
    top = min(max(map(len, lists.values())) for lists in (one, other))
    tops = [{user: set(items[:top]) for user, items in lists.items()} for lists in (one, other)]
    shares = [
        len(tops[0][user] & tops[1][user]) / max(len(tops[0][user]), len(tops[1][user]))
        for user in tops[0].keys() & tops[1].keys()
    ]
    assert forth.overlap == (pytest.approx(sum(shares) / len(shares)) if shares else None)


@effort(50)
@given(LISTS, st.randoms(use_true_random=False))
def test_a_table_beside_itself_in_another_order_changes_nothing(
    lists: dict[str, str], random: Any
) -> None:
    one = table(lists)
    rows = one.rows()
    random.shuffle(rows)
    changes = compare_tables(one, pl.DataFrame(rows, schema=RECOMMENDATIONS, orient="row"))
    assert (changes.users_lost, changes.users_new, changes.overlap) == (0, 0, 1.0)
    assert all(guard.kept for guard in check(changes))


def check(changes: TableChanges, *, expects_overlap: bool = True, **limits: Any) -> list[Guard]:
    bounds = LIMITS.model_copy(update=limits)
    return list(check_changes(changes, bounds, expects_overlap=expects_overlap))


def keys(guards: list[Guard]) -> list[str]:
    return [guard.key for guard in guards]


SAME = TableChanges(
    users_before=100, users=100, users_lost=0, users_new=0, rows_before=2000, rows=2000, top=20,
    overlap=1.0, coverage_before=500, coverage=500, popularity_before=0.2, popularity=0.2,
)  # fmt: skip


@pytest.mark.parametrize(
    ("at", "beyond", "key"),
    [
        ({"users_lost": 10}, {"users_lost": 11}, "max_lost_share"),
        ({"users_new": 100}, {"users_new": 101}, "max_new_share"),
        ({"rows": 1600}, {"rows": 1599}, "min_rows_ratio"),
        ({"overlap": 0.5}, {"overlap": 0.4999}, "min_overlap"),
        ({"coverage": 350}, {"coverage": 349}, "min_coverage_ratio"),
        ({"popularity": 0.3}, {"popularity": 0.301}, "max_popularity_rise"),
    ],
)
def test_a_value_at_its_bound_is_kept(at: dict[str, Any], beyond: dict[str, Any], key: str) -> None:
    assert all(guard.kept for guard in check(replace(SAME, **at)))
    (broken,) = [guard for guard in check(replace(SAME, **beyond)) if not guard.kept]
    assert broken.key == key
    assert key not in keys(check(replace(SAME, **beyond), **{key: None}))


def test_what_grows_well_is_within_its_bounds() -> None:
    better = replace(SAME, rows=9000, coverage=5000, popularity=0.0)
    assert all(guard.kept for guard in check(better))


def test_another_recipe_need_not_overlap() -> None:
    other = replace(SAME, overlap=0.0)
    assert [guard.key for guard in check(other) if not guard.kept] == ["min_overlap"]
    assert "min_overlap" not in keys(check(other, expects_overlap=False))


def test_a_bound_that_is_not_kept_says_what_was_found_and_what_is_allowed() -> None:
    lost, *_ = check(replace(SAME, users_lost=34))
    assert str(lost) == "users lost 0.34 (34 against 100), at most 0.1 is allowed"


def test_params_yaml_has_every_bound_with_its_default() -> None:
    params = YAML(typ="safe").load(PROJECT / "params.yaml")
    assert params["publish"] == LIMITS.model_dump()


def test_operations_md_names_every_bound_with_its_default() -> None:
    text = (PROJECT / "docs" / "operations.md").read_text()
    for name, field in PublishConfig.model_fields.items():
        assert f"| `{name}` | {field.default:g} |" in text


@pytest.mark.parametrize("value", [-0.1, 1.1, "many"])
def test_a_bound_that_is_no_share_is_refused(value: object) -> None:
    with pytest.raises(ConfigError, match=r"publish\.min_overlap"):
        load_section({"publish": {"min_overlap": value}}, "publish", PublishConfig)
