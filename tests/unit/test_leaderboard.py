"""The leaderboard and the choice of the winner."""

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from pydantic import ValidationError

from diffrec_core.common.errors import ArtifactError, ConfigError, DataError
from diffrec_core.evaluation.comparison import compare_models, with_significance
from diffrec_core.evaluation.leaderboard import (
    SelectConfig,
    build_leaderboard,
    leaderboard_csv,
)
from diffrec_core.evaluation.per_user import (
    read_per_user,
    side_by_side,
    write_per_user,
)
from diffrec_core.evaluation.significance import SeedSpread

FIT = {
    "config": {"kind": "ease"},
    "fit_seconds": 1.0,
    "parameters": 2,
    "peak_memory_mib": 3.0,
    "epochs": 4,
    "best_epoch": 3,
}


def evaluation(validation: float, test: float, protocol: str = "p") -> dict[str, Any]:
    return {
        "protocol": {"name": protocol},
        "validation": {"users": 5.0, "recall@20": validation, "coverage": {"users": 5}},
        "test": {"users": 6.0, "recall@20": test, "coverage": {"users": 6}},
        "seeds": 1,
        "sd": {"validation": {}, "test": {}},
    }


def board(evaluations: dict[str, Any], metric: str = "recall@20") -> dict[str, Any]:
    fits = dict.fromkeys(evaluations, FIT)
    return build_leaderboard(evaluations, fits, SelectConfig(metric=metric))


def test_validation_decides_and_test_does_not() -> None:
    result = board({"a": evaluation(0.2, 0.9), "b": evaluation(0.3, 0.1)})
    assert result["selected"] == "b"
    assert list(result["models"]) == ["b", "a"]
    assert result["selected_on"] == "validation recall@20"
    assert result["models"]["a"]["test"] == {"users": 6.0, "recall@20": 0.9}
    assert result["models"]["a"]["fit_seconds"] == 1.0


def test_ties_go_to_the_model_named_first() -> None:
    assert board({"a": evaluation(0.2, 0.1), "b": evaluation(0.2, 0.2)})["selected"] == "a"


def test_a_metric_that_was_not_measured_is_named() -> None:
    with pytest.raises(ConfigError, match=r"select\.metric = 'ndcg@7' is not among recall@20"):
        board({"a": evaluation(0.2, 0.1)}, "ndcg@7")


def test_unlike_protocols_cannot_be_compared() -> None:
    with pytest.raises(DataError, match="different data or protocols"):
        board({"a": evaluation(0.2, 0.1), "b": evaluation(0.3, 0.1, protocol="q")})


def test_nested_facts_stay_with_the_evaluation() -> None:
    measured = evaluation(0.2, 0.1)
    measured["test"] |= {"slices": {"history": []}, "gini@20": 0.5}
    assert board({"a": measured})["models"]["a"]["test"] == {
        "users": 6.0,
        "recall@20": 0.1,
        "gini@20": 0.5,
    }


def test_the_spread_over_seeds_stands_beside_the_means() -> None:
    measured = {**evaluation(0.2, 0.1), "seeds": 3, "sd": {"validation": {"recall@20": 0.01}}}
    row = board({"a": measured})["models"]["a"]
    assert (row["seeds"], row["sd"]) == (3, {"validation": {"recall@20": 0.01}})


def test_a_model_that_was_left_out_is_named_with_its_reason() -> None:
    result = board({"big": {"left_out": "big needs 9 GiB"}, "a": evaluation(0.2, 0.1)})
    assert result["left_out"] == {"big": "big needs 9 GiB"}
    assert list(result["models"]) == ["a"]
    with pytest.raises(DataError, match="every model was left out: big needs 9 GiB"):
        board({"big": {"left_out": "big needs 9 GiB"}})


