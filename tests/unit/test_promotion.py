"""The gate's arithmetic, against what was computed by hand."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from diffrec_core.common.errors import ConfigError, DataError
from diffrec_core.contest.cases import UnfairComparisonError, by_external_ids, cases, window
from diffrec_core.contest.config import GateConfig, GuardsConfig
from diffrec_core.contest.decision import Decision, decide
from diffrec_core.contest.guards import Quality, check_guards
from diffrec_core.contest.measures import (
    Answers,
    Measures,
    measure,
    most_popular,
    popularity_before,
)
from diffrec_core.data.build_interactions import InteractionsConfig, build_interactions
from tests.oracle.strategies import effort

START = datetime(2024, 1, 1, tzinfo=UTC)
TYPE = pl.Datetime("us", "UTC")
SMALL = GateConfig(metric="recall@2", min_users=1, resamples=1000)


def day(number: float) -> datetime:
    return START + timedelta(days=number)


def facts(*rows: tuple[str, str, float]) -> pl.DataFrame:
    """(user, item, day) as the gate reads them."""
    users, items, days = zip(*rows, strict=True)
    times = pl.Series([day(number) for number in days], dtype=TYPE)
    frame = pl.DataFrame({"user_id": users, "item_id": items, "timestamp": times})
    return frame.sort("user_id", "timestamp", "item_id")


def as_seen(table: pl.DataFrame) -> pl.DataFrame:
    """Nothing was seen but what was interacted with."""
    time = pl.col("timestamp")
    return table.with_columns(time.alias("first_seen"), time.alias("last_seen")).drop("timestamp")


FACTS = facts(
    *[("ann", "a", 0), ("ann", "b", 1), ("ann", "c", 11), ("ann", "d", 12), ("ann", "e", 13)],
    *[("bob", "a", 2), ("bob", "b", 10)],  # nothing after day 10
    *[("cat", "b", 11), ("cat", "a", 12)],  # came in the window only
    *[("dan", "a", 5), ("dan", "c", 14)],
    *[("eve", "c", 12)],  # a single interaction: no history
)


def test_window_begins_right_after_the_latest_training_end_and_holds_the_last_interaction() -> None:
    found = window(FACTS, {"candidate": day(8), "champion": day(10)})
    tick = timedelta(microseconds=1)
    assert (found.start, found.end) == (day(10) + tick, day(14) + tick)
    assert found.cut_by == "champion"
    assert found.cut_seconds == 2 * 86400
    assert window(FACTS, {"candidate": day(8)}, end=day(13)).end == day(13)


@pytest.mark.parametrize("end", [14, 15])
def test_window_is_refused_when_a_model_has_seen_everything(end: float) -> None:
    with pytest.raises(UnfairComparisonError, match=r"champion was .*refit.hold_out_test"):
        window(FACTS, {"candidate": day(8), "champion": day(end)})


def test_cases_divide_each_user_in_time() -> None:
    found = cases(FACTS, as_seen(FACTS), window(FACTS, {"candidate": day(10)}), SMALL, seed=0)
    rows = {row["user_id"]: row for row in found.iter_rows(named=True)}
    assert list(rows) == ["ann", "cat", "dan"]
    # ann: c, d, e are in the window; ceil(0.5 · 3) = 2 are targets
    assert (rows["ann"]["items"], rows["ann"]["targets"]) == (["a", "b", "c"], ["d", "e"])
    assert rows["ann"]["timestamps"] == [day(n).timestamp() for n in (0, 1, 11)]
    assert (rows["cat"]["items"], rows["cat"]["targets"]) == (["b"], ["a"])
    assert (rows["dan"]["items"], rows["dan"]["targets"]) == (["a"], ["c"])


def test_what_happened_at_the_time_of_the_first_target_is_a_target_too() -> None:
    table = facts(("u", "a", 1), ("u", "b", 11), ("u", "c", 12), ("u", "d", 12), ("u", "e", 13))
    config = SMALL.model_copy(update={"target_share": 0.3})  # 2 of 4: d and e, and c beside d
    (row,) = cases(table, as_seen(table), window(table, {"m": day(5)}), config, seed=0).iter_rows(
        named=True
    )
    assert (row["items"], row["targets"]) == (["a", "b"], ["c", "d", "e"])


def test_all_of_the_window_can_be_targets() -> None:
    config = SMALL.model_copy(update={"target_share": 1.0})
    found = cases(FACTS, as_seen(FACTS), window(FACTS, {"m": day(10)}), config, seed=0)
    assert dict(found.select("user_id", "targets").iter_rows()) == {
        "ann": ["c", "d", "e"],
        "dan": ["c"],
    }


def test_too_few_users_are_refused_and_too_many_are_drawn() -> None:
    span = window(FACTS, {"m": day(10)})
    config = SMALL.model_copy(update={"min_users": 4})
    with pytest.raises(UnfairComparisonError, match=r"3 users .* gate.min_users = 4"):
        cases(FACTS, as_seen(FACTS), span, config, seed=0)
    config = SMALL.model_copy(update={"max_users": 2})
    drawn = cases(FACTS, as_seen(FACTS), span, config, seed=0)
    assert len(drawn) == 2
    assert drawn["user_id"].is_sorted()
    assert drawn.equals(cases(FACTS, as_seen(FACTS), span, config, seed=0))


def test_what_was_seen_before_the_targets_is_neither_recommended_nor_a_target() -> None:
    looked = facts(
        *[("ann", "z", 3), ("ann", "y", 11.5), ("ann", "x", 13.5)],
        *[("ann", "e", 4), ("dan", "c", 6), ("ann", "b", 0.5), ("bob", "z", 1)],
    )
    known = pl.concat([as_seen(FACTS), as_seen(looked)]).group_by("user_id", "item_id")
    known = known.agg(pl.col("first_seen").min(), pl.col("last_seen").max())
    found = cases(FACTS, known, window(FACTS, {"candidate": day(10)}), SMALL, seed=0)
    rows = {row["user_id"]: row for row in found.iter_rows(named=True)}
    assert list(rows) == ["ann", "cat"]  # all that dan did in the window was with c, seen on day 6
    # ann: z, y and e came before the first target d, on day 12; b is in the history, x came later
    assert rows["ann"]["targets"] == ["d"]
    assert set(rows["ann"]["seen"]) == {"e", "y", "z"}
    assert rows["cat"]["seen"] == []
    popular = popularity_before(FACTS, window(FACTS, {"m": day(10)}))
    popular.shares.update({"z": 1.0, "w": 0.1})
    assert most_popular(found, popular, 2).item_ids == [["w"], ["a", "z"]]


def test_interactions_are_read_by_external_ids() -> None:
    events = FACTS.with_columns(event_type=pl.lit(None, pl.String), value=pl.lit(1.0, pl.Float32))
    titles = pl.DataFrame(schema={"item_id": pl.String, "title": pl.String})
    config = InteractionsConfig(min_user_interactions=1, min_item_interactions=1)
    built, _ = build_interactions(events.lazy(), titles, config)
    assert by_external_ids(built).equals(FACTS)


TABLES = st.lists(
    st.tuples(st.sampled_from("uvw"), st.sampled_from("abcdefgh"), st.integers(0, 12)),
    min_size=1,
    max_size=40,
    unique_by=lambda row: row[:2],
)


@effort(100)
@given(
    rows=TABLES, ends=st.lists(st.integers(0, 11), min_size=1, max_size=3), share=st.floats(0.01, 1)
)
def test_targets_come_after_every_training_and_after_the_history(
    rows: list[tuple[str, str, int]], ends: list[int], share: float
) -> None:
    table, config = facts(*rows), SMALL.model_copy(update={"target_share": share})
    try:
        span = window(table, {str(at): day(end) for at, end in enumerate(ends)})
        found = cases(table, as_seen(table), span, config, seed=0)
    except UnfairComparisonError:
        return
    time = {(user, item): day(number) for user, item, number in rows}
    for row in found.iter_rows(named=True):
        user, targets = row["user_id"], row["targets"]
        seen = [time[user, item] for item in row["items"]]
        after = [time[user, item] for item in targets]
        own = [day(n) for u, _, n in rows if u == user and day(n) >= span.start]
        assert min(after) > max(day(end) for end in ends)
        assert max(seen) < min(after)
        assert seen == sorted(seen)
        assert sorted([*row["items"], *targets]) == sorted(i for u, i, _ in rows if u == user)
        assert len(targets) >= share * len(own) - 1e-6


def asked() -> pl.DataFrame:
    return cases(FACTS, as_seen(FACTS), window(FACTS, {"m": day(10)}), SMALL, seed=0)


def prior() -> Any:
    return popularity_before(FACTS, window(FACTS, {"m": day(10)}))


def test_measures_by_hand() -> None:
    # ann wants d and e, cat wants a, dan wants c; before the window ann, bob, dan had items
    assert prior().shares == pytest.approx({"a": 1.0, "b": 2 / 3})
    answers = Answers([["d", "never"], ["c", "a"], []], ["history", "popularity", "history"], 0.002)
    found = measure(answers, asked(), prior(), SMALL)
    assert found.per_user.tolist() == [0.5, 1.0, 0.0]
    assert found.coverage == pytest.approx(4 / 5)  # d, never, c, a; there are 5 items
    assert found.served_share == pytest.approx(1 / 3)  # cat's is popularity, dan's is empty
    assert found.popularity == pytest.approx((0 + 0.5) / 2)
    assert (found.latency_ms, found.size_mib) == (2.0, None)


def test_only_the_first_k_answers_count() -> None:
    answers = Answers([["x", "y", "d"], ["a"], ["c"]], ["history"] * 3, 0.1, 2**20)
    found = measure(answers, asked(), prior(), SMALL)
    assert found.per_user.tolist() == [0.0, 1.0, 1.0]
    assert found.size_mib == 1.0


def test_answers_must_be_as_many_as_cases() -> None:
    with pytest.raises(DataError, match="1 answers to 3 cases"):
        measure(Answers([["a"]], ["history"]), asked(), prior(), SMALL)


def test_popularity_leaves_out_the_history_and_knows_nothing_of_the_window() -> None:
    assert most_popular(asked(), prior(), 2).item_ids == [[], ["a"], ["b"]]


def measures(per_user: Any = 0.5, **changes: Any) -> Measures:
    values = np.broadcast_to(np.asarray(per_user, dtype=np.float64), 40).copy()
    measured = Measures(values, 0.5, 1.0, 0.1, 10.0, 100.0)
    return replace(measured, **changes)


def decided(candidate: Measures, champion: Measures | None, **changes: Any) -> Decision:
    config = GateConfig(**{"resamples": 500, **changes.pop("config", {})})
    quality = changes.pop("quality", Quality(0.0))
    popularity = changes.pop("popularity", measures(0.2))
    seed_sd = changes.pop("seed_sd", None)
    return decide(candidate, champion, popularity, config, quality=quality, seed=1, seed_sd=seed_sd)


def test_the_better_candidate_is_promoted_with_its_numbers() -> None:
    found = decided(measures(0.6), measures(0.5))
    assert found.promote
    assert found.numbers["against"] == "champion"
    assert found.numbers["difference"] == pytest.approx(0.1)
    assert found.numbers["lower_bound"] == pytest.approx(0.1)
    assert "all 8 guards are kept" in found.reason
    assert all(guard.kept for guard in found.guards)


@pytest.mark.parametrize(("margin", "promote"), [(0.0, True), (0.2, True), (0.25, False)])
def test_the_bound_must_be_above_the_margin(margin: float, promote: bool) -> None:
    found = decided(measures(0.75), measures(0.5), config={"margin": margin})
    assert found.promote is promote
    assert ("not above the margin" in found.reason) is not promote


def test_equal_models_and_uncertain_differences_are_kept_out() -> None:
    assert not decided(measures(0.5), measures(0.5)).promote
    noise = np.where(np.arange(40) % 2, 1.0, -0.9)  # mean 0.05, but far from sure
    found = decided(measures(0.5 + noise), measures(0.5))
    assert found.numbers["difference"] == pytest.approx(0.05)
    assert found.numbers["lower_bound"] < 0
    assert not found.promote


def test_the_bound_is_paired_and_one_sided() -> None:
    users = np.linspace(0, 1, 40)  # users differ far more than the models do
    gains = np.linspace(0, 0.02, 40)
    found = decided(measures(users + gains), measures(users), config={"resamples": 20_000})
    expected = 0.01 - 1.645 * gains.std() / 40**0.5
    assert found.numbers["lower_bound"] == pytest.approx(expected, abs=1e-4)
    assert found.promote


def test_a_first_model_must_beat_popularity() -> None:
    found = decided(measures(0.3), None)
    assert found.promote
    assert found.numbers["against"] == "popularity"
    assert found.numbers["champion"] is None
    assert not any("ratio" in guard.key for guard in found.guards)
    assert not decided(measures(0.2), None).promote
    assert not decided(measures(0.3), None, config={"margin": 0.2}).promote


def test_a_champion_that_is_worse_than_popularity_is_still_the_one_to_beat() -> None:
    assert decided(measures(0.15), measures(0.1)).promote


# limit, and a value on it and one just beyond it
LIMITS = {
    "min_coverage_ratio": (0.8, {"coverage": 0.4}, {"coverage": 0.399}),
    "max_popularity_ratio": (1.5, {"popularity": 0.15}, {"popularity": 0.151}),
    "max_latency_ratio": (2.0, {"latency_ms": 20.0}, {"latency_ms": 20.1}),
    "min_served_share": (0.9, {"served_share": 0.9}, {"served_share": 0.89}),
    "max_latency_ms": (10.0, {"latency_ms": 10.0}, {"latency_ms": 10.1}),
    "max_size_mib": (100.0, {"size_mib": 100.0}, {"size_mib": 100.1}),
}


@pytest.mark.parametrize("key", LIMITS)
def test_every_guard_is_kept_on_its_limit_and_broken_beyond_it(key: str) -> None:
    limit, on, beyond = LIMITS[key]
    config = {"guards": GuardsConfig(**{key: limit})}
    assert decided(measures(0.6, **on), measures(0.5), config=config).promote
    found = decided(measures(0.6, **beyond), measures(0.5), config=config)
    assert not found.promote
    assert [guard.key for guard in found.guards if not guard.kept] == [key]
    assert "guards broken: " in found.reason


def test_every_limit_of_the_configuration_is_guarded() -> None:
    found = decided(measures(0.6), measures(0.5), seed_sd=0.01)
    assert {guard.key for guard in found.guards} == set(GuardsConfig.model_fields)
    others = {"max_rejected_share", "min_seed_sds", "allowed_flags"}
    assert set(LIMITS) == set(GuardsConfig.model_fields) - others


@pytest.mark.parametrize(
    ("seed_sd", "promote"), [(None, True), (0.0, True), (0.125, True), (0.126, False)]
)
def test_a_difference_that_another_seed_might_have_made_is_kept_back(
    seed_sd: float | None, promote: bool
) -> None:
    config = {"guards": GuardsConfig(min_seed_sds=2.0)}
    found = decided(measures(0.75), measures(0.5), config=config, seed_sd=seed_sd)
    assert found.promote is promote
    broken = [guard.key for guard in found.guards if not guard.kept]
    assert broken == ([] if promote else ["min_seed_sds"])
    assert any(guard.key == "min_seed_sds" for guard in found.guards) is (seed_sd is not None)


def test_rejected_rows_and_flags_keep_a_candidate_back() -> None:
    config = {"guards": GuardsConfig(max_rejected_share=0.25, allowed_flags=("late",))}

    def promoted(quality: Quality) -> bool:
        return decided(measures(0.6), measures(0.5), config=config, quality=quality).promote

    assert promoted(Quality(0.25, ["late"]))
    assert not promoted(Quality(0.26))
    assert not promoted(Quality(0.0, ["late", "few events"]))
    assert promoted(Quality(None))


def test_ratios_to_a_champion_that_has_none() -> None:
    champion = measures(0.5, coverage=0.0, popularity=0.0)
    found = check_guards(measures(), champion, Quality(), GuardsConfig())
    verdicts = {guard.key: (guard.value, guard.kept) for guard in found}
    assert verdicts["min_coverage_ratio"] == (None, True)
    assert verdicts["max_popularity_ratio"] == (None, False)
    assert "undefined" in str(found[1])


@pytest.mark.parametrize(
    "wrong",
    [{"metric": "recall"}, {"metric": "recall@0"}, {"metric": "auc@5"}, {"max_users": 5}],
)
def test_settings_that_cannot_be(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="gate"):
        GateConfig.parse(wrong, "gate")


def test_measured_on_other_users() -> None:
    other = replace(measures(), per_user=np.zeros(3))
    with pytest.raises(DataError, match="different users"):
        decided(measures(), other)
