"""Operations of a run: what they are given, and what is kept and published of what they make."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest

from pipeline_steps.nights import stage_worker
from pipeline_steps.nights.operations import Operation, operations
from pipeline_steps.nights.runs import Run, RunSpec
from pipeline_steps.nights.settings import Settings, settings
from tests.raw_logs import REPOSITORY


class Folder:
    """A workspace in which every output of a stage is a file that says `fresh`."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def bring(self, paths: Iterable[str], entries: Mapping[str, Any]) -> None:
        for path in paths:
            (self.root / path).parent.mkdir(parents=True, exist_ok=True)
            (self.root / path).write_text("fresh")


@pytest.fixture
def found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    for name in ("DIFFREC_REMOTE", "DIFFREC_PUBLISH"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(REPOSITORY))
    return settings(tmp_path)


def a_spec(*, dry_run: bool = False) -> RunSpec:
    fields: dict[str, Any] = {"start": None, "end": None, "previous": None, "created": ""}
    return RunSpec(run="night", commit="c", dry_run=dry_run, **fields)


def a_run(found: Settings, *, dry_run: bool = False) -> Run:
    return Run(found.store, a_spec(dry_run=dry_run))


def perform(operation: Operation, run: Run, found: Settings, root: Path) -> int:
    root.mkdir()
    return stage_worker._run_operation(operation, run, Folder(root), found)  # type: ignore[arg-type]


def test_another_try_reads_what_stages_made_not_what_it_made_itself(
    found: Settings, tmp_path: Path
) -> None:
    run = a_run(found)
    run.keep_file("report.html", b"of the first try, before the log was mended")
    operation = Operation(
        command=("fetch-sample", "--help"), reads=("report.html",), keeps=("report.html",),
        publishes=(("report.html", "shown.html"),),
    )  # fmt: skip

    assert perform(operation, run, found, tmp_path / "w") == 0

    assert run.file("report.html") == b"fresh"
    assert found.published.read("shown.html") == b"fresh"


def test_what_an_earlier_operation_made_is_given_where_it_is_read(
    found: Settings, tmp_path: Path
) -> None:
    run = a_run(found)
    run.keep_file("reports/gate.json", b"{}")
    operation = Operation(command=("fetch-sample", "--help"), reads_kept=("reports/gate.json",))

    assert perform(operation, run, found, tmp_path / "w") == 0

    assert (tmp_path / "w/reports/gate.json").read_bytes() == b"{}"


def test_what_a_failing_operation_made_is_kept_all_the_same(
    found: Settings, tmp_path: Path
) -> None:
    operation = Operation(
        command=("fetch-sample", "nowhere.zip"),
        reads=("status/status.json",), keeps=("status",), publishes=(("status", "shown"),),
    )  # fmt: skip

    assert perform(operation, a_run(found), found, tmp_path / "w") == 3

    assert a_run(found).file("status/status.json") == b"fresh"
    assert found.published.read("shown/status.json") == b"fresh"


def test_a_dry_run_changes_nothing(found: Settings, tmp_path: Path) -> None:
    run = a_run(found, dry_run=True)
    for name in ("promote", "recommend", "publish"):
        operation = operations(run.spec)[name]
        assert perform(operation, run, found, tmp_path / name) == 99
    report = Operation(
        command=("fetch-sample", "--help"), reads=("r",), publishes=(("r", "r"),)
    )  # fmt: skip
    assert perform(report, run, found, tmp_path / "w") == 0
    assert found.published.names() == []


def test_promote_is_given_the_decision() -> None:
    known = operations(a_spec())
    (read,) = known["promote"].reads_kept
    assert read in known["gate"].keeps
