"""What changed since the previous run is said in words, and nothing else is."""

import copy
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from diffrec_core.report.changes import advance, compare_runs, summarize

PARTS = {
    "train": {"interactions": 3700, "users": 50, "items": 20, "last": "1998-01-10T00:00:00+00:00"},
    "validation": {
        "interactions": 300,
        "users": 40,
        "items": 15,
        "last": "1998-01-31T00:00:00+00:00",
    },
    "test": {"interactions": 900, "users": 43, "items": 18, "last": "1998-04-22T00:00:00+00:00"},
}


def leaderboard(**values: float) -> dict[str, Any]:
    """A run whose models have these values on validation, and half of them on test."""
    return {
        "selected": max(values, key=lambda name: values[name]),
        "selected_on": "validation recall@20",
        "protocol": {"parts": PARTS, "ties": "lower first"},
        "models": {
            name: {
                "config": {"kind": name, "l2": 200.0, "recency": {"kind": "none"}},
                "validation": {"recall@20": value},
                "test": {"recall@20": value / 2},
                "fit_seconds": 3.0,
            }
            for name, value in values.items()
        },
    }


def test_a_first_run_is_compared_with_nothing():
    changes = compare_runs(None, summarize(leaderboard(ease=0.2)))
    assert changes.sentences == ["No earlier run is known here."]
    assert (changes.table, changes.settings) == (None, [])


def test_equal_runs_differ_in_nothing_and_timings_do_not_count():
    before, now = leaderboard(ease=0.2, slim=0.1), leaderboard(ease=0.2, slim=0.1)
    now["models"]["ease"]["fit_seconds"] = 99.0
    assert summarize(before) == summarize(now)
    changes = compare_runs(summarize(before), summarize(now))
    assert changes.sentences == [
        "The winner is still ease: validation recall@20 of the winner stays at 0.2000.",
        "The parts of the data have the same sizes and time spans.",
        "No setting changed.",
        "No number of a model that is in both runs changed.",
    ]
    assert changes.table is None


def test_another_winner_new_models_and_models_that_left():
    before = summarize(leaderboard(ease=0.2, slim=0.1))
    changes = compare_runs(before, summarize(leaderboard(ease=0.2, diffrec=0.25)))
    assert changes.sentences[0] == (
        "diffrec won, before it ease: validation recall@20 of the winner rose from 0.2000 to "
        "0.2500 (+25.0%)."
    )
    assert "New models, with validation recall@20: diffrec (0.2500)." in changes.sentences
    assert "No longer there: slim." in changes.sentences
    assert changes.table is None


def test_changed_numbers_stand_in_the_table_and_unchanged_ones_do_not():
    before = summarize(leaderboard(ease=0.2, slim=0.1, knn=0.15))
    changes = compare_runs(before, summarize(leaderboard(ease=0.2, slim=0.14, knn=0.1)))
    assert changes.table is not None
    assert changes.table.rows == [
        ("slim", ["0.1000", "0.1400", "+0.0400", "0.0500", "0.0700", "+0.0200"]),
        ("knn", ["0.1500", "0.1000", "-0.0500", "0.0750", "0.0500", "-0.0250"]),
    ]
    assert len(changes.table.columns) == 1 + 6


def test_changed_settings_are_named_with_old_and_new_value():
    before, now = leaderboard(ease=0.2), leaderboard(ease=0.2)
    now["models"]["ease"]["config"] |= {"l2": 500.0, "recency": {"kind": "linear", "weight": 0.1}}
    changes = compare_runs(summarize(before), summarize(now))
    assert changes.settings == [
        ("ease · l2", "200.0 → 500.0"),
        ("ease · recency · kind", "none → linear"),
        ("ease · recency · weight", "– → 0.1"),
    ]
    assert "Settings changed: ease." in changes.sentences


def test_changed_data_are_told_and_warned_of():
    before, now = leaderboard(ease=0.2), leaderboard(ease=0.2)
    now["protocol"] = copy.deepcopy(now["protocol"])
    now["protocol"]["parts"]["train"] |= {"interactions": 3800, "last": "1998-01-12T00:00:00+00:00"}
    told = compare_runs(summarize(before), summarize(now)).sentences[1]
    assert told == (
        "The data changed: train has 3,800 interactions (+100), until 1998-01-12 00:00 UTC, before "
        "1998-01-10 00:00 UTC. Numbers measured on other data differ for that alone."
    )


def test_another_metric_of_the_choice_is_told_without_comparing_values():
    before, now = leaderboard(ease=0.2), leaderboard(ease=0.2)
    now["selected_on"] = "validation ndcg@10"
    for part in ("validation", "test"):
        now["models"]["ease"][part]["ndcg@10"] = 0.3
    told = compare_runs(summarize(before), summarize(now)).sentences[0]
    assert told == (
        "The winner is still ease; chosen by validation ndcg@10, before by validation recall@20."
    )


@given(st.lists(st.integers(0, 3), min_size=1, max_size=12))
def test_the_run_before_is_always_the_last_with_another_result(runs):
    known: list[dict[str, int]] = []
    for number in runs:
        known = advance(known, {"run": number})
        assert advance(known, {"run": number}) == known  # running it again changes nothing
    others = [number for number in runs if number != runs[-1]]
    assert known == [*({"run": number} for number in others[-1:]), {"run": runs[-1]}]
