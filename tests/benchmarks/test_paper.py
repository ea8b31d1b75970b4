"""The benchmark on the paper's split, with a split of a few users in the same form."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from benchmarks import _fit, _fits, _paper_table
from benchmarks._ml1m import METRICS
from benchmarks._reference import REFERENCES
from benchmarks.paper import Bench, FitError
from tests.benchmarks.conftest import N_ITEMS, Starter

PROJECT = Path(__file__).resolve().parents[2]


def run_command(*options: str, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {k: v for k, v in os.environ.items() if k not in {"DIFFREC_BENCH_DATA"}}
    return subprocess.run(
        [sys.executable, "-m", "benchmarks.paper", *options],
        cwd=PROJECT,
        env={**environment, **variables},
        capture_output=True,
        text=True,
        check=False,
    )


def test_missing_data_is_a_message_and_no_failure(tmp_path: Path) -> None:
    out = tmp_path / "out"
    result = run_command("--out", str(out), DIFFREC_BENCH_DATA=str(tmp_path / "gone"))
    assert result.returncode == 0
    assert "DIFFREC_BENCH_DATA must name a folder" in result.stderr
    assert "gone holds no split.npz" in result.stderr
    assert not out.exists()


def test_the_command_fits_in_processes_of_their_own(
    data: Path, presets: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    choices = {"MODELS": "l_diffrec", "SEEDS": "3", "PROTOCOLS": "A", "SETTINGS": "authors"}
    options = ("--presets", str(presets), "--out", str(out))
    result = run_command(
        *options,
        **choices,
        EMBEDDINGS="published",
        DIFFREC_BENCH_DATA=str(data),
        OMP_NUM_THREADS="1",
    )

    assert result.returncode == 0, result.stderr
    (row,) = json.loads((out / "paper.json").read_text())
    label = {"model": "l_diffrec", "setting": "authors", "protocol": "A", "seed": 3}
    assert row.items() >= {**label, "embeddings": "published"}.items()
    assert set(row) >= {*METRICS, "fit_seconds", "peak_mib", "pretrain_seconds"}
    assert row["peak_mib"] > 50
    assert sum(row["cluster_sizes"]) == N_ITEMS
    assert "authors, published emb." in result.stdout
    assert "|l_diffrec|authors, published emb.|" in (out / "paper.md").read_text()


def test_finished_rows_are_kept_and_the_rest_continues(
    make_bench: Callable[[], tuple[Bench, Starter]], presets: Path
) -> None:
    bench, starter = make_bench()
    choices: dict[str, Any] = {"models": ["ease", "popularity"], "seeds": ["1"]}
    assert bench.run(bench.plan(**choices)) == []
    # popularity has the same settings twice, and one fit serves both rows
    assert sorted(starter.started) == sorted(
        f"{model} {p} 1" for p in "AC" for model in ("ease", "ease", "popularity")
    )
    rows = bench.rows.read()
    assert len(rows) == 8

    bench, starter = make_bench()
    bench.run(bench.plan(**choices))
    assert starter.started == []
    assert bench.rows.read() == rows

    lost = next(row for row in rows if row["model"] == "ease" and row["protocol"] == "C")
    kept = [row for row in rows if row is not lost]
    bench.rows.path.write_text(json.dumps(kept))
    bench, starter = make_bench()
    bench.run(bench.plan(**choices))
    assert starter.started == ["ease C 1"]

    tuned = presets / "ml-1m-tuned.yaml"
    tuned.write_text(tuned.read_text().replace("l2: 5.0", "l2: 6.0"))
    bench, starter = make_bench()
    bench.run(bench.plan(**choices, protocols=["A"]))
    assert starter.started == ["ease A 1"]
    assert len(bench.rows.read()) == 8  # the new row took the place of the old one


def test_stale_rows_are_marked(
    make_bench: Callable[[], tuple[Bench, Starter]],
    presets: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    bench, _ = make_bench()
    bench.run(bench.plan(models=["ease"], seeds=["1"], protocols=["C"]))
    bench.show()
    assert "ours *" not in capsys.readouterr().out
    tuned = presets / "ml-1m-tuned.yaml"
    tuned.write_text(tuned.read_text().replace("l2: 5.0", "l2: 6.0"))
    bench, _ = make_bench()
    bench.show()
    shown = capsys.readouterr().out
    assert "ours *" in shown
    assert "authors *" not in shown


def test_latent_models_take_both_embeddings_and_pretrain_once(
    make_bench: Callable[[], tuple[Bench, Starter]], data: Path
) -> None:
    bench, starter = make_bench()
    choices: dict[str, Any] = {"models": ["l_diffrec"], "seeds": ["1"], "protocols": ["C"]}
    bench.run(bench.plan(**choices))
    assert starter.started == ["pretrain C 1", *["l_diffrec C 1"] * 4]
    by_source = {(row["setting"], row["embeddings"]) for row in bench.rows.read()}
    assert by_source == {(s, e) for s in ("authors", "ours") for e in ("ours", "published")}

    (data / "reference_item_embeddings.npy").unlink()
    assert {fit.embeddings for fit in bench.plan(**choices)} == {"ours"}


def test_a_failed_fit_does_not_stop_the_others(
    make_bench: Callable[[], tuple[Bench, Starter]],
) -> None:
    bench, starter = make_bench()

    def start(task: _fit.Task) -> dict[str, Any]:
        if task.fit["model"] == "diffrec":
            raise FitError("its process ended with 3")
        return starter(task)

    bench.start = start
    fits = bench.plan(["diffrec", "ease"], seeds=["1"], protocols=["A"], settings=["authors"])
    assert bench.run(fits) == ["diffrec (authors) A seed 1"]
    assert [row["model"] for row in bench.rows.read()] == ["ease"]


def test_a_row_is_filed_under_the_code_that_its_process_ran(
    make_bench: Callable[[], tuple[Bench, Starter]], monkeypatch: pytest.MonkeyPatch
) -> None:
    bench, starter = make_bench()
    choices: dict[str, Any] = {"protocols": ["A"], "settings": ["authors"], "seeds": ["1"]}
    (fit,) = bench.plan(["ease"], **choices)
    planned = fit.key

    def start(task: _fit.Task) -> dict[str, Any]:
        monkeypatch.setattr(_fits, "code_hash", lambda kind: "edited meanwhile")
        return starter(task)

    bench.start = start
    bench.run([fit])
    (row,) = bench.rows.read()
    assert row["key"] == fit.key != planned


def test_a_fit_ends_when_the_benchmark_was_killed(
    make_bench: Callable[[], tuple[Bench, Starter]], monkeypatch: pytest.MonkeyPatch
) -> None:
    bench, _ = make_bench()
    parents = iter([1000, 1000, 1])
    monkeypatch.setattr(os, "getppid", lambda: next(parents))
    fits = bench.plan(["diffrec"], seeds=["1"], protocols=["A"], settings=["authors"])
    with pytest.raises(SystemExit):
        bench.run(fits)
    assert bench.rows.read() == []


def test_seeds_matter_and_fits_repeat(make_bench: Callable[[], tuple[Bench, Starter]]) -> None:
    bench, _ = make_bench()
    choices: dict[str, Any] = {"protocols": ["A"], "settings": ["authors"]}
    bench.run(bench.plan(["diffrec"], seeds=["1", "2"], **choices))
    first, second = bench.rows.read()
    assert {name: first[name] for name in METRICS} != {name: second[name] for name in METRICS}
    bench.rows.path.unlink()
    bench.run(bench.plan(["diffrec"], seeds=["2"], **choices))
    (again,) = bench.rows.read()
    assert {name: again[name] for name in METRICS} == {name: second[name] for name in METRICS}


def test_only_code_counts_in_the_key(tmp_path: Path) -> None:
    path = tmp_path / "module.py"

    def code(text: str) -> str:
        path.write_text(text)
        return _fits._code.__wrapped__(path, 0)

    first = code(
        '"""Text."""\n\nX = 1  # a comment\n\ndef f() -> int:\n    """Text."""\n    return 1'
    )
    assert first == code('"""Other."""\nX = 1\ndef f() -> int:\n    """Other."""\n    return 1\n')
    assert first != code("X = 2\n\ndef f() -> int:\n    return 1\n")
    assert _fits.code_hash("ease") != _fits.code_hash("diffrec")


def row(seed: int, value: float, **more: Any) -> dict[str, Any]:
    label = {"model": "diffrec", "setting": "authors", "protocol": "A", "seed": seed}
    metrics = dict.fromkeys(METRICS, value)
    return {**label, **metrics, "fit_seconds": 2.0 * seed, "peak_mib": 400.4 + seed, **more}


def test_the_table_sets_means_and_deviations_beside_the_reference() -> None:
    rows = [row(1, 0.1), row(2, 0.2), row(3, 0.3), row(1, 0.4, protocol="C")]
    latent = row(1, 0.25, model="l_diffrec", embeddings="ours", pretrain_seconds=7.0)
    lines = _paper_table.lines("A", [*rows, latent], lambda row: row["model"] == "diffrec")

    at = [line[0] for line in lines].index("diffrec")
    spread = "0.2000 ± .1000"
    assert lines[at : at + 3] == [
        *(("diffrec", r.what, f"{r.recall_10:.4f}", f"{r.recall_20:.4f}", f"{r.ndcg_10:.4f}",
           f"{r.ndcg_20:.4f}", "", "", "") for r in REFERENCES if r.model == "diffrec"),
        ("diffrec", "authors", spread, spread, spread, spread, "4.0", "403", "3"),
    ]  # fmt: skip
    value = "0.2500"
    assert ("l_diffrec", "authors, our emb. *", *[value] * 4, "2.0 + 7.0", "401", "1") in lines
    assert len(_paper_table.lines("C", rows, bool)) == 1 + sum(
        r.protocol == "C" for r in REFERENCES
    )


def test_the_document_is_a_table_of_nine_columns() -> None:
    lines = _paper_table.lines("A", [row(1, 0.1)], bool)
    text = _paper_table.markdown({"A": lines}, "This machine: mine.")
    table = [line for line in text.splitlines() if line.startswith("|")]
    assert len(table) == len(lines) + 2
    assert {line.count("|") for line in table} == {10}
    assert max(map(len, text.splitlines())) <= 120
