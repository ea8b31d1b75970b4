"""The monitor's checks: by hand, at their limits, on quiet histories and on planted faults."""

import math
from datetime import UTC, date, datetime, timedelta
from functools import cache, partial
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from ruamel.yaml import YAML

from diffrec_core.common.config import load_section
from diffrec_core.common.errors import AlarmError, ConfigError
from diffrec_core.data.schema import TIMESTAMP
from diffrec_core.data.tables import INTERACTIONS, TIMESTAMP_TYPE
from diffrec_core.monitoring import checks
from diffrec_core.monitoring.champion import (
    ChampionScore,
    champion_age,
    champion_metric,
    table_age,
    weights_age,
)
from diffrec_core.monitoring.checks import ADVICE, Check, Limits, worst
from diffrec_core.monitoring.config import MonitorConfig
from diffrec_core.monitoring.drift import Binned, history_length, item_popularity, psi
from diffrec_core.monitoring.periods import BACK, Periods
from diffrec_core.monitoring.status import NightStatus, check_data

NOW = datetime(2026, 11, 24, 3, tzinfo=UTC)  # a Tuesday, three hours after midnight
CONFIG = MonitorConfig()
COUNTS = st.lists(st.integers(0, 1000), min_size=2, max_size=12)


# --- the index ---------------------------------------------------------------------------------


def test_equal_distributions_have_index_zero_whatever_their_size():
    assert psi([3, 1], [3, 1]) == 0
    assert psi([3, 1, 0], [3000, 1000, 0]) == pytest.approx(0, abs=1e-12)


def test_two_bins_by_hand():
    # p = (0.5, 0.5), q = (0.8, 0.2): 0.3 ln 1.6 - 0.3 ln 0.4 = 0.3 ln 4 = 0.41589
    assert psi([5, 5], [8, 2]) == pytest.approx(0.3 * math.log(4), rel=1e-3)
    # with the smoothing: (share + 0.0001) / 1.0002
    p, q, r = 0.5001 / 1.0002, 0.8001 / 1.0002, 0.2001 / 1.0002
    expected = (q - p) * math.log(q / p) + (r - p) * math.log(r / p)
    assert psi([5, 5], [8, 2]) == pytest.approx(expected, rel=1e-12)


def test_an_empty_bin_by_hand():
    # p = (1, 0), q = (0.9, 0.1), smoothed: the second bin gives 0.1 ln(0.1001 / 0.0001) or so
    expected = 0.1 * math.log(0.1001 / 0.0001) - 0.1 * math.log(0.9001 / 1.0001)
    assert psi([10, 0], [9, 1]) == pytest.approx(expected, rel=1e-3)


@given(st.data())
def test_the_index_is_never_negative_and_zero_for_equal_shares_alone(data):
    reference = data.draw(COUNTS.filter(any))
    newest = data.draw(
        st.lists(st.integers(0, 1000), min_size=len(reference), max_size=len(reference)).filter(any)
    )
    value = psi(reference, newest)
    assert value >= 0
    same = [n * sum(reference) for n in newest] == [r * sum(newest) for r in reference]
    assert value < 1e-12 if same else value > 0
    assert value == pytest.approx(psi(newest, reference))
    order = data.draw(st.permutations(range(len(reference))))
    shuffled = psi([reference[i] for i in order], [newest[i] for i in order])
    assert value == pytest.approx(shuffled, abs=1e-12)


# --- periods -----------------------------------------------------------------------------------


def frame(times, schema=None):
    return pl.LazyFrame({TIMESTAMP: times}, schema={TIMESTAMP: TIMESTAMP_TYPE})


@pytest.mark.parametrize(("unit", "days"), [("day", 1), ("week", 7)])
def test_periods_are_half_open_and_end_at_midnight(unit, days):
    periods = Periods.before(NOW, unit, 4)
    end, tick = datetime(2026, 11, 24, tzinfo=UTC), timedelta(microseconds=1)
    assert periods.end == end
    assert periods.start(0) == end - timedelta(days=days)
    edges = {end: None, end - tick: 0, periods.start(0): 0, periods.start(0) - tick: 1}
    for time, back in edges.items():
        found = periods.numbered(frame([time])).collect()[BACK].to_list()
        assert found == ([] if back is None else [back])
        assert periods.back_of(time) == (-1 if back is None else back)


