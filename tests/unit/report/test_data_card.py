"""The data card: every filter in its order, ties, and what is new."""

import pytest

from diffrec_core.report.data_card import data_card
from tests.unit.report.runs import DATA_CARD


def test_rows_follow_the_filters_and_only_those_that_are_on():
    table = data_card(DATA_CARD).table
    assert table is not None
    assert table.columns == ["", "rows", "of those read", "users", "items"]
    assert table.rows == [
        ("rows read", ["100,000", "100%", "", ""]),
        ("accepted", ["99,997", "100%", "943", "1,682"]),
        ("of enough value (min_value)", ["55,375", "55%", "", ""]),
        ("first of each user with each item", ["55,370", "55%", "", ""]),
        ("of users and items with enough of them", ["54,413", "54%", "938", "1,008"]),
        ("… train", ["38,515", "39%", "938", "1,003"]),
        ("… validation", ["5,384", "5%", "929", ""]),
        ("… test", ["10,514", "11%", "938", ""]),
    ]


def test_span_ties_new_and_rejected_are_told():
    assert data_card(DATA_CARD).sentences == [
        "Interactions from 1997-09-20 03:05 UTC to 1998-04-22 23:10 UTC, 214 days.",
        "22,604 of 54,413 interactions (42%) have the same time as the one before them of the same "
        "user; such ties are ordered by item id.",
        "Not in the train part: of validation 0 users and 3 items; of test 2 users and 5 items.",
        "3 rows were rejected: no time 3.",
    ]


@pytest.mark.parametrize("stage", DATA_CARD)
def test_a_stage_that_says_nothing_is_left_out(stage):
    rest = {name: counts for name, counts in DATA_CARD.items() if name != stage}
    table = data_card(rest).table
    assert table is not None
    assert len(table.rows) < 8


def test_nothing_counted_is_no_table():
    card = data_card({})
    assert (card.sentences, card.table) == ([], None)
