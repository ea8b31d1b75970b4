"""Operations of a run: what they are given, and what is stored and published of what they write."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest

from pipeline_steps.nights import stage_worker
from pipeline_steps.nights.operations import GATE, REPORT, STATUS, Operation, operations
from pipeline_steps.nights.runs import Run, RunSpec
from pipeline_steps.nights.settings import Settings, settings

YESTERDAY = dict.fromkeys(
    ("gate.json", "report.html", "status/status.html", "status/status.json"), b"of yesterday"
)


class Folder:
    """A workspace in which every output of a stage is a file that says `fresh`."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def fetch(self, paths: Iterable[str], entries: Mapping[str, Any]) -> None:
        for path in paths:
            (self.root / path).parent.mkdir(parents=True, exist_ok=True)
            (self.root / path).write_text("fresh")


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """A run's settings, with what was published the day before."""
    for name in ("DIFFREC_REMOTE", "DIFFREC_PUBLISH", "PYTHONPATH"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    config = settings(tmp_path)
    config.published.write_all(YESTERDAY)
    return config


def a_spec(*, dry_run: bool = False) -> RunSpec:
    fields: dict[str, Any] = {"start": None, "end": None, "previous": None, "created": ""}
    return RunSpec(run="night", commit="c", dry_run=dry_run, **fields)


def a_run(config: Settings, *, dry_run: bool = False) -> Run:
    return Run(config.store, a_spec(dry_run=dry_run))


def perform(
    operation: Operation,
    config: Settings,
    root: Path,
    code: str,
    *,
    dry_run: bool = False,
) -> int:
    """Run an operation in a workspace whose code does this, whatever its command."""
    package = root / "pipeline_steps"
    package.mkdir(parents=True, exist_ok=True)
    (package / "__main__.py").write_text(
        f"import os, sys\nfrom pathlib import Path\n"
        f"def write(path, text):\n"
        f"    Path(path).parent.mkdir(parents=True, exist_ok=True)\n"
        f"    Path(path).write_text(text)\n"
        f"{code}\n"
    )
    run = a_run(config, dry_run=dry_run)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        return stage_worker._run_operation(operation, run, Folder(root), config)  # type: ignore[arg-type]


def published(config: Settings) -> dict[str, bytes]:
    return config.published.read_folder("")


def stored(config: Settings) -> dict[str, bytes]:
    return config.store.read_folder("runs/night/files")


BOTH = f"write('{GATE}', 'decided'); write('{REPORT}', 'with the decision')"


def test_what_the_gate_wrote_is_stored_and_published(config: Settings, tmp_path: Path) -> None:
    assert perform(operations(a_spec())["gate"], config, tmp_path / "w", BOTH) == 0
    assert stored(config) == {GATE: b"decided", REPORT: b"with the decision"}
    tonight = {"gate.json": b"decided", "report.html": b"with the decision"}
    assert published(config) == YESTERDAY | tonight


@pytest.mark.parametrize("code", [1, 2, 3, 4, 5, 7, 99])
@pytest.mark.parametrize(
    "writes", ["pass", f"write('{GATE}', 'decided')", f"write('{REPORT}', 'half')", BOTH]
)
def test_a_gate_that_fails_publishes_nothing(
    config: Settings, tmp_path: Path, code: int, writes: str
) -> None:
    gate = operations(a_spec())["gate"]
    assert perform(gate, config, tmp_path / "w", f"{writes}; sys.exit({code})") == code
    assert published(config) == YESTERDAY
    files = stored(config)
    assert files.get(REPORT, b"") != b"fresh"  # which `select` wrote
    assert set(files) == {path for path in (GATE, REPORT) if path in writes}


@pytest.mark.parametrize("writes", [f"write('{GATE}', '1')", f"write('{REPORT}', '1')", "pass"])
def test_files_of_an_operation_are_published_together_or_not_at_all(
    config: Settings, tmp_path: Path, writes: str
) -> None:
    assert perform(operations(a_spec())["gate"], config, tmp_path / "w", writes) == 0
    assert published(config) == YESTERDAY


def test_a_gate_that_is_killed_publishes_nothing(config: Settings, tmp_path: Path) -> None:
    killed = f"{BOTH}; os.kill(os.getpid(), 9)"
    assert perform(operations(a_spec())["gate"], config, tmp_path / "w", killed) == 137
    assert published(config) == YESTERDAY


@pytest.mark.parametrize(
    ("code", "shown"),
    [(0, True), (3, True), (4, True), (7, True), (1, False), (2, False), (5, False), (-9, False)],
)
def test_a_status_is_published_when_it_is_a_verdict(
    config: Settings, tmp_path: Path, code: int, shown: bool
) -> None:
    files = {f"{STATUS}/status.json": b"red", f"{STATUS}/status.html": b"red"}
    writes = "; ".join(f"write('{path}', 'red')" for path in files)
    ends = f"sys.exit({code})" if code >= 0 else "os.kill(os.getpid(), 9)"
    monitor = operations(a_spec())["monitor"]
    assert perform(monitor, config, tmp_path / "w", f"{writes}; {ends}") == (
        code if code >= 0 else 137
    )
    tonight = {"status/status.json": b"red", "status/status.html": b"red"}
    assert published(config) == (YESTERDAY | tonight if shown else YESTERDAY)
    assert stored(config) == files


def test_what_an_earlier_try_left_is_not_taken_for_this_ones(
    config: Settings, tmp_path: Path
) -> None:
    gate = operations(a_spec())["gate"]
    (tmp_path / "w" / "reports").mkdir(parents=True)
    (tmp_path / "w" / GATE).write_text("of a try that was killed")
    assert perform(gate, config, tmp_path / "w", f"write('{REPORT}', 'x')") == 0
    assert stored(config) == {REPORT: b"x"}
    assert published(config) == YESTERDAY


@pytest.mark.parametrize(
    "again",
    [
        f"write('{GATE}', 'same'); write('{REPORT}', 'fresh')",
        f"write('{GATE}', 'same'); write('new', 'fresh'); os.replace('new', '{REPORT}')",
        f"write('{GATE}', 'emas'); write('{REPORT}', 'hserf')",
    ],
)
def test_what_is_written_again_is_written(config: Settings, tmp_path: Path, again: str) -> None:
    """Be it with the same bytes, or as many: a retry publishes what the first try could not."""
    gate = operations(a_spec())["gate"]
    (tmp_path / "w" / "reports").mkdir(parents=True)
    (tmp_path / "w" / GATE).write_text("same")
    assert perform(gate, config, tmp_path / "w", again) == 0
    report = (tmp_path / "w" / REPORT).read_bytes()
    assert published(config)["report.html"] == stored(config)[REPORT] == report


def test_what_an_earlier_operation_wrote_is_given_where_it_is_read(
    config: Settings, tmp_path: Path
) -> None:
    a_run(config).store_files({GATE: b"{}"})
    reads = f"sys.exit(0 if Path('{GATE}').read_text() == '{{}}' else 1)"
    assert perform(operations(a_spec())["promote"], config, tmp_path / "w", reads) == 0


def test_a_dry_run_compares_and_publishes_nothing(config: Settings, tmp_path: Path) -> None:
    known = operations(a_spec(dry_run=True))
    for name in ("promote", "recommend", "publish"):
        touches = "write('touched', '')"
        assert perform(known[name], config, tmp_path / name, touches, dry_run=True) == 99
        assert not (tmp_path / name / "touched").exists()
    assert perform(known["gate"], config, tmp_path / "w", BOTH, dry_run=True) == 0
    assert published(config) == YESTERDAY
    assert set(stored(config)) == {GATE, REPORT}


def test_a_report_never_stands_beside_an_older_decision() -> None:
    names = [name for _, name in operations(a_spec())["gate"].publishes]
    assert names == ["gate.json", "report.html"]  # they appear in this order


def test_promote_is_given_the_decision() -> None:
    known = operations(a_spec())
    (read,) = known["promote"].reads_stored
    assert read in known["gate"].stores
