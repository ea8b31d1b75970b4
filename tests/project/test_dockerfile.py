"""The Dockerfile: linted, pinned, never root, and naming only what the project has.

No image is built here, which takes minutes and a container engine (`make images`, `make
test-fresh`); what can be held against the project and run without an engine is.
"""

import json
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest

FINAL_STAGES = ("pipeline", "airflow")


@pytest.fixture(scope="module")
def instructions(project_root: Path) -> list[tuple[str, str]]:
    """The instructions as (name, arguments), continued lines joined, comments left out."""
    text = (project_root / "Dockerfile").read_text()
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    joined = re.sub(r"\\\n\s*", "", "\n".join(lines))
    return [tuple(line.split(maxsplit=1)) for line in joined.splitlines()]  # type: ignore[misc]


@pytest.fixture(scope="module")
def stages(instructions: list[tuple[str, str]]) -> dict[str, dict[str, Any]]:
    """Each stage by name: what it starts from, and its other instructions."""
    found: dict[str, dict[str, Any]] = {}
    first = next(i for i, (name, _) in enumerate(instructions) if name == "FROM")
    for name, arguments in instructions[first:]:
        if name == "FROM":
            base, _, stage = arguments.partition(" AS ")
            found[stage] = {"from": base, "instructions": []}
            current = found[stage]["instructions"]
        else:
            current.append((name, arguments))
    return found


def test_hadolint_has_nothing_to_say(project_root: Path) -> None:
    hadolint = Path(sys.prefix) / "bin" / "hadolint"

    result = subprocess.run(
        [hadolint, "Dockerfile"], cwd=project_root, capture_output=True, text=True, check=False
    )

    assert result.returncode == 0, result.stdout + result.stderr


def test_both_targets_exist_and_rest_on_an_exact_version_or_a_given_base(
    instructions: list[tuple[str, str]], stages: dict[str, dict[str, Any]]
) -> None:
    assert set(FINAL_STAGES) <= set(stages)
    assert {stage["from"] for stage in stages.values()} - set(stages) == {"${BASE}"}
    assert re.fullmatch(r"BASE=python:3\.\d+\.\d+-slim-bookworm", dict(instructions[:1])["ARG"])


@pytest.mark.parametrize("name", FINAL_STAGES)
def test_final_stages_end_as_a_fixed_user_that_is_not_root(
    stages: dict[str, dict[str, Any]], name: str
) -> None:
    users = [arguments for kind, arguments in stages[name]["instructions"] if kind == "USER"]
    uid, gid = users[-1].split(":")

    assert int(uid) > 0
    assert int(gid) > 0
    created = next(
        arguments for kind, arguments in stages["base"]["instructions"] if "useradd" in arguments
    )
    assert f"useradd --uid {uid}" in created


def test_dependencies_come_from_the_locks(stages: dict[str, dict[str, Any]]) -> None:
    text = json.dumps(stages)

    assert "pip install" not in text, "requirements/build_env.sh installs, from a lock"
    assert "build_env.sh .venv pipeline" in text
    assert "build_env.sh .venv-airflow airflow" in text


def test_nothing_that_looks_like_a_secret_is_built_in(
    instructions: list[tuple[str, str]],
) -> None:
    for name, arguments in instructions:
        if name in {"ARG", "ENV"}:
            assert not re.search(
                r"token|password|secret|credential|\bkey", arguments, re.IGNORECASE
            )


def test_what_is_copied_exists_and_reaches_the_build(
    project_root: Path, instructions: list[tuple[str, str]]
) -> None:
    ignore = (project_root / ".dockerignore").read_text().splitlines()
    sent = {line[1:] for line in ignore if line.startswith("!")}
    sources = [
        source
        for name, arguments in instructions
        if name == "COPY" and "--from" not in arguments
        for source in arguments.split()[:-1]
        if not source.startswith("--") and source != "."
    ]

    assert "*" in ignore
    assert sources
    for source in sources:
        assert list(project_root.glob(source)), f"{source} is not in the project"
        assert source.partition("/")[0] in sent, f"{source} is held back by .dockerignore"
    code_and_settings = {"dags", "diffrec_core", "pipeline_steps", "dvc.yaml", "params.yaml"}
    assert code_and_settings <= sent


class _Health(BaseHTTPRequestHandler):
    """Answers as Airflow's health endpoint does."""

    scheduler: ClassVar[str] = "healthy"

    def do_GET(self) -> None:
        found = self.path == "/api/v2/monitor/health"
        self.send_response(200 if found else 404)
        self.end_headers()
        parts = {"metadatabase": "healthy", "scheduler": type(self).scheduler, "triggerer": None}
        self.wfile.write(json.dumps({part: {"status": s} for part, s in parts.items()}).encode())

    def log_message(self, format: str, *args: object) -> None:
        """Keep quiet."""


@pytest.fixture
def health_server() -> Iterator[int]:
    server = HTTPServer(("127.0.0.1", 0), _Health)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server.server_port
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize(("scheduler", "is_well"), [("healthy", True), ("unhealthy", False)])
def test_healthcheck_asks_airflow_how_it_is(
    stages: dict[str, dict[str, Any]],
    health_server: int,
    monkeypatch: pytest.MonkeyPatch,
    scheduler: str,
    is_well: bool,
) -> None:
    monkeypatch.setattr(_Health, "scheduler", scheduler)
    check = dict(stages["airflow"]["instructions"])["HEALTHCHECK"]
    program, *arguments = json.loads(check[check.index("CMD ") + 4 :])
    assert program == "python"
    assert "127.0.0.1:8080" in arguments[-1]
    arguments[-1] = arguments[-1].replace("8080", str(health_server))

    result = subprocess.run([sys.executable, *arguments], capture_output=True, check=False)

    assert (result.returncode == 0) == is_well, result.stderr
