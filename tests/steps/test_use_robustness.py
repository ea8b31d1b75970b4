"""`make robustness` names models in params.yaml, unless they are named already."""

import argparse
import subprocess
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from diffrec_core.common.errors import ConfigError
from pipeline_steps.params import presets
from pipeline_steps.params.use_preset import use
from pipeline_steps.studies import use_robustness

PROJECT = Path(__file__).resolve().parents[2]


@pytest.fixture
def params(tmp_path: Path) -> Path:
    """A copy of the project's params.yaml."""
    path = tmp_path / "params.yaml"
    path.write_text((PROJECT / "params.yaml").read_text())
    return path


def run(params: Path, *options: str) -> dict[str, Any]:
    """The robustness section after the command."""
    parser = argparse.ArgumentParser()
    use_robustness.add_arguments(parser)
    use_robustness.main(parser.parse_args([*options, "--params", str(params)]))
    section: dict[str, Any] = YAML(typ="safe").load(params)["robustness"]
    return section


def test_the_first_time_three_models_are_named_then_those_that_are_chosen(params: Path) -> None:
    assert run(params)["models"] == ["ease", "diffrec", "l_diffrec"]
    assert run(params, "--models", "ease", "lightgcn")["models"] == ["ease", "lightgcn"]
    assert run(params)["models"] == ["ease", "lightgcn"]
    assert run(params, "--off")["models"] == []


def test_what_a_preset_has_chosen_stays(params: Path) -> None:
    use("ml-1m-natural-noise", params, presets.PRESETS, dry_run=False)
    chosen = YAML(typ="safe").load(params)["robustness"]
    assert len(chosen["models"]) > 3
    text = params.read_text()
    assert run(params, "--models") == chosen  # as make calls it without MODELS
    assert params.read_text() == text


def test_make_robustness_passes_the_models_on() -> None:
    command = ["make", "--dry-run", "robustness", "MODELS=ease lightgcn"]
    shown = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=True)
    assert "pipeline_steps use-robustness --models ease lightgcn\n" in shown.stdout


def test_an_unknown_model_is_refused(params: Path) -> None:
    with pytest.raises(ConfigError, match=r"'eaze' is not under `models`; known: popularity, .*"):
        run(params, "--models", "eaze")
