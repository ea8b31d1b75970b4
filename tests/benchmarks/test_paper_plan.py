"""Which fits the benchmark on the paper's split is made of, and what tells them apart."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from benchmarks import _fits, _paper_table
from benchmarks._ml1m import METRICS
from benchmarks.paper import Bench
from diffrec_core.common.errors import ConfigError
from pipeline_steps.params.presets import PRESETS
from tests.benchmarks.conftest import Starter

PROJECT = Path(__file__).resolve().parents[2]


def test_precisions_are_rows_of_their_own_of_models_that_have_a_choice(
    make_bench: Callable[[], tuple[Bench, Starter]], capsys: pytest.CaptureFixture[str]
) -> None:
    bench, starter = make_bench()
    choices: dict[str, Any] = {"seeds": ["1"], "protocols": ["A"], "settings": ["authors"]}
    bench.run(bench.plan(["diffrec"], **choices))
    fits = bench.plan(["diffrec", "ease"], **choices, precisions=["float32", "bfloat16"])
    assert [(fit.model, fit.precision) for fit in fits] == [
        ("diffrec", "float32"),
        ("diffrec", "bfloat16"),
    ]
    bench.run(fits)
    assert starter.started == ["diffrec A 1"] * 3
    as_it_is, low, full = sorted(bench.rows.read(), key=lambda row: row.get("precision", ""))
    assert [r.get("precision") for r in (as_it_is, low, full)] == [None, "bfloat16", "float32"]
    assert full["recall@20"] == as_it_is["recall@20"]  # auto is float32 on a CPU
    assert low["selection_recall@20"] > 0
    bench.show()
    shown = capsys.readouterr().out
    assert "authors, bfloat16 " in shown
    assert "*" not in shown


def test_precision_and_device_are_in_the_key_and_tell_rows_apart(
    make_bench: Callable[[], tuple[Bench, Starter]],
) -> None:
    bench, _ = make_bench()
    choices: dict[str, Any] = {"seeds": ["1"], "protocols": ["C"], "settings": ["ours"]}

    def plan(**more: Any) -> _fits.Fit:
        return bench.plan(["diffrec"], **choices, **more)[0]

    fits = [plan(device="cpu"), plan(device="cuda"), plan(precisions=["bfloat16"], device="cpu")]
    assert len({fit.key for fit in fits}) == 3
    assert len({_fits.label(fit.label) for fit in fits}) == 3
    assert _fits.label(fits[0].label) == _fits.label({**fits[0].label, "device": "cpu"})
    latent = [bench.plan(["l_diffrec"], **choices, device=d)[0] for d in ("cpu", "cuda")]
    assert latent[0].pretrain_key != latent[1].pretrain_key

    values = {**fits[1].label, **dict.fromkeys(METRICS, 0.1), "fit_seconds": 1.0, "peak_mib": 9.0}
    lines = _paper_table.lines("C", [values, {**values, "device": "cpu"}], bool)
    assert [line[1] for line in lines if line[0] == "diffrec"] == ["ours", "ours, cuda"]


def test_what_a_preset_has_from_the_other_is_one_row(
    make_bench: Callable[[], tuple[Bench, Starter]], presets: Path
) -> None:
    tuned = presets / "ml-1m-tuned.yaml"
    tuned.write_text(tuned.read_text().replace("popularity: {kind", "mine: {kind", 1))
    with tuned.open("a") as file:
        file.write("  popularity: ml-1m-clean\n")
    bench, _ = make_bench()
    fits = bench.plan(["popularity", "mine"], seeds=["1"], protocols=["A"])
    assert [(fit.model, fit.setting) for fit in fits] == [
        ("popularity", "authors"),
        ("mine", "ours"),
    ]


def test_settings_that_need_times_are_left_out(
    make_bench: Callable[[], tuple[Bench, Starter]], presets: Path
) -> None:
    tuned = presets / "ml-1m-tuned.yaml"
    aged = "l2: 5.0, recency: {kind: exponential_age}"
    tuned.write_text(tuned.read_text().replace("l2: 5.0", aged))
    bench, _ = make_bench()
    fits = bench.plan(["ease"], seeds=["1"], protocols=["A"])
    assert [fit.setting for fit in fits] == ["authors"]


def test_every_model_of_params_yaml_that_needs_no_times_is_planned(data: Path) -> None:
    models = YAML(typ="safe").load(PROJECT / "params.yaml")["models"]
    bench = Bench(data, PRESETS, data / "out")
    planned = {fit.model for fit in bench.plan(seeds=["1"], settings=["authors"])}
    assert planned == set(models) - {"recent_popularity"}


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        ({"models": ["ase"]}, r"MODELS: 'ase' has no settings in .*; known: popularity, ease"),
        ({"models": ["recent"]}, r"MODELS: 'recent' needs times, and the split has none .*ease"),
        ({"models": ["ease"], "precisions": ["float32"]}, "PRECISION: none of ease has a choice"),
        ({"precisions": ["float16"]}, "PRECISION: 'float16' is not known; known: float32, bfloat"),
        ({"seeds": ["x"]}, "SEEDS: 'x'"),
        ({"protocols": ["B"]}, "PROTOCOLS: 'B' is not known; known: A, C"),
        ({"settings": ["best"]}, "SETTINGS: 'best' .* authors, ours"),
        ({"embeddings": ["none"]}, "EMBEDDINGS: 'none'"),
    ],
)
def test_unknown_choices_are_refused(
    choices: dict[str, Any], message: str, make_bench: Callable[[], tuple[Bench, Starter]]
) -> None:
    bench, _ = make_bench()
    with pytest.raises(ConfigError, match=message):
        bench.plan(**choices)
