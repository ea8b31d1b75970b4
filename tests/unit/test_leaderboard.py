"""The leaderboard and the choice of the winner."""

from typing import Any

import pytest

from diffrec_core.errors import ConfigError, DataError
from diffrec_core.evaluation.leaderboard import SelectConfig, build_leaderboard

FIT = {"fit_seconds": 1.0, "parameters": 2, "peak_memory_mib": 3.0, "epochs": 4, "best_epoch": 3}


def evaluation(validation: float, test: float, protocol: str = "p") -> dict[str, Any]:
    return {
        "protocol": {"name": protocol},
        "validation": {"users": 5.0, "recall@20": validation, "coverage": {"users": 5}},
        "test": {"users": 6.0, "recall@20": test, "coverage": {"users": 6}},
    }


def board(evaluations: dict[str, Any], metric: str = "recall@20") -> dict[str, Any]:
    fits = dict.fromkeys(evaluations, FIT)
    return build_leaderboard(list(evaluations), evaluations, fits, SelectConfig(metric=metric))


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
