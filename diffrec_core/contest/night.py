"""What the ledger keeps of a night: aggregates of what its recipes scored, nothing of a user."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from itertools import combinations
from typing import Any, ClassVar

import numpy as np
from pydantic import ConfigDict

from diffrec_core.common.artifacts import sha256_json
from diffrec_core.common.errors import DataError
from diffrec_core.contest.evidence import Floats

_STRICT = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)
_ROUNDING = 1e-9
"""Relative and absolute: sums that differ by less count as equal."""


@dataclass(frozen=True, slots=True)
class Contestant:
    """A recipe on a night.

    Attributes:
        recipe: see `recipe_id`.
        name: its name for readers, such as an entry under `train`.
        metrics: means over the users, by metric key.
        weights: hash of the weights that were scored.
        trained_until: end of the data that they were trained on; None: unknown.
        code: commit or fingerprint of the code.
        seconds: of its fit.
        checks: other figures of its weights by name, such as the overlap with yesterday's table.
        kept_back: why a guard keeps the recipe from becoming champion; empty: none does.
    """

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT

    recipe: str
    name: str
    metrics: Mapping[str, float]
    weights: str = ""
    trained_until: datetime | None = None
    code: str = ""
    seconds: float = 0.0
    checks: Mapping[str, float] = field(default_factory=dict)
    kept_back: str = ""


@dataclass(frozen=True, slots=True)
class Pair:
    """Two recipes on the users of a night, by the metric that decides.

    Attributes:
        one: the recipe whose id comes first.
        other: that whose id comes later.
        users: who were scored by both.
        difference: mean over them of metric(one) - metric(other).
        squares: sum over them of the squared difference.
    """

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT

    one: str
    other: str
    users: int
    difference: float
    squares: float

    @property
    def within(self) -> float:
        """Sum of squared deviations from the mean difference, at least 0."""
        return max(0.0, self.squares - self.users * self.difference**2)


@dataclass(frozen=True, slots=True)
class Night:
    """A night of the contest, written once.

    Attributes:
        night: the day whose users were scored.
        data_end: end of that day's data.
        metric: key of the metric that the pairs compare.
        champion: recipe that was champion when the night was judged.
        users: how many were scored, the same for all recipes.
        contestants: in the order of their ids, the champion among them.
        pairs: of all contestants, in that order.
        counts: False: it tells how nights vary, but is no evidence; so are the nights of a
            back-test after which recipes were chosen.
        flags: of the quality of the data.
        left_out: why the night does not count at all, found before results were looked at; empty:
            it counts.
    """

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT

    night: date
    data_end: datetime
    metric: str
    champion: str
    users: int
    contestants: tuple[Contestant, ...] = ()
    pairs: tuple[Pair, ...] = ()
    counts: bool = True
    flags: tuple[str, ...] = ()
    left_out: str = ""

    @property
    def recipes(self) -> tuple[str, ...]:
        """Ids of the contestants."""
        return tuple(contestant.recipe for contestant in self.contestants)


def recipe_id(kind: str, settings: Mapping[str, Any], *, seed: int, code: str) -> str:
    """Identify a recipe: another id is another contestant, without evidence.

    Args:
        kind: of the model.
        settings: its section, with all defaults.
        seed: of its training, the same every night.
        code: commit or fingerprint of the code that it uses.

    >>> recipe_id("ease", {"l2": 100.0}, seed=0, code="1f3a")
    'ease-31bdbaa59c5f'
    """
    parts = {"kind": kind, "settings": dict(settings), "seed": seed, "code": code}
    return f"{kind}-{sha256_json(parts)[:12]}"


def compare(values: Mapping[str, Floats]) -> tuple[Pair, ...]:
    """Compare all pairs of recipes on the same users.

    Args:
        values: by recipe, (U,) the metric of each user, in the same order.

    Raises:
        DataError: the recipes have different numbers of users, or there is none.
    """
    if len({len(of_users) for of_users in values.values()}) > 1 or not all(
        map(len, values.values())
    ):
        counts = ", ".join(f"{recipe}: {len(values[recipe])}" for recipe in sorted(values))
        raise DataError(f"recipes are compared on the same users, at least one; found {counts}")
    pairs = []
    for one, other in combinations(sorted(values), 2):
        difference = np.asarray(values[one], dtype=np.float64) - values[other]
        mean, squares = float(difference.mean()), float(difference @ difference)
        pairs.append(Pair(one, other, len(difference), mean, squares))
    return tuple(pairs)


def problem_of(night: Night) -> str | None:
    """What contradicts itself in a night, by field; None: nothing."""
    return next(_problems(night), None)


def _problems(night: Night) -> Iterator[str]:
    recipes = night.recipes
    if night.data_end.tzinfo is None:
        yield f"data_end = {night.data_end.isoformat()} has no time zone"
    if list(recipes) != sorted(set(recipes)):
        yield f"contestants are not in the order of their ids, each once: {', '.join(recipes)}"
    if night.left_out:
        return
    if night.users < 1:
        yield f"users = {night.users}: at least 1 is needed, or left_out must say why"
    if night.champion not in recipes:
        yield f"champion = {night.champion!r} is not among the contestants: {', '.join(recipes)}"
    if [(pair.one, pair.other) for pair in night.pairs] != list(combinations(recipes, 2)):
        yield "pairs are not those of all contestants, in their order"
    yield from _problems_of_numbers(night)


def _problems_of_numbers(night: Night) -> Iterator[str]:
    for number, contestant in enumerate(night.contestants):
        if night.metric not in contestant.metrics:
            yield f"contestants.{number}.metrics lacks {night.metric}, which decides"
            return
    means = {one.recipe: one.metrics[night.metric] for one in night.contestants}
    for number, pair in enumerate(night.pairs):
        expected = means.get(pair.one, 0.0) - means.get(pair.other, 0.0)
        if pair.users != night.users:
            yield f"pairs.{number}.users = {pair.users}, but the night has {night.users}"
        if abs(pair.difference - expected) > _ROUNDING:
            yield f"pairs.{number}.difference = {pair.difference}, but means differ by {expected}"
        if pair.squares < pair.users * pair.difference**2 * (1.0 - _ROUNDING):
            yield f"pairs.{number}.squares = {pair.squares} is less than its mean difference allows"


def in_order(nights: Sequence[Night]) -> tuple[Night, ...]:
    """Nights by date, each once, whatever their order.

    Raises:
        DataError: a night is there twice with different content.
    """
    by_date: dict[date, Night] = {}
    for night in nights:
        if by_date.setdefault(night.night, night) != night:
            raise DataError(f"night {night.night} is there twice, with different content")
    return tuple(by_date[day] for day in sorted(by_date))
