"""The benchmark on the paper's split, with a split of a few users in the same form."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from benchmarks import paper
from benchmarks.fits.fitting import fit_and_measure, item_embeddings
from benchmarks.fits.plan import LABEL, Fit, plan
from benchmarks.fits.table import HEADINGS, NOTES, paper_table, table_lines
from benchmarks.ml1m import METRICS, load_split
from benchmarks.processes import WorkError
from benchmarks.results import Results, show

Settings = dict[str, dict[str, Any]]
Run = Callable[..., list[str]]


@pytest.fixture
def results(tmp_path: Path) -> Results:
    return Results(tmp_path / "out" / "paper.json", LABEL)


@pytest.fixture
def run(settings: Settings, data: Path, results: Results, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs what is planned in this process; returns what was started."""
    started: list[str] = []

    def start(function: Callable[..., Any], fit: Fit, *arguments: Any) -> Any:
        started.append(f"{function.__name__} {fit.name}")
        return function(fit, *arguments)

    monkeypatch.setattr("benchmarks.paper.in_own_process", start)
    monkeypatch.setattr("benchmarks.fits.fitting.in_own_process", start)

    def run_what_is_missing(**choices: Any) -> list[str]:
        started.clear()
        paper.run_fits(plan(settings, load_split(data), **choices), data, results)
        return list(started)

    return run_what_is_missing


def test_the_command_fits_in_processes_of_their_own(
    data: Path,
    tmp_path: Path,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(paper, "read_settings", lambda preset: settings["authors"])
    choices: dict[str, Any] = {"models": ["l_diffrec"], "seeds": [3], "protocols": ["A"]}
    paper.run(paper.PaperInputs(data=str(data), out=tmp_path, **choices))

    ours, published = json.loads((tmp_path / "paper.json").read_text())
    label = {"model": "l_diffrec", "setting": "authors", "protocol": "A", "seed": 3}
    assert ours.items() >= {**label, "embeddings": "ours"}.items()
    assert published.items() >= {**label, "embeddings": "published"}.items()
    assert set(ours) >= {*METRICS, "key", "fit_seconds", "best_epoch", "selection_recall@20"}
    assert ours["peak_mib"] > 50
    shown = capsys.readouterr().out
    assert "| authors, our emb." in shown
    assert "| authors, published emb." in shown
    assert "[3] As published" in shown


def test_finished_fits_are_not_run_again(run: Run, results: Results, settings: Settings) -> None:
    choices: dict[str, Any] = {"models": ["ease", "popularity"], "seeds": [1]}
    assert len(run(**choices)) == 2 * 3  # popularity has the same settings twice
    rows = results.rows()
    assert run(**choices) == []
    assert results.rows() == rows

    lost = next(row for row in rows if (row["model"], row["protocol"]) == ("ease", "C"))
    results.path.write_text(json.dumps([row for row in rows if row is not lost]))
    assert run(**choices) == [f"fit_and_measure C ease {lost['setting']} cpu 1"]

    settings["ours"]["train"]["ease"]["l2"] = 6.0
    assert run(**choices, protocols=["A"]) == ["fit_and_measure A ease ours cpu 1"]
    assert len(results.rows()) == len(rows)  # the new row took the place of the old one


def test_our_embeddings_are_trained_once(run: Run, settings: Settings) -> None:
    settings["ours"]["train"]["l_diffrec"]["encoder_dims"] = [6]
    started = run(models=["l_diffrec"], seeds=[1], protocols=["C"])
    assert [line.partition(" ")[0] for line in started] == ["_pretrain", *["fit_and_measure"] * 4]


def test_a_failed_fit_does_not_stop_the_others(
    run: Run, results: Results, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def start(function: Any, fit: Fit, *arguments: Any) -> Any:
        if fit.model == "diffrec":
            raise WorkError("its process ended with -9")
        return function(fit, *arguments)

    monkeypatch.setattr("benchmarks.paper.in_own_process", start)
    run(models=["diffrec", "popularity"], seeds=[1], protocols=["A"])
    assert [row["model"] for row in results.rows()] == ["popularity"]
    assert "A diffrec authors cpu 1: its process ended with -9" in caplog.text


def test_a_row_has_the_key_of_the_code_that_was_run(
    settings: Settings, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (fit,) = plan(settings, load_split(data), models=["popularity"], seeds=[1], protocols=["A"])
    planned = fit.key
    monkeypatch.setattr("benchmarks.fits.plan.code_hash", lambda *families: "edited meanwhile")
    assert fit_and_measure(fit, data, None)["key"] == fit.key != planned


def test_seeds_matter_and_fits_repeat(settings: Settings, data: Path) -> None:
    fits = plan(settings, load_split(data), models=["diffrec"], seeds=[1, 2], protocols=["A"])
    first, second, again = (fit_and_measure(fit, data, None) for fit in (*fits, fits[1]))
    metrics = [[row[name] for name in METRICS] for row in (first, second, again)]
    assert metrics[0] != metrics[1] == metrics[2]


def test_embeddings_are_those_that_the_fit_asks_for(settings: Settings, data: Path) -> None:
    fits = plan(settings, load_split(data), models=["ease"], seeds=[1], protocols=["A"])
    assert item_embeddings(fits[0], data, data) is None
    fits = plan(settings, load_split(data), models=["l_diffrec"], embeddings=["published"])
    assert item_embeddings(fits[0], data, data) == data.resolve() / "reference_item_embeddings.npy"


def row(seed: int, value: float, **more: Any) -> dict[str, Any]:
    label = {"model": "diffrec", "setting": "authors", "protocol": "A", "seed": seed}
    label |= {"embeddings": "", "precision": "", "device": "cpu"}
    metrics = dict.fromkeys(METRICS, value)
    return {**label, **metrics, "fit_seconds": 2.0 * seed, "peak_mib": 400.4 + seed, **more}


def test_the_table_sets_means_and_deviations_beside_published_numbers() -> None:
    rows = [row(1, 0.1), row(2, 0.2), row(3, 0.3), row(1, 0.4, protocol="C")]
    more = {"embeddings": "ours", "precision": "bfloat16", "device": "cuda"}
    lines = table_lines("A", [*rows, row(1, 0.25, model="l_diffrec", **more)])
    spread, value = "0.2000 ± .1000", "0.2500"
    assert [line for line in lines if line[0] == "diffrec"] == [
        (
            "diffrec",
            "authors' code, 3 seeds [1]",
            "0.1004",
            "0.1702",
            "0.0862",
            "0.1098",
            *[""] * 3,
        ),
        ("diffrec", "paper [3]", "0.1058", "0.1787", "0.0901", "0.1148", *[""] * 3),
        ("diffrec", "authors", *[spread] * 4, "4.0", "403", "3"),
    ]
    settings = "authors, our emb., bfloat16, cuda"
    assert ("l_diffrec", settings, *[value] * 4, "2.0", "401", "1") in lines
    assert {len(line) for line in lines} == {len(HEADINGS)}
    assert [line[1] for line in table_lines("C", rows) if line[0] == "diffrec"] == ["authors"]


def test_the_table_is_markdown(capsys: pytest.CaptureFixture[str]) -> None:
    show(paper_table("A", [row(1, 0.1)]), NOTES)
    lines = [line.strip() for line in capsys.readouterr().out.splitlines() if line.startswith("|")]
    assert {line.count("|") for line in lines} == {len(HEADINGS) + 1}
    assert "| diffrec    | authors " in "\n".join(lines)
