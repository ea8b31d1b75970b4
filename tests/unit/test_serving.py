"""Recommendations by external id."""

from dataclasses import replace
from datetime import UTC, datetime

import polars as pl
import pytest

from diffrec_core.common.errors import ArtifactError, DataError
from diffrec_core.data.interactions import Interactions
from diffrec_core.data.seen import Repeats, seen_of
from diffrec_core.data.tables import INTERACTIONS, RECOMMENDATIONS, SEEN
from diffrec_core.data.vocabulary import Vocabulary
from diffrec_core.models.base import TrainingData
from diffrec_core.models.kinds import create
from diffrec_core.serving import RecommendationService

ITEMS = Vocabulary(("a", "b", "c", "d"))
USERS = Vocabulary(("u", "v", "w"))
PAIRS = [(0, 0), (0, 1), (1, 0), (1, 1), (1, 2), (2, 3)]


def interactions(items: Vocabulary = ITEMS) -> Interactions:
    times = [datetime(2020, 1, 1 + n, tzinfo=UTC) for n in range(len(PAIRS))]
    frame = pl.DataFrame(
        {
            "user": [user for user, _ in PAIRS],
            "item": [item for _, item in PAIRS],
            "timestamp": times,
            "weight": [1.0] * len(PAIRS),
        },
        schema=INTERACTIONS,
    )
    return Interactions(frame, USERS, items, seen_of(frame))


@pytest.fixture(scope="module")
def service() -> RecommendationService:
    data = interactions()
    model = create({"kind": "ease", "l2": 1.0}, "train.ease")
    model.fit(TrainingData(histories=data.histories(), items=ITEMS))
    return RecommendationService(model, data)


def test_a_known_user_gets_unseen_items(service: RecommendationService) -> None:
    (answer,) = service.for_users(["u"], 10)
    assert answer.item_ids == ["c", "d"]
    assert answer.source == "history"
    assert answer.scores == sorted(answer.scores, reverse=True)


def test_an_unknown_user_gets_what_is_popular(service: RecommendationService) -> None:
    known, unknown = service.for_users(["w", "nobody"], 3)
    assert known.source == "history"
    assert (unknown.item_ids, unknown.source) == (["a", "b", "c"], "popularity")
    assert unknown.scores == [2.0, 2.0, 1.0]


def test_a_history_by_items_equals_that_of_a_known_user(service: RecommendationService) -> None:
    assert service.for_items([["a", "b"]], 4) == service.for_users(["u"], 4)


def test_unknown_items_are_left_out(service: RecommendationService) -> None:
    assert service.for_items([["a", "?", "b"]], 4) == service.for_items([["a", "b"]], 4)
    assert service.for_items([["?"]], 1)[0].source == "popularity"


def test_of_a_repeated_item_the_last_occurrence_counts(service: RecommendationService) -> None:
    assert service.for_items([["b", "a", "b"]], 4) == service.for_items([["a", "b"]], 4)


def test_seen_items_can_be_included(service: RecommendationService) -> None:
    (answer,) = service.for_items([["a", "b"]], 4, exclude_seen=False)
    assert set(answer.item_ids) == {"a", "b", "c", "d"}


def test_timestamps_must_match(service: RecommendationService) -> None:
    assert service.for_items([["a", "b"]], 4, timestamps=[[0.0, 86400.0]])
    with pytest.raises(DataError, match="timestamps must be given for every item"):
        service.for_items([["a", "b"]], 4, timestamps=[[0.0]])


def test_k_must_be_positive(service: RecommendationService) -> None:
    with pytest.raises(DataError, match="k = 0"):
        service.for_users(["u"], 0)


def test_the_table_has_every_user_and_agrees_with_single_answers(
    service: RecommendationService,
) -> None:
    table = service.table(2, batch_size=2)
    assert table.schema == RECOMMENDATIONS
    assert table["user_id"].unique(maintain_order=True).to_list() == ["u", "v", "w"]
    for user in USERS.ids:
        rows = table.filter(pl.col("user_id") == user)
        assert rows["item_id"].to_list() == service.for_users([user], 2)[0].item_ids
        assert rows["rank"].to_list() == list(range(1, len(rows) + 1))
    assert set(table["source"]) == {"history"}


