"""The decision of a night, from the ledger alone; of any past night, again and byte for byte.

Only nights up to that one are read. Their order in the file changes nothing, nor does a night that
is there twice. Who was champion on a night is what the ledger says, so a champion that was made by
hand restarts the contest as a switch does.
"""

import math
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from itertools import takewhile
from statistics import median

import numpy as np

from diffrec_core.common.errors import DataError
from diffrec_core.contest.advantage import SOON_NIGHTS, Advantage, advantage, would_switch
from diffrec_core.contest.combined import Combined, LeftOut, combine
from diffrec_core.contest.config import ContestConfig
from diffrec_core.contest.evidence import Floats, standardised, threshold
from diffrec_core.contest.night import Night, in_order
from diffrec_core.contest.rounds import Contest
from diffrec_core.contest.verdict import Standing, Verdict, reason_of


def replay(nights: Sequence[Night], config: ContestConfig, until: date | None = None) -> Verdict:
    """Decide a night.

    Args:
        nights: of the ledger, in any order.
        config: metric, odds, horizon, margin, least users.
        until: the night; None: the last one.

    Raises:
        DataError: the ledger is empty or lacks the night.
    """
    read = _up_to(in_order(nights), until)
    rounds, left_out = combine(read, config)
    steps = deque(_follow(rounds, config), maxlen=1)
    if steps and rounds[-1].champion == read[-1].champion:
        return _verdict(read[-1], rounds, steps[0], left_out, config)
    return Verdict(
        night=read[-1].night,
        champion=read[-1].champion,
        settings=config.model_dump(mode="json"),
        reason="the champion stays: none of its nights counts yet",
        odds=threshold(config, 1),
        left_out=left_out,
    )


def evidence_by_night(
    nights: Sequence[Night], config: ContestConfig
) -> list[tuple[date, dict[str, float]]]:
    """Evidence after each night that counts, as odds to 1, by the challengers' recipes."""
    rounds, _ = combine(in_order(nights), config)
    return [
        (of.night, {recipe: math.exp(e) for recipe, e in _by_recipe(of, recipes, log_e).items()})
        for of, (recipes, _, log_e) in zip(rounds, _follow(rounds, config), strict=True)
    ]


def _up_to(nights: Sequence[Night], until: date | None) -> Sequence[Night]:
    if not nights:
        raise DataError("the ledger has no night: there is nothing to decide")
    until = nights[-1].night if until is None else until
    if until not in {night.night for night in nights}:
        raise DataError(
            f"night {until} is not in the ledger, which has {len(nights)} nights from "
            f"{nights[0].night} to {nights[-1].night}"
        )
    return [night for night in nights if night.night <= until]


_Step = tuple[Sequence[str], Contest, Floats]
"""All recipes by their columns; the contest after a night; its log evidence (1, M)."""


def _follow(rounds: Sequence[Combined], config: ContestConfig) -> Iterator[_Step]:
    """The contest of a ledger, after each of its rounds; one object, which goes on."""
    recipes = sorted({recipe for combined in rounds for recipe in combined.recipes})
    column = {recipe: number for number, recipe in enumerate(recipes)}
    contest = None
    for combined in rounds:
        champion = np.array([column[combined.champion]])
        contest = contest or Contest(champion, len(recipes), config)
        contest.crown(champion)
        yield recipes, contest, contest.judge(combined.as_round(column))


def _by_recipe(combined: Combined, recipes: Sequence[str], values: Floats) -> Mapping[str, float]:
    """A row's values of the challengers."""
    here = dict(zip(recipes, values[0].tolist(), strict=True))
    return {recipe: here[recipe] for recipe in combined.recipes if recipe != combined.champion}


def _verdict(
    night: Night,
    rounds: Sequence[Combined],
    last: _Step,
    left_out: Sequence[LeftOut],
    config: ContestConfig,
) -> Verdict:
    recipes, contest, log_e = last
    standings = _standings(rounds, last, config)
    odds = threshold(config, len(standings))
    may_win = np.array([recipe not in rounds[-1].kept_back for recipe in recipes])
    winner = recipes[contest.winners(log_e, may_win)[0]]
    is_new = winner != rounds[-1].champion and rounds[-1].night == night.night
    start = _start(rounds)
    return Verdict(
        night=night.night,
        champion=night.champion,
        settings=config.model_dump(mode="json"),
        level=float(contest.level()[0, 0]),
        switch_to=winner if is_new else None,
        reason=reason_of(standings, winner if is_new else None, odds),
        odds=odds,
        memory=float(contest.memory[0]),
        standings=standings,
        left_out=tuple(one for one in left_out if one.night >= start),
    )


def _start(rounds: Sequence[Combined]) -> date:
    """First night of the champion's present time as champion."""
    champion = rounds[-1].champion
    own = takewhile(lambda combined: combined.champion == champion, reversed(rounds))
    return min(combined.nights[0].night for combined in own)


def _standings(
    rounds: Sequence[Combined], last: _Step, config: ContestConfig
) -> tuple[Standing, ...]:
    recipes, contest, log_e = last
    names = {one.recipe: one.name for one in rounds[-1].nights[-1].contestants}
    users = median(combined.users for combined in rounds[-config.horizon_nights :])
    scales = contest.next_scales(max(1, round(users)))[0]
    odds, kept_back = threshold(config, len(names) - 1), rounds[-1].kept_back
    standings = []
    for recipe, evidence in _by_recipe(rounds[-1], recipes, log_e).items():
        column = recipes.index(recipe)
        standings.append(
            Standing(
                recipe=recipe,
                name=names[recipe],
                nights=int(contest.nights[0, column]),
                evidence=math.exp(evidence),
                advantage=_advantage(contest, column, odds),
                would_switch=_would_switch(contest, column, float(scales[column]), odds),
                kept_back=kept_back.get(recipe, ""),
            )
        )
    return tuple(standings)


def _advantage(contest: Contest, column: int, odds: float) -> Advantage | None:
    d, s = (window.in_order[:, 0, column] for window in (contest.differences, contest.scales))
    return advantage(d + contest.config.margin, s, odds=odds, memory=float(contest.memory[0]))


def _would_switch(contest: Contest, column: int, scale: float, odds: float) -> float | None:
    """See `advantage.would_switch`; the oldest nights give way to those to come."""
    d, s = (window.in_order[:, 0, column] for window in (contest.differences, contest.scales))
    horizon, margin = contest.config.horizon_nights, contest.config.margin
    soon = min(SOON_NIGHTS, horizon)
    staying = standardised(d, s)[max(0, len(d) - (horizon - soon)) :]
    memory = float(contest.memory[0])
    needed = would_switch(staying, scale, odds=odds, memory=memory, nights=soon)
    return None if needed is None else margin + needed
