"""`.ci/run`: Chromium before the tests where it may be installed, and the tests in any case."""

import shutil
import subprocess
from pathlib import Path

import pytest

TOOLS = ("bash", "dirname", "env")


@pytest.fixture
def machine(tmp_path: Path, project_root: Path) -> Path:
    """A copy of the script, and a PATH of nothing but what it needs and fakes that note calls."""
    (tmp_path / ".ci").mkdir()
    shutil.copy(project_root / ".ci" / "run", tmp_path / ".ci" / "run")
    (tmp_path / "bin").mkdir()
    for tool in TOOLS:
        (tmp_path / "bin" / tool).symlink_to(str(shutil.which(tool)))
    _fake(tmp_path, "make")
    return tmp_path


def _fake(machine: Path, name: str, does: str = "") -> None:
    program = machine / "bin" / name
    program.write_text(f'#!/usr/bin/env bash\necho "{name} $*" >>"{machine}/calls"\n{does}\n')
    program.chmod(0o755)


def _run(machine: Path) -> tuple[list[str], str]:
    result = subprocess.run(
        [machine / "bin" / "bash", ".ci/run"],
        cwd=machine,
        env={"PATH": str(machine / "bin")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    return (machine / "calls").read_text().splitlines(), result.stderr


def test_root_installs_chromium_before_the_tests(machine: Path) -> None:
    _fake(machine, "id", "echo 0")
    _fake(machine, "apt-get")
    calls, said = _run(machine)
    assert [call.split()[0] for call in calls] == ["id", "apt-get", "apt-get", "make"]
    assert "install" in calls[2]
    assert " chromium " in calls[2]
    assert calls[3] == "make test"
    assert said == ""


def test_chromium_that_is_there_is_not_installed_again(machine: Path) -> None:
    for name in ("chromium", "apt-get"):
        _fake(machine, name)
    assert _run(machine) == (["make test"], "")


@pytest.mark.parametrize(
    ("fakes", "reason"),
    [
        ({"id": "echo 1000", "apt-get": ""}, "it takes root and apt-get"),
        ({"id": "echo 0"}, "it takes root and apt-get"),
        ({"id": "echo 0", "apt-get": "exit 100"}, "could not be installed"),
    ],
)
def test_where_it_cannot_be_installed_that_is_said_and_the_rest_is_tested(
    machine: Path, fakes: dict[str, str], reason: str
) -> None:
    for name, does in fakes.items():
        _fake(machine, name, does)
    calls, said = _run(machine)
    assert calls[-1] == "make test"
    assert reason in said
    assert "skipped" in said
