"""The frame: from a function's signature to a command line, sections, a report and an exit code."""

import importlib
import json
from pathlib import Path
from typing import Annotated, Any, Literal, get_type_hints

import pytest
from ruamel.yaml import YAML

from diffrec_core.common.config import Config
from diffrec_core.common.errors import AlarmError, DataError
from pipeline_steps.__main__ import VERBS
from pipeline_steps.params.root import Params
from pipeline_steps.runtime.command import POSITIONAL, Inputs, Report, command_line, execute
from pipeline_steps.runtime.sections import Section, Seed, section_keys
from tests.raw_logs import REPOSITORY

STAGES = list(YAML(typ="safe").load(REPOSITORY / "dvc.yaml")["stages"])


class ShopConfig(Config):
    size: int = 3


class ShopInputs(Inputs):
    name: Annotated[str, POSITIONAL]
    """Who."""

    folder: Path
    """Where 100 % of it lies."""

    kinds: tuple[str, ...] = ()
    """Which."""

    mode: Literal["fast", "slow"] = "fast"
    """How."""

    dry_run: bool = False
    """Change nothing."""

    count: int | None = None
    """How many."""


def shop(
    inputs: ShopInputs,
    *,
    seed: Seed,
    shop: ShopConfig,
    own: Annotated[ShopConfig, Section("of.{name}")],
) -> Report:
    if inputs.count == 13:
        raise DataError("thirteen")
    return {**inputs.model_dump(mode="json"), "seed": seed, "shop": shop.size, "own": own.size}


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write(seed=7, shop={"size": 4}, of={"ann": {}})


def write(**sections: Any) -> None:
    YAML().dump(sections, Path("params.yaml"))


def run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as end:
        execute(shop, [*arguments, "--report", "report.json"])
    return int(end.value.code or 0)


def test_options_sections_and_report() -> None:
    line = "ann --folder a --kinds x y --kinds z --mode slow --dry-run --count 2"
    assert run(*line.split()) == 0
    report = json.loads(Path("report.json").read_text())
    assert report.pop("seconds") >= 0
    assert report.pop("peak_memory_mib") > 0
    assert report == {
        "name": "ann", "folder": "a", "kinds": ["x", "y", "z"], "mode": "slow", "dry_run": True,
        "count": 2, "seed": 7, "shop": 4, "own": 3,
    }  # fmt: skip


def test_defaults() -> None:
    assert run("ann", "--folder", "a") == 0
    report = json.loads(Path("report.json").read_text())
    assert (report["kinds"], report["mode"], report["count"]) == ([], "fast", None)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("ann",), "the following arguments are required: --folder"),
        (
            ("ann", "--folder", "a", "--count", "many"),
            "command line: count = 'many': input should be a valid int",
        ),
        (("ann", "--folder", "a", "--mode", "odd"), "invalid choice: 'odd'"),
        (("bob", "--folder", "a"), "of.bob is missing; keys at of: ann"),
    ],
)
def test_what_is_not_allowed_ends_with_a_message_and_2(
    arguments: tuple[str, ...], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(*arguments) == 2
    assert message in capsys.readouterr().err
    assert not Path("report.json").exists()


@pytest.mark.parametrize("seed", [-1, "x", True, 1.5, None])
def test_a_seed_is_a_whole_number(seed: Any, capsys: pytest.CaptureFixture[str]) -> None:
    write(seed=seed, shop={}, of={"ann": {}})
    assert run("ann", "--folder", "a") == 2
    assert "params.yaml: seed = " in capsys.readouterr().err


def test_errors_of_the_user_have_codes(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("ann", "--folder", "a", "--count", "13") == DataError.exit_code
    assert "thirteen" in capsys.readouterr().err
    assert AlarmError.exit_code == 7


def test_help_is_made_from_the_type(capsys: pytest.CaptureFixture[str]) -> None:
    text = command_line(shop).format_help()
    assert "Where 100 % of it lies." in text
    assert "How. (default: fast)" in text
    assert __doc__ is not None
    assert __doc__.strip() in text


def verbs() -> list[str]:
    return [module for topic in VERBS.values() for module in topic.values()]


@pytest.mark.parametrize("module", [*STAGES, *verbs()])
def test_every_command_is_typed(module: str) -> None:
    run = importlib.import_module(f"pipeline_steps.{module}").run
    inputs = get_type_hints(run)["inputs"]
    assert issubclass(inputs, Inputs)
    assert [name for name, field in inputs.model_fields.items() if not field.description] == []
    command_line(run).format_help()


@pytest.mark.parametrize("module", [*STAGES, *verbs()])
def test_the_sections_of_a_command_are_those_of_params_yaml(module: str) -> None:
    run = importlib.import_module(f"pipeline_steps.{module}").run
    hints = get_type_hints(run)
    fields = {field.alias or name: field for name, field in Params.model_fields.items()}
    for name, key in section_keys(run).items():
        top = fields[key.partition(".")[0]]
        if "." not in key and isinstance(hints[name], type) and issubclass(hints[name], Config):
            assert hints[name] is top.annotation


def test_the_top_of_the_package_holds_the_stages_alone() -> None:
    modules = {path.stem for path in (REPOSITORY / "pipeline_steps").glob("[a-z]*.py")}
    assert modules == {*STAGES, "shared"}


@pytest.mark.parametrize("stage", STAGES)
def test_dvc_yaml_names_the_sections_that_a_stage_reads(stage: str) -> None:
    """`runtime` alone is none of them: it must not change results."""
    stages = YAML(typ="safe").load(REPOSITORY / "dvc.yaml")["stages"]
    declared = stages[stage].get("do", stages[stage])["params"]
    keys = section_keys(importlib.import_module(f"pipeline_steps.{stage}").run).values()
    read = {key.replace("{model}", "${key}") for key in keys} - {"runtime"}
    assert set(declared) == read
