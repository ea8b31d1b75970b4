"""The Makefile with fake tools: how `make test` runs its checks, and what `make help` shows."""

import os
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from pipeline_steps.sample.fetch_sample import SAMPLES

CHECKS = ("mypy", "ruff", "format", "imports", "doctests", "tests")
AWAIT = 'await() { for _ in $(seq 1200); do [ -e "$1" ] && return; sleep 0.1; done; exit 1; }'
FAKES = {
    "ruff": 'case "$1" in check) exit "$FAIL_RUFF" ;; format) exit "$FAIL_FORMAT" ;; esac',
    "lint-imports": 'exit "$FAIL_IMPORTS"',
    "mypy": f'{AWAIT}; await tests-began; echo "mypy, $*"; touch mypy-ran; exit "$FAIL_MYPY"',
    "python": f"""case "$*" in *--doctest-modules*) exit "$FAIL_DOCTESTS" ;; esac
        {AWAIT}; echo "first test"; touch tests-began; await mypy-ran; await "$MAY_END"
        echo "last test"; exit "$FAIL_TESTS" """,
}
Make = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def make(tmp_path: Path, project_root: Path) -> Make:
    """Start make in a project whose environment holds nothing but fakes."""
    (tmp_path / "scripts").mkdir()
    (tmp_path / "requirements").mkdir()
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    shutil.copy(project_root / "Makefile", tmp_path)
    shutil.copy(project_root / "scripts" / "run_check.sh", tmp_path / "scripts")
    (tmp_path / "requirements" / "build_env.sh").touch()
    for name, does in FAKES.items():
        program = tmp_path / ".venv" / "bin" / name
        program.write_text(f"#!/usr/bin/env bash\n{does}\n")
        program.chmod(0o755)

    def start(*arguments: str, failing: str = "", may_end: str = ".") -> "subprocess.Popen[str]":
        codes = {f"FAIL_{name.upper()}": str(int(name == failing)) for name in CHECKS}
        return subprocess.Popen(
            ["make", *arguments],
            cwd=tmp_path,
            env={"PATH": os.environ["PATH"], "MAY_END": may_end, **codes},
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )

    return start


def test_output_of_the_tests_is_live_and_mypy_runs_beside_them(make: Make, tmp_path: Path) -> None:
    process = make("test", may_end="was-read")
    assert process.stdout is not None
    for line in process.stdout:
        if line == "first test\n":
            (tmp_path / "was-read").touch()  # the tests do not end before this line was read
            break
    rest, _ = process.communicate()
    assert process.returncode == 0
    assert "\n=== check-mypy\nmypy, \nmypy, dags/*.py\n" in rest
    assert "last test\n" in rest


@pytest.mark.parametrize("failing", CHECKS)
def test_every_check_is_run_and_summarised_whichever_fails(make: Make, failing: str) -> None:
    process = make("test", failing=failing)
    output, _ = process.communicate()
    assert process.returncode != 0
    summary = [line.split()[:2] for line in output.partition("=== summary\n")[2].splitlines()]
    expected = [[f"check-{name}", "FAILED" if name == failing else "ok"] for name in CHECKS]
    assert sorted(summary) == sorted(expected)


def test_a_check_alone_has_its_exit_code(make: Make) -> None:
    for failing, ends_well in (("imports", False), ("", True)):
        process = make("check-imports", failing=failing)
        process.communicate()
        assert (process.returncode == 0) == ends_well


def test_help_lists_targets_and_variables_with_their_defaults(make: Make) -> None:
    output, _ = make().communicate()
    assert "\n  demo-nights " in output
    assert "\n  NIGHTS=3 " in output
    assert "\n  PYTHON= " in output
    assert "$" not in output


BEFORE = "preset: {name: x, before: {list_raw.logs: [data/raw/ml-1m/*]}}\n"


@pytest.mark.parametrize(
    ("params", "present", "fetched"),
    [
        ("list_raw: {logs: [data/raw/ml-100k/*.inter]}\n", "", ["ml-100k"]),
        ("list_raw:\n  logs: [data/raw/groceries]\n", "", ["groceries"]),
        ("list_raw:\n  logs:\n  - data/raw/groceries\n", "", ["groceries"]),
        (f"{BEFORE}list_raw:\n  titles: data/raw/groceries/a # b\n", "", ["groceries"]),
        (f"list_raw: {{logs: [/var/log/shop]}}\n{BEFORE}", "", []),
        ("list_raw: {logs: [data/raw/groceries/*]}\n", "groceries", []),
        ("list_raw: {logs: [data/raw/groceries-mine/*]}   # data/raw/ml-1m/\n", "", []),
    ],
)
def test_a_sample_is_fetched_if_params_yaml_reads_it_and_it_is_not_there(
    params: str, present: str, fetched: list[str], make: Make, tmp_path: Path
) -> None:
    (tmp_path / "params.yaml").write_text(params)
    (tmp_path / "data" / "raw" / present).mkdir(parents=True)
    for name in ("python", "dvc"):
        program = tmp_path / ".venv" / "bin" / name
        program.write_text(f'#!/usr/bin/env bash\necho "{name} $*"\n')
        program.chmod(0o755)
    output, _ = make("tune").communicate()
    calls = [line for line in output.splitlines() if line.startswith("python ")]
    assert calls == [f"python -m pipeline_steps fetch-sample {name}" for name in fetched]


def test_the_samples_that_make_knows_are_those_that_can_be_fetched(project_root: Path) -> None:
    (names,) = re.findall(r"for sample in ([\w -]+);", (project_root / "Makefile").read_text())
    assert set(names.split()) == set(SAMPLES)


def test_models_in_examples_are_models_of_a_run(project_root: Path) -> None:
    """`make tune`, `make demo-nights` and `start-run` know the entries under `models` alone."""
    known = set(YAML(typ="safe").load(project_root / "params.yaml")["models"])
    places = [project_root / name for name in ("Makefile", "README.md", "CONTRIBUTING.md")]
    docs = (p for p in (project_root / "docs").rglob("*.md") if p.name != "add-a-model.md")
    code = (project_root / "pipeline_steps").rglob("*.py")
    text = "\n".join(path.read_text() for path in (*places, *docs, *code))
    examples = re.findall(r'make (?:tune|demo-nights)[^\n]* `?MODELS="?([\w ]+)', text)
    examples += re.findall(r'start-run[^\n]* --models "([\w ]+)"', text)
    defaults = re.findall(r"\$\(or \$\(MODELS\),([\w ]+)\)", text)
    assert examples
    assert defaults
    named = {name for example in (*examples, *defaults) for name in example.split()}
    assert named <= known
