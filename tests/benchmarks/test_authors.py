"""The authors' code: what is done around it, without a checkout."""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import authors, diffrec_authors
from diffrec_core.common.artifacts import read_json
from diffrec_core.common.errors import ConfigError


@pytest.fixture(autouse=True)
def any_checkout(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(authors, "checkout", lambda value: value)


def inputs(data: Path, out: Path) -> authors.AuthorsInputs:
    chosen: dict[str, Any] = {"models": ("t_diffrec",), "seeds": (1, 2)}
    return authors.AuthorsInputs(data=str(data), out=out, reference="checkout", **chosen)


def test_a_checkout_is_recognised(tmp_path: Path) -> None:
    for folder in ("", str(tmp_path)):
        with pytest.raises(ConfigError, match=r"REFERENCE: .* does not hold DiffRec/main\.py"):
            diffrec_authors.checkout(folder)
    (tmp_path / "DiffRec").mkdir()
    (tmp_path / "DiffRec" / "main.py").touch()
    assert diffrec_authors.checkout(str(tmp_path)) == str(tmp_path.resolve())


def test_a_training_that_is_finished_is_kept(
    tmp_path: Path,
    data: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    trained: list[int] = []

    def train(function: Any, settings: dict[str, Any]) -> dict[str, Any]:
        seed = settings["seed"]
        trained.append(seed)
        if seed == 2 and len(trained) == 2:
            raise KeyboardInterrupt
        return {"recall@10": 0.1, "recall@20": 0.2 * seed, "ndcg@10": 0.1, "ndcg@20": 0.1}

    monkeypatch.setattr(authors, "in_own_process", train)
    with pytest.raises(KeyboardInterrupt):
        authors.run(inputs(data, tmp_path))
    authors.run(inputs(data, tmp_path))
    assert trained == [1, 2, 2]
    assert [row["seed"] for row in read_json(tmp_path / "authors.json")] == [1, 2]
    assert "0.3000 ± .1414" in capsys.readouterr().out
    monkeypatch.setattr(authors, "model_settings", lambda model, preset: {"other": model})
    authors.run(inputs(data, tmp_path))
    assert trained == [1, 2, 2, 1, 2]  # other settings, other rows
    assert len(read_json(tmp_path / "authors.json")) == 2


def test_their_lists_of_metrics_get_names() -> None:
    lists = [[float(10 * row + column) for column in range(4)] for row in range(4)]
    named = diffrec_authors.named(lists)
    assert (named["precision@10"], named["recall@20"], named["mrr@100"]) == (0.0, 11.0, 33.0)


def test_their_temporal_inputs_are_linear_in_the_place(data: Path) -> None:
    recency = {"kind": "linear", "weight_min": 0.1, "weight_max": 1.0}
    parts = diffrec_authors.read_parts(data, recency)
    with np.load(data / "split.npz") as arrays:
        of_user_3 = arrays["train"][arrays["train"][:, 0] == 3, 1]
    weights = parts["input"][3].toarray().ravel()[of_user_3]
    np.testing.assert_allclose(weights, [0.1, 0.25, 0.4, 0.55, 0.7, 0.85, 1.0])
    assert parts["input"].nnz == parts["train"].nnz
    plain = diffrec_authors.read_parts(data, {"kind": "none"})
    assert (plain["input"] != plain["train"]).nnz == 0


class Declining:
    """Validations fall from the second one on; the test of a validation is ten times as much."""

    def __init__(self) -> None:
        self.validations, self.epochs = iter([0.1, 0.3, 0.2, 0.2, 0.25, 0.2, 0.9]), 0

    def train_epoch(self) -> None:
        self.epochs += 1

    def evaluate(self, part: str) -> dict[str, float]:
        self.recall = next(self.validations) if part == "valid" else 10 * self.recall
        return {"recall@20": self.recall}


@pytest.mark.parametrize(("epochs", "ended"), [(1000, 30), (12, 12)])
def test_a_model_of_theirs_is_trained_until_its_best_is_old(epochs: int, ended: int) -> None:
    model: Any = Declining()
    result = diffrec_authors.until_no_better(model, epochs, 20)
    assert result == {"recall@20": 3.0, "best_epoch": 10}
    assert model.epochs == ended


def test_a_stand_in_is_for_what_is_not_installed() -> None:
    diffrec_authors.stand_in_for("json", dumps=None)
    assert json.dumps([]) == "[]"
    try:
        diffrec_authors.stand_in_for("not_installed_anywhere", answer=42)
        assert sys.modules["not_installed_anywhere"].answer == 42
    finally:
        sys.modules.pop("not_installed_anywhere", None)