def test_days_are_compared_with_the_same_weekday_once_there_are_enough():
    periods = Periods.before(NOW, "day", 28)
    assert periods.comparable(datetime(2020, 1, 1, tzinfo=UTC), 3) == [7, 14, 21, 28]
    three_weeks = periods.start(21)
    assert periods.comparable(three_weeks, 3) == [7, 14, 21]
    late = three_weeks + timedelta(seconds=1)  # that day is not whole
    assert periods.comparable(late, 3) == list(range(1, 21))
    assert Periods.before(NOW, "week", 5).comparable(three_weeks, 1) == [1, 2]
    assert periods.comparable(NOW, 3) == []


# --- each check at its limits -------------------------------------------------------------------


def aged(hours):
    return checks.freshness(NOW - timedelta(hours=hours), NOW, CONFIG).status


def counted(newest, usual=(1000, 1000, 900)):
    return checks.rows(newest, usual, [("2026-11-23", newest)], CONFIG).status


def rejected(rows):
    return checks.quarantined(rows, 10_000, {"bad": rows}, CONFIG).status


def old(days):
    return champion_age("3", NOW - timedelta(days=days), "2026-11-01", NOW, CONFIG).status


def trained(days, config=CONFIG):
    return weights_age("3", NOW - timedelta(days=days), NOW, config).status


def published(hours, config=CONFIG):
    return table_age("of run n", NOW - timedelta(hours=hours), "1:10", NOW, config).status


def score(value, **changes):
    values = {"metric": "recall@20", "users": 200, "expected": 1.0, "window": "newest day"}
    return champion_metric(ChampionScore(value=value, **{**values, **changes}), CONFIG)


def measured(value):
    return score(value).status


@pytest.mark.parametrize(
    ("check", "at", "beyond", "status"),
    [
        (aged, 24, 24.01, "warn"),
        (aged, 48, 48.01, "alarm"),
        (counted, 700, 699, "warn"),
        (counted, 500, 499, "alarm"),
        (counted, 1500, 1501, "warn"),
        (counted, 3000, 3001, "alarm"),
        (rejected, 20, 21, "warn"),
        (rejected, 50, 51, "alarm"),
        (old, 14, 14.01, "warn"),
        (old, 30, 30.01, "alarm"),
        (trained, 60, 60.01, "warn"),
        (partial(trained, config=MonitorConfig(weights_age_alarm_days=90)), 90, 90.01, "alarm"),
        (published, 24, 24.01, "warn"),
        (published, 48, 48.01, "alarm"),
        (measured, 0.8, 0.799, "warn"),
        (measured, 0.5, 0.499, "alarm"),
    ],
)
def test_at_a_limit_all_is_as_before_and_beyond_it_not(check, at, beyond, status):
    assert check(at) == {"warn": "ok", "alarm": "warn"}[status]
    assert check(beyond) == status


@pytest.mark.parametrize(("low", "high", "status"), [(0.5, 0.9, "warn"), (0.1, 0.5, "alarm")])
def test_drift_at_its_limits(low, high, status):
    binned = Binned(("a", "b"), np.array([5000, 5000]), np.array([8000, 2000]))
    index = binned.psi
    exact = MonitorConfig(psi_warn=index, psi_alarm=index)
    assert checks.drift("history_drift", "x", binned, exact).status == "ok"
    below = {"psi_warn": index - 1e-9} | ({"psi_alarm": index - 1e-9} if status == "alarm" else {})
    config = MonitorConfig(**{"psi_warn": index, "psi_alarm": index, **below})
    assert checks.drift("history_drift", "x", binned, config).status == status


def test_few_rows_are_not_judged():
    binned = Binned(("a", "b"), np.array([9000, 0]), np.array([0, 999]))
    check = checks.drift("history_drift", "users", binned, CONFIG)
    assert (check.status, check.value) == ("ok", None)
    assert "too few to judge, 999" in check.message
    enough = Binned(("a", "b"), np.array([9000, 0]), np.array([0, 1000]))
    assert checks.drift("history_drift", "users", enough, CONFIG).status == "alarm"
    assert "too few whole" in checks.drift("history_drift", "users", None, CONFIG).message


def test_one_odd_day_among_the_earlier_ones_does_not_matter():
    assert counted(1000, (1000, 1100, 90_000)) == "ok"
    assert counted(1000, (1000, 1100, 0)) == "ok"


def test_a_drop_is_relative():
    assert score(0.15, expected=0.2).value == pytest.approx(0.25)
    assert score(0.15, expected=0.2).status == "warn"


