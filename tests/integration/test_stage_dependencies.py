"""dvc.yaml names the code that each stage really imports: no more, no less."""

import ast
import json
from collections import defaultdict
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from pipeline_steps.runtime.fitting import CODE
from tests.integration.conftest import PROJECT, Project

pytestmark = pytest.mark.integration

# Their model is known only when they run: they depend on the code of all models.
_ANY_MODEL = {"refit", "register", "recommend"}
_CODE = ("diffrec_core", "pipeline_steps")


@pytest.fixture(scope="module")
def imports(finished_project: Project) -> dict[str, set[str]]:
    """What each stage imported when the project ran; package files with no code left out."""
    found: dict[str, set[str]] = defaultdict(set)
    for trace in finished_project.traces.glob("*.json"):
        content = json.loads(trace.read_text())
        files = {file for file in content["files"] if not _is_empty(PROJECT / file)}
        found[_stage(content["arguments"])] |= files
    return dict(found)


def _stage(arguments: list[str]) -> str:
    """Name of the stage that a command line belongs to."""
    name = Path(arguments[0]).stem
    if "--model" in arguments:
        return f"{name}@{arguments[arguments.index('--model') + 1]}"
    if name == "evaluate":
        return f"{name}@{Path(arguments[arguments.index('--model-dir') + 1]).name}"
    return name


def _is_empty(file: Path) -> bool:
    """Whether a module holds nothing that changes results: a docstring, or thread settings."""
    if file == PROJECT / "pipeline_steps/__init__.py":
        return True
    body = ast.parse(file.read_text()).body
    return all(isinstance(node, ast.Expr) for node in body)


@pytest.fixture(scope="module")
def declared(finished_project: Project) -> dict[str, set[str]]:
    """The code among each stage's deps, from DVC's lock file: templates are resolved there."""
    lock = YAML(typ="safe").load(finished_project.root / "dvc.lock")
    return {
        name: {dep["path"] for dep in stage["deps"] if dep["path"].startswith(_CODE)}
        for name, stage in lock["stages"].items()
    }


def _covers(dep: str, file: str) -> bool:
    return file == dep or file.startswith(f"{dep}/")


def test_every_stage_ran(imports: dict[str, set[str]], declared: dict[str, set[str]]) -> None:
    assert set(imports) == set(declared)


def test_whatever_is_imported_is_declared(
    imports: dict[str, set[str]], declared: dict[str, set[str]]
) -> None:
    missing = {
        stage: sorted(f for f in files if not any(_covers(dep, f) for dep in declared[stage]))
        for stage, files in imports.items()
    }
    assert {stage: files for stage, files in missing.items() if files} == {}


def test_whatever_is_declared_is_imported(
    imports: dict[str, set[str]], declared: dict[str, set[str]]
) -> None:
    # the models of a stage share its deps, but for their own code
    by_stage: dict[str, set[str]] = defaultdict(set)
    for stage, files in imports.items():
        by_stage[stage.partition("@")[0]] |= files
    idle = {
        stage: sorted(
            dep
            for dep in deps
            if not _is_package_file(dep)
            and not any(_covers(dep, f) for f in by_stage[stage.partition("@")[0]])
        )
        for stage, deps in declared.items()
        if stage not in _ANY_MODEL
    }
    assert {stage: deps for stage, deps in idle.items() if deps} == {}


def _is_package_file(dep: str) -> bool:
    return dep.endswith("__init__.py")


def test_the_test_part_has_no_reader_but_evaluate() -> None:
    stages = YAML(typ="safe").load(PROJECT / "dvc.yaml")["stages"]
    readers = {name for name, stage in stages.items() if "data/split/test" in json.dumps(stage)}
    assert readers == {"split", "evaluate"}  # split writes it


def test_a_change_of_a_model_touches_its_own_trainings_and_nothing_before(
    declared: dict[str, set[str]],
) -> None:
    file = "diffrec_core/models/diffrec/denoiser.py"
    touched = {name for name, deps in declared.items() if any(_covers(dep, file) for dep in deps)}
    family = {"diffrec", "l_diffrec"}
    expected = {f"{stage}@{model}" for stage in ("train", "evaluate") for model in family}
    assert touched == expected | _ANY_MODEL


def test_a_checkpoint_is_stale_when_the_stage_is(declared: dict[str, set[str]]) -> None:
    """What makes a training stale for DVC starts it afresh, and nothing else does."""
    for name, deps in declared.items():
        if name.startswith("train@"):
            core = {dep for dep in deps if dep.startswith("diffrec_core")}
            own = {dep for dep in core if dep.startswith("diffrec_core/models/")} - set(CODE)
            assert core == {*CODE, *own}
            assert len(own) == 1


def test_a_model_without_clusters_waits_for_no_embeddings(finished_project: Project) -> None:
    lock = YAML(typ="safe").load(finished_project.root / "dvc.lock")["stages"]
    data = {name: {dep["path"] for dep in stage["deps"]} for name, stage in lock.items()}
    assert "data/item_clusters" not in data["train@ease"]
    assert "data/item_clusters" in data["train@l_diffrec"]
