"""Recent popularity by hand, and what is left of it when nothing is recent."""

import pytest

from diffrec_core.data.histories import Histories
from diffrec_core.data.vocabulary import Vocabulary
from diffrec_core.models.base import TrainingData
from diffrec_core.models.popularity import Popularity, PopularityConfig

DAY = 86_400_000_000
ITEMS = Vocabulary(("a", "b", "c", "never"))


def counts(histories: Histories, **settings: object) -> list[float]:
    model = Popularity(PopularityConfig.model_validate(settings))
    model.fit(TrainingData(histories=histories, items=ITEMS))
    scores: list[float] = model.score(Histories.from_lists([[3]]))[0].tolist()
    return scores


def test_an_interaction_halves_with_every_half_life_before_the_end_of_the_data() -> None:
    times = [[0, 10 * DAY, 20 * DAY], [15 * DAY, 20 * DAY]]
    histories = Histories.from_lists([[0, 1, 2], [0, 1]], timestamps=times)
    # ages in days: item 0: 20 and 5, item 1: 10 and 0, item 2: 0
    expected = [0.25 + 2**-0.5, 0.5 + 1.0, 1.0, 0.0]
    assert counts(histories, half_life_days=10.0) == pytest.approx(expected)
    assert counts(histories) == [2.0, 2.0, 1.0, 0.0]


def test_with_recency_an_interaction_counts_by_both() -> None:
    histories = Histories.from_lists([[0, 1]], timestamps=[[0, 10 * DAY]])
    recency = {"kind": "linear", "weight_min": 0.5}
    expected = [0.5 * 0.5, 1.0, 0.0, 0.0]
    assert counts(histories, half_life_days=10.0, recency=recency) == pytest.approx(expected)


def test_what_is_long_ago_keeps_its_order() -> None:
    times = [[0, 1000 * DAY], [0, 0], [0]]
    histories = Histories.from_lists([[0, 2], [0, 1], [0]], timestamps=times)
    first, second, newest, never = counts(histories, half_life_days=10.0)
    assert newest > first > second > never == 0.0
