"""The locks: exact, complete, as pip installed them, and covering what the code imports."""

import ast
import re
import sys
from collections.abc import Iterator
from importlib.metadata import distributions, packages_distributions
from pathlib import Path

import pytest

PIN = re.compile(r"([a-z0-9]+(?:-[a-z0-9]+)*)==([0-9][a-z0-9.!]*)")
# What an installer brings along, and what a CUDA build of torch needs and pins itself.
NOT_LOCKED = re.compile(r"pip|setuptools|wheel|nvidia-.*|cuda-.*|triton")
OURS = {"diffrec_core", "pipeline_steps", "dags"}


@pytest.fixture(scope="module")
def requirements(project_root: Path) -> Path:
    return project_root / "requirements"


def lines(path: Path) -> Iterator[str]:
    """The requirements of a file and of those that it includes, without comments."""
    for line in path.read_text().splitlines():
        text = line.partition("#")[0].strip()
        if text.startswith("-r "):
            yield from lines(path.with_name(text.removeprefix("-r ")))
        elif text:
            yield text


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def pins(path: Path) -> dict[str, str]:
    matches = [PIN.fullmatch(line) for line in lines(path)]
    return {match[1]: match[2] for match in matches if match}


def direct(path: Path) -> set[str]:
    """The names that an .in file asks for."""
    matches = [re.match(r"[A-Za-z0-9._-]+", line) for line in lines(path)]
    return {normal(match[0]) for match in matches if match}


@pytest.mark.parametrize("name", ["pipeline", "dev", "airflow"])
class TestEachLock:
    def test_holds_exact_pins_only(self, requirements: Path, name: str) -> None:
        for line in lines(requirements / f"{name}.lock"):
            assert PIN.fullmatch(line), f"{name}.lock: {line!r} is not NAME==VERSION"

    def test_names_no_package_twice(self, requirements: Path, name: str) -> None:
        all_lines = list(lines(requirements / f"{name}.lock"))

        assert len(all_lines) == len(pins(requirements / f"{name}.lock"))

    def test_holds_what_is_asked_for(self, requirements: Path, name: str) -> None:
        missing = direct(requirements / f"{name}.in") - set(pins(requirements / f"{name}.lock"))

        assert not missing, f"run `make lock`: {name}.lock lacks {missing}"

    def test_names_no_index(self, requirements: Path, name: str) -> None:
        for suffix in ("in", "lock"):
            text = (requirements / f"{name}.{suffix}").read_text()
            assert "://" not in text
            assert "--index" not in text


def test_environment_is_what_the_locks_say(requirements: Path) -> None:
    locked = pins(requirements / "dev.lock")
    installed = {
        normal(found.metadata["Name"]): found.version.partition("+")[0]
        for found in distributions(path=[entry for entry in sys.path if sys.prefix in entry])
    }

    unlocked = {name for name in set(installed) - set(locked) if not NOT_LOCKED.fullmatch(name)}
    assert not unlocked, f"installed by hand, or dropped from a lock (rebuild .venv): {unlocked}"
    wrong = {
        f"{name} {installed.get(name)}, locked {version}"
        for name, version in locked.items()
        if installed.get(name) != version
    }
    assert not wrong, f"rebuild .venv: {wrong}"


@pytest.mark.parametrize("package", ["diffrec_core", "pipeline_steps"])
def test_what_the_code_imports_is_asked_for(
    project_root: Path, requirements: Path, package: str
) -> None:
    asked_for = direct(requirements / "pipeline.in")
    providers = packages_distributions()

    for path in sorted((project_root / package).rglob("*.py")):
        for module in third_party_imports(path):
            names = {normal(name) for name in providers.get(module, [])}
            assert names & asked_for, f"{path.name} imports {module}: name it in pipeline.in"


def third_party_imports(path: Path) -> set[str]:
    modules: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            modules |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            modules.add(str(node.module).partition(".")[0])
    return modules - OURS - set(sys.stdlib_module_names)
