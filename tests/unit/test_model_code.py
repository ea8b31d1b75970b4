"""A model family is its folder: it imports nothing of another family, and its entry names it.

`tests/integration/test_stage_dependencies.py` holds all that stages import against dvc.yaml, for a
few models. Here is the part that differs from model to model, for every kind.
"""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from diffrec_core.common.errors import ConfigError
from diffrec_core.models.kinds import KINDS
from pipeline_steps.params.root import Params

PROJECT = Path(__file__).resolve().parents[2]
_MODELS = "diffrec_core/models"
_SHARED = {f"{_MODELS}/{name}.py" for name in ("__init__", "base", "kinds")}
# a child for each kind, so that none finds loaded what another has imported
_IMPORTS = """
import json, os, sys
from diffrec_core.models import kinds
for kind in kinds.KINDS:
    if os.fork() == 0:
        kinds.implementation(kind)
        loaded = [getattr(module, "__file__", None) for module in list(sys.modules.values())]
        print(json.dumps([kind, [file for file in loaded if file]]), flush=True)
        os._exit(0)
    os.wait()
"""


@pytest.fixture(scope="module")
def imports() -> dict[str, set[str]]:
    """Files of `diffrec_core/models` that each kind of model imports beyond those of all."""
    command = [sys.executable, "-c", _IMPORTS]
    lines = subprocess.run(command, cwd=PROJECT, check=True, capture_output=True, text=True).stdout
    files = dict(json.loads(line) for line in lines.splitlines())
    return {kind: set(map(_relative, each)) - _SHARED - {""} for kind, each in files.items()}


def _relative(file: str) -> str:
    if not Path(file).is_relative_to(PROJECT / _MODELS):
        return ""
    return Path(file).relative_to(PROJECT).as_posix()


@pytest.mark.parametrize("kind", KINDS)
def test_a_model_imports_its_own_family_alone(kind: str, imports: dict[str, set[str]]) -> None:
    families = {Path(file).relative_to(_MODELS).parts[0] for file in imports[kind]}
    assert len(families) == 1, families


def params() -> dict[str, dict[str, object]]:
    values: dict[str, dict[str, object]] = YAML(typ="safe").load(PROJECT / "params.yaml")
    return values


def test_the_entries_of_models_that_are_off_are_right_too() -> None:
    text = (PROJECT / "params.yaml").read_text().replace("\n  # ", "\n  ")
    values = YAML(typ="safe").load(text)
    assert set(values["models"]) == set(values["train"])
    Params.parse_all(values)


def test_an_entry_that_names_other_code_is_refused() -> None:
    values = params()
    values["models"]["t_ease"] = {"code": "diffrec_core/models/sasrec"}
    with pytest.raises(ConfigError, match=r"models\.t_ease\.code = .*item_item/ease\.py"):
        Params.parse_all(values)
