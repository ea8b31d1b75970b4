"""`make tune` changes the tune section of params.yaml, and nothing else."""

import argparse
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from diffrec_core.common.config import load_section
from diffrec_core.common.errors import ConfigError
from pipeline_steps.studies import use_tuning
from pipeline_steps.studies.tune import TuneConfig

PARAMS = Path(__file__).resolve().parents[2] / "params.yaml"


def use(folder: Path, **given: Any) -> tuple[dict[str, Any], str]:
    path = folder / "params.yaml"
    if not path.exists():
        path.write_text(PARAMS.read_text())
    parser = argparse.ArgumentParser()
    use_tuning.add_arguments(parser)
    args = argparse.Namespace(**{**vars(parser.parse_args([])), "params": path, **given})
    use_tuning.main(args)
    return YAML(typ="safe").load(path), path.read_text()


def test_the_project_s_own_file_has_it_off() -> None:
    params = YAML(typ="safe").load(PARAMS)
    assert not load_section(params, "tune", TuneConfig).enabled


def test_all_models_get_twenty_trials_unless_told_otherwise(tmp_path: Path) -> None:
    params, _ = use(tmp_path)
    config = load_section(params, "tune", TuneConfig)
    assert (config.enabled, config.models, config.trials, config.seconds) == (True, None, 20, None)


def test_models_and_a_time_can_be_named_and_it_can_be_switched_off(tmp_path: Path) -> None:
    params, _ = use(tmp_path, models=["ease", "t_ease"], budget="10m")
    config = load_section(params, "tune", TuneConfig)
    assert config.models == ("ease", "t_ease")
    assert (config.trials, config.seconds) == (None, 600.0)
    params, _ = use(tmp_path, off=True)
    assert not load_section(params, "tune", TuneConfig).enabled


def models_of(params: dict[str, Any]) -> tuple[str, ...] | None:
    return load_section(params, "tune", TuneConfig).models


def test_while_it_is_on_models_are_added_to_those_named_before(tmp_path: Path) -> None:
    use(tmp_path, models=["ease"])
    params, _ = use(tmp_path, models=["diffrec", "ease"], budget="5")
    assert models_of(params) == ("ease", "diffrec")
    assert load_section(params, "tune", TuneConfig).trials == 5
    params, _ = use(tmp_path)
    assert models_of(params) is None
    params, _ = use(tmp_path, models=["ials"])
    assert models_of(params) is None, "all stays all"
    use(tmp_path, off=True)
    params, _ = use(tmp_path, models=["ials"])
    assert models_of(params) == ("ials",)


def test_off_the_file_is_as_it_was_before(tmp_path: Path) -> None:
    use(tmp_path, models=["ease"])
    _, text = use(tmp_path, off=True)
    assert YAML(typ="safe").load(text) == YAML(typ="safe").load(PARAMS)


def test_everything_else_stays_as_it_was(tmp_path: Path) -> None:
    _, text = use(tmp_path, budget="7")
    before, after = PARAMS.read_text().splitlines(), text.splitlines()
    differing = [(b, a) for b, a in zip(before, after, strict=True) if a != b]
    assert [a.split("#")[0].strip() for _, a in differing] == ["enabled: true", "trials: 7"]


@pytest.mark.parametrize("budget", ["0", "ten", "5d", "-3", "1.5m", "0s"])
def test_what_is_no_budget_is_refused(tmp_path: Path, budget: str) -> None:
    with pytest.raises(ConfigError, match=r"budget '.*': give a number of trials"):
        use(tmp_path, budget=budget)


def test_an_unknown_model_is_refused(tmp_path: Path) -> None:
    known = "popularity, .*, ease, "
    with pytest.raises(ConfigError, match=f"'eaze' is not under `models`; known: {known}"):
        use(tmp_path, models=["eaze"])