def test_nothing_to_compare_with():
    assert counted(5, ()) == "ok"
    assert counted(5, (0, 0, 0)) == "ok"
    assert counted(0, (10, 10)) == "alarm"
    assert counted(0, ()) == "alarm"
    assert checks.freshness(None, NOW, CONFIG).status == "alarm"
    never = MonitorConfig(freshness_warn_hours=None, freshness_alarm_hours=None)
    assert checks.freshness(NOW - timedelta(days=9000), NOW, never).status == "ok"


def test_ages_are_not_judged_where_there_is_no_limit():
    never = MonitorConfig(
        weights_age_warn_days=None, table_age_warn_hours=None, table_age_alarm_hours=None
    )
    assert trained(9000) == "warn"  # by default there is no alarm
    assert (trained(9000, never), published(9000, never)) == ("ok", "ok")
    check = table_age("of run n", NOW, "1:10", NOW, never)
    assert check.message.endswith("warn after no time, alarm after no time")


def test_a_table_of_later_data_is_new():
    for check in (
        table_age("of run n", NOW + timedelta(days=3), "1:10", NOW, CONFIG),
        weights_age("3", NOW + timedelta(days=3), NOW, CONFIG),
    ):
        assert (check.status, check.value) == ("ok", 0.0)


def test_the_champions_metric_needs_users_and_something_to_compare_with():
    assert score(0.0, users=199).status == "ok"
    assert "too few to judge" in score(0.0, users=199).message
    assert score(0.5, expected=None).status == "unknown"
    assert score(0.5, expected=0.0).status == "unknown"
    assert score(2.0).status == "ok"
    assert "100.0% above" in score(2.0).message


def test_messages_say_what_was_found_and_what_is_allowed():
    check = checks.quarantined(50, 10_000, {"no user_id": 40, "bad time": 10}, CONFIG)
    assert check.message == (
        "50 of 10,000 rows (0.500%) were quarantined: no user_id (40), bad time (10); "
        "warn above 0.200%, alarm above 0.500%"
    )


def test_limits_that_contradict_each_other_are_refused():
    with pytest.raises(ConfigError, match=r"monitor: psi_warn = 0.3 must not exceed psi_alarm"):
        load_section({"monitor": {"psi_warn": 0.3}}, "monitor", MonitorConfig)
    with pytest.raises(ConfigError, match=r"monitor\.freshnes_warn_hours is not a known key"):
        load_section({"monitor": {"freshnes_warn_hours": 3.0}}, "monitor", MonitorConfig)


# --- distributions by hand -----------------------------------------------------------------------


def rows_of(*rows):
    """(user, item, back) rows."""
    return pl.DataFrame(
        rows, schema={"user": pl.Int32, "item": pl.Int32, BACK: pl.Int64}, orient="row"
    )


def test_popularity_by_hand():
    # ranking, periods 2: item 7 three times, 5 twice, 9 once; groups by where of 6 rows they begin
    ranking = [(0, item, 2) for item in (7, 7, 7, 5, 5, 9)]
    reference = [(0, item, 1) for item in (7, 7, 5, 9, 4)]
    newest = [(0, item, 0) for item in (9, 9, 3, 4)]
    found = item_popularity(rows_of(*ranking, *reference, *newest), 2, 2)
    assert found.labels == ("most popular", "group 2", "new items")
    assert found.reference.tolist() == [2, 2, 1]  # 7 begins at 0; 5 and 9 at 3 and 5 of 6
    assert found.newest.tolist() == [0, 2, 2]


def test_history_length_by_hand():
    # window of 2: in period 1 user 0 did 1 + 2 = 3, user 1 did 1; user 2 was not active in 1
    rows = [(0, 1, 1), (0, 2, 2), (0, 3, 2), (1, 1, 1), (2, 1, 2), (0, 9, 3)]
    newest = [(1, 2, 0), (1, 3, 0), (2, 4, 0)]  # user 1: 2 + 1 = 3; user 2: 1
    found = history_length(rows_of(*rows, *newest), trailing=2, covered=2, bins=2)
    assert found.labels == ("up to 1", "above 1")
    assert found.reference.tolist() == [1, 1]
    assert found.newest.tolist() == [1, 1]


def test_one_usual_length_still_shows_longer_and_shorter_ones():
    rows = [(user, back, back) for user in range(9) for back in (1, 2)]
    newest = [(user, 100 + n, 0) for user in range(9) for n in range(5)]
    found = history_length(rows_of(*rows, *newest), trailing=2, covered=2, bins=10)
    assert found.labels == ("up to 1", "2", "above 2")
    assert found.newest.tolist() == [0, 0, 9]
    assert found.psi > CONFIG.psi_alarm