def test_plots_get_what_is_on_one_scale() -> None:
    measured = evaluation(0.2, 0.1)
    measured["test"] |= {"map@20": 0.05, "novelty@20": 7.5}
    assert leaderboard_csv(board({"a": measured})).splitlines() == [
        "model,part,metric,value",
        "a,validation,recall@20,0.2",
        "a,test,recall@20,0.1",
        "a,test,map@20,0.05",
    ]


@pytest.mark.parametrize(
    "wrong",
    [{"metric": "coverage@20"}, {"significance_level": 0.0}, {"resamples": 99}, {"level": 0.1}],
)
def test_what_select_does_not_allow(wrong: dict[str, Any]) -> None:
    SelectConfig(metric="map@10", significance_level=0.01, resamples=100)
    with pytest.raises(ValidationError):
        SelectConfig(**wrong)


def table(seed: int, mean: float, users: int = 200) -> pl.DataFrame:
    """Values of users who differ by much, with this mean; models differ by little else."""
    levels = np.random.default_rng(0).normal(size=users)
    noise = np.random.default_rng(seed).normal(0.0, 0.1, size=users)
    values = levels - levels.mean() + noise - noise.mean() + mean
    return pl.DataFrame({"user": np.arange(users), "recall@20": values, "ndcg@20": values / 2})


CONFIG = SelectConfig(metric="recall@20", significance_level=0.05, resamples=2000)
ONCE = SeedSpread()
"""Of a model that was trained from one seed."""


def test_models_are_held_against_the_winner_and_grouped() -> None:
    tables = {"a": table(1, 0.3), "b": table(2, 0.301), "c": table(3, 0.1), "d": table(4, 0.102)}
    result = compare_models(tables, dict.fromkeys(tables, ONCE), "a", CONFIG, seed=3)
    assert result.groups == [["b", "a"], ["d", "c"]]
    rows = result.against_winner
    assert {name: row["group"] for name, row in rows.items()} == {
        "a": "A",
        "b": "A",
        "c": "B",
        "d": "B",
    }
    assert rows["a"] == {"group": "A"}
    assert rows["c"]["difference"] == pytest.approx(-0.2)
    low, high = rows["c"]["difference_interval"]
    assert low < -0.2 < high < -0.1
    assert rows["c"]["p"] == rows["c"]["p_users"] == 1 / 2001
    assert rows["c"]["p_seeds"] is None
    assert rows["c"]["p_holm"] == 3 / 2001
    assert rows["b"]["p"] == rows["b"]["p_holm"] > 0.5
    low, high = result.intervals["a"]["recall@20"]
    assert low < 0.3 < high
    assert high - low == pytest.approx(2 * 1.96 * (1 / 200) ** 0.5, rel=0.25)
    np.testing.assert_allclose(np.array(result.intervals["a"]["ndcg@20"]) * 2, [low, high])


def test_a_winner_who_is_not_the_best_here_may_be_in_a_later_group() -> None:
    """As on the test part, which did not choose."""
    tables, spreads = {"a": table(1, 0.1), "b": table(2, 0.4)}, {"a": ONCE, "b": ONCE}
    result = compare_models(tables, spreads, "a", CONFIG, seed=3)
    assert result.groups == [["b"], ["a"]]
    assert result.against_winner["a"] == {"group": "B"}
    assert result.against_winner["b"]["difference"] == pytest.approx(0.3)


def test_a_single_model_has_intervals_and_no_rival() -> None:
    result = compare_models({"a": table(1, 0.3)}, {"a": ONCE}, "a", CONFIG, seed=3)
    assert result.groups == [["a"]]
    assert result.against_winner == {"a": {"group": "A"}}
    assert set(result.intervals["a"]) == {"recall@20", "ndcg@20"}