def test_the_table_says_who_is_answered_by_popularity(service: RecommendationService) -> None:
    """Such as users of earlier nights, who keep their index without an interaction."""
    data = replace(interactions(), users=Vocabulary(("u", "v", "w", "gone")))
    table = served(service, data).table(2, batch_size=3)
    sources = dict(table.select("user_id", "source").unique().iter_rows())
    assert sources == {"u": "history", "v": "history", "w": "history", "gone": "popularity"}
    (answer,) = served(service, data).for_users(["gone"], 2)
    assert (answer.source, answer.item_ids) == ("popularity", ["a", "b"])
    assert table.filter(pl.col("user_id") == "gone")["item_id"].to_list() == answer.item_ids


def test_a_model_of_another_vocabulary_is_refused(service: RecommendationService) -> None:
    with pytest.raises(ArtifactError, match="different item vocabularies"):
        RecommendationService(service.model, interactions(Vocabulary(("a", "b", "d", "c"))))


def seen(*pairs: tuple[int, int, int]) -> Interactions:
    """What `interactions` has, and further pairs that were seen: user, item, day."""
    data = interactions()
    further = [
        (user, item, datetime(2020, 1, day, tzinfo=UTC), datetime(2020, 1, day, tzinfo=UTC))
        for user, item, day in pairs
    ]
    more = pl.DataFrame(further, schema=SEEN, orient="row")
    return replace(data, seen=pl.concat([data.seen, more]).sort("user", "first_seen"))


def served(
    service: RecommendationService, data: Interactions, repeats: Repeats = "never"
) -> RecommendationService:
    return RecommendationService(service.model, data, repeats)


def test_what_was_seen_is_not_recommended_though_it_is_not_in_the_history(
    service: RecommendationService,
) -> None:
    strict = served(service, seen((0, 2, 9)))
    (answer,) = strict.for_users(["u"], 4)
    assert answer.item_ids == ["d"]
    (same,) = service.for_users(["u"], 4)
    assert answer.scores == same.scores[1:]  # the history, and so the scores, are as they were
    table = strict.table(4, batch_size=2)
    assert table.filter(pl.col("user_id") == "u")["item_id"].to_list() == ["d"]
    assert len(strict.for_users(["u"], 4, exclude_seen=False)[0].item_ids) == 4


@pytest.mark.parametrize(
    ("repeats", "left"),
    [("never", ["d"]), ("allowed", ["a", "b", "c", "d"]), (3, ["a", "b", "d"]), (9, ["a", "d"])],
)
def test_what_may_come_again(
    service: RecommendationService, repeats: Repeats, left: list[str]
) -> None:
    # u met a on day 1, b on day 2 and c on day 9; the newest event is of day 10
    strict = served(service, seen((0, 2, 9), (2, 3, 10)), repeats)
    assert sorted(strict.for_users(["u"], 4)[0].item_ids) == left
    table = strict.table(4, batch_size=2)
    assert sorted(table.filter(pl.col("user_id") == "u")["item_id"]) == left
    days = [[datetime(2020, 1, day, tzinfo=UTC).timestamp() for day in (1, 2, 9)]]
    (dated,) = strict.for_items([["a", "b", "c"]], 4, timestamps=days)
    assert sorted(dated.item_ids) == left
    (undated,) = strict.for_items([["a", "b", "c"]], 4)
    assert sorted(undated.item_ids) == (left if repeats == "allowed" else ["d"])


def test_a_request_names_what_was_seen_besides(service: RecommendationService) -> None:
    first, second = service.for_items([["a"], ["a"]], 4, seen=[["d", "unheard of"], []])
    assert sorted(first.item_ids) == ["b", "c"]
    assert sorted(second.item_ids) == ["b", "c", "d"]