@given(st.randoms(use_true_random=False))
def test_the_order_of_rows_does_not_matter(random):
    draw = np.random.default_rng(3)
    rows = list(
        zip(
            draw.integers(0, 20, 300),
            draw.zipf(1.5, 300) % 40,
            draw.integers(0, 9, 300),
            strict=True,
        )
    )
    rows = [tuple(map(int, row)) for row in rows]
    expected = item_popularity(rows_of(*rows), 4, 5), history_length(rows_of(*rows), 4, 8, 5)
    random.shuffle(rows)
    found = item_popularity(rows_of(*rows), 4, 5), history_length(rows_of(*rows), 4, 8, 5)
    for one, other in zip(expected, found, strict=True):
        assert one.labels == other.labels
        assert one.reference.tolist() == other.reference.tolist()
        assert one.newest.tolist() == other.newest.tolist()


# --- whole histories ------------------------------------------------------------------------------

DAYS, PER_DAY = 70, 2000


@cache
def history(seed=0, days=DAYS, per_day=PER_DAY, item=None):
    """Interactions of `days` days that end at the last midnight; weekends are half as busy."""
    draw = np.random.default_rng(seed)
    parts = []
    for back in range(days):
        start = datetime(2026, 11, 23, tzinfo=UTC) - timedelta(days=back)
        count = per_day // 2 if start.weekday() >= 5 else per_day
        offsets = np.sort(draw.integers(0, 86_400_000_000, count))
        items = np.minimum(draw.zipf(1.2, count), 3000)
        parts.append(
            pl.DataFrame(
                {
                    "user": np.minimum(draw.zipf(1.1, count), 3000),
                    "item": items if item is None else item(back, items),
                    TIMESTAMP: offsets + int(start.timestamp()) * 1_000_000,
                    "weight": np.ones(count),
                },
                schema=INTERACTIONS,
                strict=False,
            )
        )
    return pl.concat(parts)


def look(rows, now=NOW, **changes):
    found = check_data(rows.lazy(), rows.lazy(), now, MonitorConfig(**changes))
    return {check.name: check for check in found}


def statuses(found):
    return {name: check.status for name, check in found.items()}


WELL = dict.fromkeys(("freshness", "rows", "popularity_drift", "history_drift"), "ok")


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("changes", [{}, {"period": "week", "trailing_periods": 4}])
def test_a_quiet_history_raises_nothing_and_is_judged(seed, changes):
    found = look(history(seed), **changes)
    assert statuses(found) == WELL
    assert all(check.value is not None for name, check in found.items() if name != "history_drift")


def test_a_quiet_history_of_many_users_is_judged():
    found = look(history(per_day=6000), psi_min_rows=500)
    assert statuses(found) == WELL
    assert found["history_drift"].value is not None


def test_a_monday_is_not_compared_with_the_weekend():
    rows = history()  # the newest day is a Monday
    assert look(rows)["rows"].value == 1.0
    assert "median of 4 earlier Mondays (2,000)" in look(rows)["rows"].message
    assert look(rows, now=NOW - timedelta(days=1))["rows"].value == 1.0  # a Sunday
    week = look(rows, trailing_periods=5, same_weekday_min=1)["rows"]
    assert "median of 5 earlier days" in week.message


def newest_day():
    return pl.col(TIMESTAMP) >= datetime(2026, 11, 23, tzinfo=UTC)


def test_a_day_with_a_tenth_of_the_rows_is_found():
    rows = history()
    kept = rows.filter(~newest_day() | (pl.int_range(pl.len()) % 10 == 0))
    found = look(kept)
    assert found["rows"].status == "alarm"
    assert found["rows"].value == pytest.approx(0.1, abs=0.01)
    assert found["freshness"].status == "ok"
    assert found["rows"].series[-1] == ("2026-11-23", 200.0)


def test_a_day_read_four_times_is_found():
    rows = history()
    again = pl.concat([rows, *[rows.filter(newest_day())] * 3])
    assert look(again)["rows"].status == "alarm"


def test_late_data_are_found():
    rows = history()
    assert statuses(look(rows, now=NOW + timedelta(days=1)))["freshness"] == "warn"  # 27 hours
    late = look(rows, now=NOW + timedelta(days=2))
    assert late["freshness"].status == "alarm"
    assert late["rows"].status == "alarm"
    assert "the newest day has no rows" in late["rows"].message


def test_a_day_that_came_without_its_evening_is_found():
    morning = ~newest_day() | (pl.col(TIMESTAMP).dt.hour() < 4)
    assert look(history().filter(morning))["rows"].status == "alarm"


