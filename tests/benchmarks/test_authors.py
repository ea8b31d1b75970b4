"""The authors' code with several seeds: what the command says and keeps, without a checkout."""

import argparse
from pathlib import Path
from typing import Any

import pytest

from benchmarks import authors
from diffrec_core.common.artifacts import read_json
from diffrec_core.common.errors import ConfigError


def told(out: Path, models: list[str], reference: str = "checkout") -> argparse.Namespace:
    return argparse.Namespace(models=models, seeds=["1", "2"], reference=reference, out=out)


@pytest.mark.parametrize("reference", ["", "checkout"])
def test_without_data_or_checkout_it_says_so(
    tmp_path: Path,
    data: Path,
    reference: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setenv("DIFFREC_BENCH_DATA", str(tmp_path / "gone" if reference else data))
    authors.main(told(tmp_path, ["t_diffrec"], reference))
    expected = "gone holds no split.npz" if reference else "REFERENCE names no checkout"
    assert expected in caplog.text
    assert not (tmp_path / "authors.json").exists()


def test_an_unknown_model_is_named(
    tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DIFFREC_BENCH_DATA", str(data))
    with pytest.raises(ConfigError, match="'ease' is not known; known: diffrec, t_diffrec"):
        authors.main(told(tmp_path, ["ease"]))


def test_a_training_that_is_finished_is_kept(
    tmp_path: Path,
    data: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("DIFFREC_BENCH_DATA", str(data))
    trained: list[int] = []

    def train(model: str, seed: int, reference: str, folder: Path) -> dict[str, Any]:
        trained.append(seed)
        if seed == 2 and len(trained) == 2:
            raise KeyboardInterrupt
        return {"recall@10": 0.1, "recall@20": 0.2 * seed, "ndcg@10": 0.1, "ndcg@20": 0.1}

    monkeypatch.setattr(authors, "_in_own_process", train)
    with pytest.raises(KeyboardInterrupt):
        authors.main(told(tmp_path, ["t_diffrec"]))
    authors.main(told(tmp_path, ["t_diffrec"]))
    assert trained == [1, 2, 2]
    assert [row["seed"] for row in read_json(tmp_path / "authors.json")] == [1, 2]
    assert "0.3000 ± .1414" in capsys.readouterr().out
    monkeypatch.setattr(authors, "settings_of", lambda model: {"other": model})
    authors.main(told(tmp_path, ["t_diffrec"]))
    assert trained == [1, 2, 2, 1, 2]  # other settings, other rows
    assert len(read_json(tmp_path / "authors.json")) == 2
