"""params.yaml names, for every model, the code that is its own: no more, no less.

`tests/integration/test_stage_dependencies.py` holds all that stages import against dvc.yaml, for a
few models. This is the part that differs from model to model.
"""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from ruamel.yaml import YAML

PROJECT = Path(__file__).resolve().parents[2]
_SHARED = tuple(f"diffrec_core/models/{name}.py" for name in ("__init__", "base", "registry"))
_OF_ALL = (*_SHARED, "diffrec_core/nn/sparse_rows.py")
_FOLDERS = ("diffrec_core/models", "diffrec_core/diffusion", "diffrec_core/embedding")
# a child for each kind, so that none finds loaded what another has imported
_IMPORTS = """
import json, os, sys
import diffrec_core.models.kinds as registry
for kind in registry.KINDS:
    if os.fork() == 0:
        registry.implementation(kind)
        loaded = [getattr(module, "__file__", None) for module in list(sys.modules.values())]
        print(json.dumps([kind, [file for file in loaded if file]]), flush=True)
        os._exit(0)
    os.wait()
"""


@pytest.fixture(scope="module")
def imports() -> dict[str, set[str]]:
    """Files that each kind of model needs beyond those that all share."""
    command = [sys.executable, "-c", _IMPORTS]
    told = subprocess.run(command, cwd=PROJECT, check=True, capture_output=True, text=True).stdout
    found = dict(json.loads(line) for line in told.splitlines())
    return {kind: {file for file in map(_ours, files) if file} for kind, files in found.items()}


def _ours(file: str) -> str:
    """The path in the project of code that is a model's own and not an empty package."""
    if not Path(file).is_relative_to(PROJECT):
        return ""
    path = Path(file).relative_to(PROJECT).as_posix()
    return "" if path in _OF_ALL or not path.startswith(_FOLDERS) or _is_empty(path) else path


def _is_empty(path: str) -> bool:
    return path.endswith("/__init__.py") and "import" not in (PROJECT / path).read_text()


def _names() -> list[str]:
    return list(YAML(typ="safe").load(PROJECT / "params.yaml")["models"])


@pytest.mark.parametrize("name", _names())
def test_uses_is_what_the_model_imports(name: str, imports: dict[str, set[str]]) -> None:
    params = YAML(typ="safe").load(PROJECT / "params.yaml")
    uses = [use for use in params["models"][name]["uses"] if use.startswith("diffrec_core")]
    files = imports[params["train"][name]["kind"]]
    uncovered = [file for file in files if not any(_covers(use, file) for use in uses)]
    assert uncovered == []
    idle = [use for use in uses if not any(_covers(use, file) for file in files)]
    assert [use for use in idle if not _is_empty(use)] == []


def _covers(use: str, file: str) -> bool:
    return file == use or file.startswith(f"{use}/")