def test_what_users_tell_apart_another_seed_may_not() -> None:
    """Means .2 apart: far beyond the users' chance, and within that of two seeds ± .1."""
    tables = {"a": table(1, 0.3), "b": table(2, 0.1), "c": table(3, 0.1)}
    spreads = {"a": SeedSpread(0.1, 2), "b": SeedSpread(0.1, 2), "c": SeedSpread(0.001, 3)}
    result = compare_models(tables, spreads, "a", CONFIG, seed=3)
    row = result.against_winner["b"]
    assert row["p_users"] == 1 / 2001
    # Welch: t = .2 / .1 with two degrees of freedom, whose p is 1 - t / sqrt(2 + t²)
    assert row["p_seeds"] == pytest.approx(1 - 2 / 6**0.5)
    assert row["p"] == row["p_seeds"]
    assert result.groups == [["a", "b", "c"]]
    steadier = {**spreads, "a": SeedSpread(0.001, 3), "b": SeedSpread(0.001, 3)}
    result = compare_models(tables, steadier, "a", CONFIG, seed=3)
    assert result.groups[0] == ["a"]
    assert result.against_winner["b"]["p"] == 1 / 2001


def test_users_are_paired_or_refused() -> None:
    shorter = table(1, 0.3, users=199)
    other = table(1, 0.3).with_columns(pl.col("user") + 1)
    for unlike in (shorter, other):
        with pytest.raises(DataError, match="b and a were measured on different users"):
            side_by_side({"a": table(1, 0.3), "b": unlike}, "recall@20")
    with pytest.raises(DataError, match="values of a lack mrr@20"):
        side_by_side({"a": table(1, 0.3)}, "mrr@20")


def test_a_leaderboard_says_how_sure_it_is() -> None:
    """Validation chose b; on test, a is better, and significantly so."""
    plain = board({"a": evaluation(0.2, 0.5), "b": evaluation(0.3, 0.1)})
    per_user = {
        "validation": {"a": table(1, 0.2), "b": table(2, 0.3)},
        "test": {"a": table(3, 0.5), "b": table(4, 0.1)},
    }
    config = SelectConfig(resamples=500, significance_level=0.01)
    result = with_significance(plain, per_user, config, seed=1)
    assert result["selected"] == "b"
    assert result["significance"]["groups"] == {
        "validation": [["b"], ["a"]],
        "test": [["a"], ["b"]],
    }
    assert (result["significance"]["level"], result["significance"]["resamples"]) == (0.01, 500)
    row = result["models"]["a"]
    assert row["against_winner"]["validation"]["difference"] == pytest.approx(-0.1)
    assert row["against_winner"]["test"]["difference"] == pytest.approx(0.4)
    assert set(row["intervals"]) == {"validation", "test"}
    assert {key: row[key] for key in plain["models"]["a"]} == plain["models"]["a"]
    assert "significance" not in plain
    assert with_significance(plain, per_user, config, seed=1) == result


def test_a_leaderboard_asks_the_seeds_too() -> None:
    """The spread of the part and of the metric of the choice, and of no other."""
    measured = {"a": evaluation(0.3, 0.5), "b": evaluation(0.2, 0.4)}
    for one in measured.values():
        one |= {"seeds": 2, "sd": {"validation": {"recall@20": 0.1}, "test": {"recall@20": 1e-4}}}
    per_user = {
        "validation": {"a": table(1, 0.3), "b": table(2, 0.2)},
        "test": {"a": table(1, 0.5), "b": table(2, 0.4)},
    }
    result = with_significance(board(measured), per_user, SelectConfig(resamples=500), seed=1)
    assert result["significance"]["groups"] == {
        "validation": [["a", "b"]],
        "test": [["a"], ["b"]],
    }


def test_per_user_values_come_back_to_the_last_bit(tmp_path: Path) -> None:
    frame = table(1, 1 / 3)
    write_per_user(tmp_path, "test", frame)
    assert read_per_user(tmp_path, "test").equals(frame)
    with pytest.raises(ArtifactError, match=r"per_user_validation\.parquet is missing"):
        read_per_user(tmp_path, "validation")
