"""What a night decides, from the ledger alone."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest

from diffrec_core.common.errors import DataError
from diffrec_core.contest.advantage import would_switch
from diffrec_core.contest.combined import combine
from diffrec_core.contest.config import ContestConfig
from diffrec_core.contest.evidence import log_evidence, standardised
from diffrec_core.contest.night import Night
from diffrec_core.contest.replay import evidence_by_night, replay
from diffrec_core.contest.rounds import Contest
from diffrec_core.contest.verdict import Standing, Verdict, reason_of, verdict_json
from tests.ledgers import METRIC, day, night_of, simulated

CONFIG = ContestConfig()
BETTER = simulated(20, {"ease": 0.03, "ials": 0.0})


def first_switch(nights: list[Night], config: ContestConfig = CONFIG) -> int:
    """The number of the night on which somebody becomes champion, counted from 1."""
    return next(n for n in range(1, len(nights) + 1) if replay(nights[:n], config).switch_to)


def test_two_nights_by_hand() -> None:
    """Differences of .1 and -.1 about a mean; 4 users, so contest.min_users is 4."""
    config = ContestConfig(min_users=4)
    first = night_of(0, {"champion": [0.2, 0.4, 0.2, 0.4], "ease": [0.3, 0.3, 0.3, 0.3]})
    second = night_of(1, {"champion": [0.3, 0.3, 0.3, 0.3], "ease": [0.3, 0.5, 0.3, 0.5]})
    verdict = replay([first, second], config)
    # V = 4 · .1² / 3, τ² = (.02 · .3)², of the first night; the second's mean difference is .1
    scale = math.sqrt(0.04 / 3 / 4 + (0.02 * 0.3) ** 2)
    x = 0.1 / scale
    (standing,) = verdict.standings
    assert standing.evidence == pytest.approx(math.exp(log_evidence(np.array(x), np.array(x * x))))
    assert standing.advantage is not None
    assert standing.advantage.mean == pytest.approx(0.1)
    # then V has 6 degrees of freedom, and τ² six nights
    tau2 = (5 * (0.02 * 0.3) ** 2 + 0.1**2 - 0.04 / 3 / 4) / 6
    scale = math.sqrt(0.08 / 6 / 4 + tau2)
    assert standing.would_switch == pytest.approx(would_switch(np.array([x]), scale, odds=20.0))
    assert verdict.level == pytest.approx(0.3)
    assert (verdict.switch_to, verdict.champion) == (None, "champion")
    largest = f"largest evidence {standing.evidence:.3g} : 1, of Ease"
    assert verdict.reason == f"the champion stays: {largest}; 20 : 1 is needed"


def test_the_better_recipe_becomes_champion() -> None:
    number = first_switch(BETTER)
    assert 9 <= number <= 15
    verdict = replay(BETTER[:number], CONFIG)
    assert verdict.switch_to == "ease"
    assert verdict.reason.startswith("Ease becomes champion: evidence 2")
    by_name = {standing.recipe: standing for standing in verdict.standings}
    assert by_name["ease"].evidence >= verdict.odds == 20.0
    assert by_name["ease"].advantage is not None
    assert (by_name["ease"].advantage.lower or 0.0) > 0.0
    assert (by_name["ials"].would_switch or 0.0) > 0.0


def test_any_past_night_is_decided_as_it_was() -> None:
    for number in (1, 8, 13):
        then = verdict_json(replay(BETTER[:number], CONFIG))
        assert verdict_json(replay(BETTER, CONFIG, day(number - 1))) == then


def test_json_is_canonical_and_has_nine_digits() -> None:
    text = verdict_json(replay(BETTER, CONFIG))
    content = json.loads(text)
    assert content["night"] == "2026-01-20"
    assert content["settings"]["metric"] == METRIC
    assert content["switch_to"] == "ease"
    assert set(content) == set(Verdict.__slots__)
    for standing in content["standings"]:
        assert len(str(standing["evidence"]).replace(".", "").lstrip("0")) <= 9


def test_the_champion_that_the_ledger_names_restarts_the_contest() -> None:
    """Whether by a decision or by hand."""
    number = first_switch(BETTER)
    after = [replace(night, champion="ease") for night in BETTER[number:]]
    verdict = replay([*BETTER[:number], *after], CONFIG)
    assert verdict.champion == "ease"
    by_name = {standing.recipe: standing for standing in verdict.standings}
    assert set(by_name) == {"champion", "ials"}
    assert by_name["champion"].nights == len(BETTER) - number
    assert by_name["champion"].evidence < 1.0
    assert replay(BETTER, CONFIG).standings != verdict.standings


def test_a_new_champion_has_no_standings_before_a_night_counts() -> None:
    waiting = replace(BETTER[19], champion="ease", left_out="rows")
    verdict = replay([*BETTER[:19], waiting], CONFIG)
    assert (verdict.champion, verdict.standings, verdict.switch_to) == ("ease", (), None)
    assert verdict.reason == "the champion stays: none of its nights counts yet"


def test_nights_left_out_change_nothing_and_are_listed_with_their_reasons() -> None:
    nights = list(BETTER)
    nights[3] = replace(nights[3], left_out="rows: 12 of 900 expected")
    nights[5] = replace(nights[5], metric="recall@20")
    rest = [night for number, night in enumerate(nights) if number not in (3, 5)]
    with_them, without = replay(nights, CONFIG), replay(rest, CONFIG)
    assert with_them.standings == without.standings
    assert [(one.night, one.reason) for one in with_them.left_out] == [
        (day(3), "rows: 12 of 900 expected"),
        (day(5), f"its pairs were compared by recall@20, contest.metric is {METRIC}"),
    ]


def test_a_night_that_does_not_count_decides_nothing() -> None:
    number = first_switch(BETTER)
    last = replace(BETTER[number], left_out="rows")
    verdict = replay([*BETTER[:number], last], CONFIG)
    assert verdict.switch_to is None
    assert verdict.reason.endswith("but this night does not count")


def test_a_guard_keeps_a_recipe_back() -> None:
    nights = [
        replace(
            night,
            contestants=tuple(
                replace(one, kept_back="size 3000 MiB" if one.recipe == "ease" else "")
                for one in night.contestants
            ),
        )
        for night in BETTER
    ]
    verdict = replay(nights, CONFIG)
    assert verdict.switch_to is None
    assert verdict.reason.endswith(
        "of Ease; 20 : 1 is needed, but a guard keeps it back: size 3000 MiB"
    )


def test_a_challenger_that_comes_later_begins_without_evidence() -> None:
    nights = [*simulated(10, {"ease": 0.0}), *simulated(14, {"ease": 0.0, "ials": 0.05})[10:]]
    by_name = {standing.recipe: standing for standing in replay(nights, CONFIG).standings}
    assert (by_name["ease"].nights, by_name["ials"].nights) == (14, 4)
    history = dict(evidence_by_night(nights, CONFIG))
    assert set(history[day(9)]) == {"ease"}
    assert history[day(10)]["ials"] == 1.0
    assert history[day(13)]["ials"] == pytest.approx(by_name["ials"].evidence)


def test_evidence_by_night_is_that_of_each_nights_decision() -> None:
    for night, evidence in evidence_by_night(BETTER, CONFIG):
        standings = replay(BETTER, CONFIG, night).standings
        assert evidence == {standing.recipe: standing.evidence for standing in standings}


def test_nights_of_a_back_test_tell_the_spread_alone() -> None:
    before = [replace(night, counts=False) for night in BETTER[:12]]
    verdict = replay(before, CONFIG)
    assert {standing.evidence for standing in verdict.standings} == {1.0}
    assert {standing.nights for standing in verdict.standings} == {0}
    assert replay([*before, *BETTER[12:]], CONFIG).standings[0].nights == 8


def test_a_champion_alone_has_no_challenger() -> None:
    verdict = replay(simulated(3, {}), CONFIG)
    assert verdict.reason == "the champion has no challenger"
    assert verdict.switch_to is None


def test_a_night_that_is_not_there_is_refused() -> None:
    with pytest.raises(DataError, match=r"night 2026-02-20 is not .* 20 nights from 2026-01-01 to"):
        replay(BETTER, CONFIG, day(50))
    with pytest.raises(DataError, match="the ledger has no night"):
        replay([], CONFIG)


def test_advantages_are_those_of_the_means_whatever_the_margin() -> None:
    """A margin asks for more evidence; what the nights show stays what it is."""
    margin = 0.01
    plain, with_margin = replay(BETTER, CONFIG), replay(BETTER, ContestConfig(margin=margin))
    for one, other in zip(plain.standings, with_margin.standings, strict=True):
        assert one.advantage is not None
        assert other.advantage is not None
        assert other.advantage.mean == pytest.approx(one.advantage.mean, abs=2e-3)
        assert other.evidence < one.evidence
        assert one.would_switch is not None
        assert other.would_switch is not None
        assert other.would_switch > one.would_switch
    first = replay(BETTER[:1], ContestConfig(margin=margin)).standings[0].would_switch
    without = replay(BETTER[:1], CONFIG).standings[0].would_switch
    assert first is not None
    assert without is not None
    assert first == pytest.approx(without + margin)


def test_what_would_switch_forgets_the_nights_that_will_be_past_the_horizon() -> None:
    """With a horizon of 35 nights, 30 more leave the newest 5, whatever was before them."""
    config = ContestConfig(horizon_nights=35)
    contest, column = Contest(np.array([0]), 2, config), 1
    nights = simulated(33, {"ease": 0.02})
    for combined in combine(nights, config)[0]:
        contest.judge(combined.as_round({"champion": 0, "ease": column}))
    d, s = (window.in_order[:, 0, column] for window in (contest.differences, contest.scales))
    scale, memory = float(contest.next_scales(60)[0, column]), float(contest.memory[0])
    expected = would_switch(standardised(d, s)[-5:], scale, odds=20.0, memory=memory)
    (standing,) = replay(nights, config).standings
    assert standing.would_switch == pytest.approx(expected)
    assert expected != would_switch(standardised(d, s), scale, odds=20.0, memory=memory)


def test_only_nights_left_out_since_the_champion_became_champion_are_listed() -> None:
    nights = [
        replace(night, champion="champion" if number < 10 else "ease", left_out=reason)
        for number, night in enumerate(BETTER)
        for reason in ["rows" if number in (3, 12) else ""]
    ]
    assert [one.night for one in replay(nights, CONFIG).left_out] == [day(12)]


def test_the_reason_says_what_stood_in_the_way() -> None:
    standing = Standing("ease-1", "Ease", 8, 23.4, None, None, "")
    largest = "the champion stays: largest evidence 23.4 : 1, of Ease; 20 : 1 is needed"
    assert reason_of([standing], None, 20.0) == f"{largest}, and 9 nights; it has 8"
    long = replace(standing, nights=9)
    assert reason_of([long], None, 20.0) == f"{largest}, but this night does not count"
    expected = "Ease becomes champion: evidence 23.4 : 1, 20 : 1 is needed"
    assert reason_of([long], "ease-1", 20.0) == expected
