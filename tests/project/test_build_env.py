"""The scripts that build the environments: when they build, when not, and what a failure leaves."""

import os
import pty
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from zipfile import ZipFile

import pytest

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def project(tmp_path: Path, project_root: Path) -> Path:
    """A project of nothing but the scripts and a lock that asks for nothing."""
    project = tmp_path / "a project"
    (project / "requirements").mkdir(parents=True)
    for script in (project_root / "requirements").glob("*.sh"):
        shutil.copy(script, project / "requirements")
    (project / "requirements" / "some.lock").write_text("# nothing\n")
    return project


@pytest.fixture
def build() -> Run:
    """Runs build_env.sh, with no index to install from."""

    def run(
        project: Path, *, stdout: int = subprocess.PIPE, **variables: str
    ) -> subprocess.CompletedProcess[str]:
        script = ["bash", "requirements/build_env.sh", ".env", "some", ".env/.stamp", "new", "note"]
        return subprocess.run(
            script,
            cwd=project,
            env={"PATH": os.environ["PATH"], "PIP_NO_INDEX": "1", **variables},
            stdout=stdout,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )

    return run


def mark(project: Path) -> Path:
    """Leave a file in the environment: gone when it was built anew."""
    marker = project / ".env" / "marker"
    marker.touch()
    return marker


def test_environment_is_built_once_and_again_when_the_lock_or_the_place_changes(
    project: Path, build: Run
) -> None:
    lock = project / "requirements" / "some.lock"

    first = build(project)
    assert first.returncode == 0, first.stderr
    assert "Building .env from requirements/some.lock (note)" in first.stdout
    assert (project / ".env" / "bin" / "python").exists()

    marker = mark(project)
    os.utime(lock, (2_000_000_000, 2_000_000_000))  # a new date, the same text
    assert build(project).stdout == ""
    assert marker.exists()

    lock.write_text("# nothing, said differently\n")
    assert "Building" in build(project).stdout
    assert not marker.exists()

    # the environment of a moved project holds paths of its old place
    mark(project)
    moved = project.rename(project.with_name("moved project"))
    # its own Python comes first on PATH, as under make: it must not be what builds
    again = build(moved, PATH=f"{moved}/.env/bin:{os.environ['PATH']}")
    assert again.returncode == 0, again.stderr
    assert "Building" in again.stdout
    assert not (moved / ".env" / "marker").exists()


def test_failed_install_leaves_no_stamp(project: Path, build: Run) -> None:
    (project / ".env").mkdir()
    (project / ".env" / ".stamp").write_text("of an earlier lock\n")
    (project / "requirements" / "some.lock").write_text("surely-no-such-package==1.0\n")

    failed = build(project)

    assert failed.returncode != 0
    assert "surely-no-such-package" in failed.stderr
    assert "the whole log is .env/build.log" in failed.stderr
    assert "surely-no-such-package" in (project / ".env" / "build.log").read_text()
    assert (project / ".env" / "bin" / "python").exists()
    assert not (project / ".env" / ".stamp").exists()


def read_terminal(terminal: int) -> str:
    """All that is written to a terminal until its other end is closed."""
    shown = b""
    with suppress(OSError):  # how Linux says that the other end is closed
        while block := os.read(terminal, 2**12):
            shown += block
    os.close(terminal)
    return shown.decode()


def test_progress_is_shown_line_by_line_and_on_a_terminal_in_one_line(
    project: Path, build: Run
) -> None:
    wheel = project / "tiny-1.0-py3-none-any.whl"
    with ZipFile(wheel, "w") as content:
        content.writestr("tiny.py", "")
        about = {"METADATA": "Metadata-Version: 2.1\nName: tiny\nVersion: 1.0\n"}
        about |= {
            "WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
            "RECORD": "",
        }
        for name, text in about.items():
            content.writestr(f"tiny-1.0.dist-info/{name}", text)
    (project / "requirements" / "some.lock").write_text(f"./{wheel.name}\n")

    built = build(project)
    assert built.returncode == 0, built.stderr
    assert re.search(r"^ +\d+ s  Processing \./tiny-1", built.stdout, re.MULTILINE)
    assert "Successfully installed tiny" in (project / ".env" / "build.log").read_text()

    (project / ".env" / ".stamp").unlink()
    terminal, stdout = pty.openpty()
    with ThreadPoolExecutor() as pool:
        reading = pool.submit(read_terminal, terminal)
        assert build(project, stdout=stdout).returncode == 0
        os.close(stdout)
    shown = reading.result()
    assert re.search(r"\r\x1b\[K +\d+ s  Installed [01] of 1 packages\r", shown)
    assert shown.endswith("\r\x1b[K")


def test_a_linked_environment_is_replaced_not_emptied(
    project: Path, build: Run, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    other.mkdir()
    for name in ("precious", ".other-stamp"):
        (other / name).touch()
    (project / ".env").symlink_to(other)

    assert build(project).returncode == 0

    assert sorted(path.name for path in other.iterdir()) == [".other-stamp", "precious"]
    assert not (project / ".env").is_symlink()


@pytest.fixture
def find_python(project_root: Path) -> Run:
    def run(**variables: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [shutil.which("bash") or "bash", "requirements/find_python.sh"],
            cwd=project_root,
            env=variables,
            capture_output=True,
            text=True,
            check=False,
        )

    return run


def test_python_of_an_environment_stands_for_the_one_below(find_python: Run) -> None:
    found = find_python(PATH=f"{sys.prefix}/bin:{os.environ['PATH']}")

    assert found.returncode == 0
    assert not Path(found.stdout.strip()).is_relative_to(sys.prefix)


def test_programs_that_are_no_python_are_passed_over(find_python: Run, tmp_path: Path) -> None:
    for name in ("python3.13", "python3.12"):
        (tmp_path / name).write_text("#!/bin/sh\nexit 127\n")
        (tmp_path / name).chmod(0o755)
    (tmp_path / "python3").symlink_to(sys.executable)

    found = find_python(PATH=str(tmp_path))

    assert found.returncode == 0, found.stderr


def test_no_python_is_said_with_what_to_do(find_python: Run, tmp_path: Path) -> None:
    found = find_python(PATH=str(tmp_path))

    assert found.returncode == 1
    assert "No Python 3.11 or newer" in found.stderr
    assert "make PYTHON=" in found.stderr


def test_wrong_choice_is_not_replaced_by_another(find_python: Run) -> None:
    found = find_python(PATH=os.environ["PATH"], PYTHON="/no/such/python")

    assert found.returncode == 1
    assert "PYTHON=/no/such/python is not a Python 3.11 or newer" in found.stderr


def test_make_compares_every_environment_with_its_lock_each_time(project_root: Path) -> None:
    makefile = (project_root / "Makefile").read_text()
    rules = re.findall(r"^(\S*stamp):(.*)\n\t@\$\(BUILD\)", makefile, re.MULTILINE)
    assert len(rules) == 3
    assert all("FORCE" in needs.split() for _, needs in rules)