def test_a_shift_of_popularity_is_found():
    shifted = history(item=lambda back, items: items if back else 3001 - items)
    assert look(shifted)["popularity_drift"].status == "alarm"
    assert look(shifted)["rows"].status == "ok"


def test_one_item_that_takes_over_is_found():
    def campaign(back, items):
        return items if back else np.where(np.arange(len(items)) % 2, 40, items)

    assert look(history(item=campaign))["popularity_drift"].status == "alarm"


def test_new_items_are_found():
    def catalogue(back, items):
        return items if back else np.where(np.arange(len(items)) % 5 == 0, items + 5000, items)

    found = look(history(item=catalogue))["popularity_drift"]
    assert found.status == "alarm"
    assert "“new items”" in found.message


def test_a_shift_of_history_length_is_found():
    rows = history(per_day=6000)
    fresh = pl.when(newest_day()).then(pl.col("user") + 10_000 + pl.int_range(pl.len()))
    shifted = rows.with_columns(fresh.otherwise("user").cast(pl.Int32).alias("user"))
    found = look(shifted)
    assert found["history_drift"].status == "alarm"
    assert found["popularity_drift"].status == "ok"


def test_rows_of_the_future_are_no_fresh_data():
    rows = history().with_columns(pl.col(TIMESTAMP) + pl.duration(days=300))
    old_rows = history()
    found = look(pl.concat([old_rows, rows]), now=NOW + timedelta(days=2))
    assert found["freshness"].status == "alarm"


def test_a_log_that_has_just_begun_is_too_short_to_judge():
    found = look(history(days=1))
    assert statuses(found) == WELL
    assert "not judged" in found["rows"].message
    assert "too few whole days" in found["popularity_drift"].message
    empty = look(history(days=1).clear())
    assert statuses(empty) == WELL | {"freshness": "alarm", "rows": "alarm"}


def test_days_without_rows_count_as_days_and_those_before_the_log_do_not():
    rows = history(days=10).filter(pl.col(TIMESTAMP).dt.date() != date(2026, 11, 20))
    series = dict(look(rows)["rows"].series)
    assert len(series) == 10
    assert series["2026-11-20"] == 0


# --- the verdict -------------------------------------------------------------------------------


def check(name, status):
    return Check(name, status, 1.0, Limits(warn_above=0.5), f"{name} is so", (("a", 1.0),))


def night(*found):
    span = (NOW - timedelta(days=1), NOW)
    return NightStatus(now=NOW, unit="day", period=span, checks=found)


def test_the_worst_check_decides():
    order = ("ok", "unknown", "warn", "alarm")
    for number, status in enumerate(order):
        assert worst([check("rows", s) for s in order[: number + 1]]) == status
    assert worst([]) == "unknown"


def test_the_alarm_lists_every_alarm_with_what_to_do():
    calm = night(check("rows", "warn"), check("freshness", "ok"))
    calm.raise_alarm("x.html")
    loud = night(check("rows", "alarm"), check("freshness", "ok"), check("champion_age", "alarm"))
    with pytest.raises(AlarmError) as caught:
        loud.raise_alarm("x.html")
    assert caught.value.exit_code == 7
    text = str(caught.value)
    assert "alarm by 2 of 3 checks" in text
    assert all(part in text for part in ("rows is so", ADVICE["rows"], ADVICE["champion_age"]))
    assert "freshness is so" not in text
    assert "x.html" in text


def test_json_has_every_check_and_says_what_to_do():
    found = night(check("rows", "alarm"), check("freshness", "ok")).to_json()
    assert found["schema"] == "status/1"
    assert found["status"] == "alarm"
    assert found["checks"][0] == {
        "name": "rows",
        "status": "alarm",
        "value": 1.0,
        "limit": {"warn_above": 0.5},
        "message": "rows is so",
        "series": [{"label": "a", "value": 1.0}],
        "do": ADVICE["rows"],
    }
    assert found["checks"][1]["do"] is None


# --- what is written about it ---------------------------------------------------------------------

PROJECT = Path(__file__).resolve().parents[2]


def test_params_yaml_has_every_limit_with_its_default():
    params = YAML(typ="safe").load(PROJECT / "params.yaml")
    assert params["monitor"] == CONFIG.model_dump()


def test_the_document_names_every_key_and_every_check():
    text = (PROJECT / "docs" / "monitoring.md").read_text()
    for name in [*MonitorConfig.model_fields, *ADVICE]:
        assert f"`{name}`" in text or f"`monitor.{name}`" in text, name
    for name in ADVICE:
        assert f"`#monitor-{name.replace('_', '-')}`" in text
