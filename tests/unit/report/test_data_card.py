"""The data card: every filter in its order, ties, and what is new."""

from diffrec_core.report.data_card import data_sentences, filter_table
from tests.unit.report.runs import DATA_CARD


def test_rows_follow_the_filters_and_only_those_that_are_on():
    table = filter_table(DATA_CARD)
    assert table.columns == ["", "rows", "of those read", "users", "items"]
    assert table.rows == [
        ("rows read", ["100,000", "100%", "", ""]),
        ("accepted", ["99,997", "100%", "943", "1,682"]),
        ("of enough value (min_value)", ["55,375", "55%", "", ""]),
        ("first of each user with each item", ["55,370", "55%", "", ""]),
        ("of users and items with enough of them", ["54,413", "54%", "938", "1,008"]),
        ("… train", ["38,515", "39%", "938", "1,003"]),
        ("… validation", ["5,384", "5%", "929", "981"]),
        ("… test", ["10,514", "11%", "938", "994"]),
    ]


def test_span_ties_new_and_rejected_are_told():
    assert data_sentences(DATA_CARD) == [
        "Interactions from 1997-09-20 03:05 UTC to 1998-04-22 23:10 UTC, 214 days.",
        "22,604 of 54,413 interactions (42%) have the same time as the one before them of the same "
        "user; such ties are ordered by item id.",
        "Not in the train part: of validation 0 users and 3 items; of test 2 users and 5 items.",
        "3 rows were rejected: no time 3.",
    ]


def test_what_ingest_set_aside_normalised_and_warned_of_is_told():
    more = {
        "set_aside": 5,
        "set_aside_by_name": {"without a user": 5},
        "normalised": {"user_id: blanks around it removed": 1200},
        "warnings": ["a.csv lies far"],
    }
    assert data_sentences({**DATA_CARD, "ingest": {**DATA_CARD["ingest"], **more}})[-3:] == [
        "5 rows were set aside, as expected: without a user 5.",
        "Normalised: user id: blanks around it removed 1,200.",
        "Warning: a.csv lies far",
    ]


def test_without_rejected_rows_nothing_is_said_of_them():
    ingest = {**DATA_CARD["ingest"], "rejected": 0, "rejected_by_reason": {}}
    assert len(data_sentences({**DATA_CARD, "ingest": ingest})) == 3
