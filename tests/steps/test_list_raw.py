"""list_raw as a command: the manifest, the cache beside it, and its exit codes."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import polars as pl
import pytest

from diffrec_core.ingestion.checksums import ChecksumCache
from diffrec_core.ingestion.raw_files import ListRawConfig, list_raw_files
from tests.raw_logs import (
    REPOSITORY,
    ingest_section,
    planted_events,
    run_step,
    write_log,
    write_params,
    write_titles,
)


def run(folder: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    return run_step("list_raw", "--out", "data/raw_manifest.json", *arguments, cwd=folder)


def manifest(folder: Path) -> dict[str, object]:
    return json.loads((folder / "data/raw_manifest.json").read_text())


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "a project"
    events = planted_events(users_per_block=3, events_per_user=2)
    write_log(folder / "data/raw/b.csv", events[:6])
    write_log(folder / "data/raw/a.csv.gz", events[6:])
    write_titles(folder / "data/raw/titles.csv", events)
    write_params(folder, list_raw={"logs": ["data/raw"], "titles": "data/raw/titles.csv"})
    return folder


def test_the_manifest_lists_what_is_there(project):
    done = run(project, "--report", "report.json")
    assert done.returncode == 0, done.stderr
    listed = manifest(project)
    assert listed["schema"] == "raw/1"
    assert [file["path"] for file in listed["logs"]] == ["data/raw/a.csv.gz", "data/raw/b.csv"]
    assert listed["titles"]["path"] == "data/raw/titles.csv"
    report = json.loads((project / "report.json").read_text())
    assert (report["files"], report["titles"]) == (2, "data/raw/titles.csv")


def test_a_second_run_hashes_nothing_and_writes_the_same_bytes(project):
    run(project)
    before = (project / "data/raw_manifest.json").read_bytes()
    assert run(project, "--report", "report.json").returncode == 0
    assert (project / "data/raw_manifest.json").read_bytes() == before
    report = json.loads((project / "report.json").read_text())
    assert report["checksums"] == {"remembered": 3}


def test_a_corrupt_cache_is_warned_of_and_replaced(project):
    cache = project / ".checkpoints/raw_checksums.json"
    cache.parent.mkdir()
    cache.write_text("{")
    done = run(project)
    assert done.returncode == 0
    assert "raw_checksums.json is corrupt and ignored" in done.stderr
    assert len(json.loads(cache.read_text())["files"]) == 3


def test_a_new_log_changes_the_manifest(project):
    run(project)
    write_log(project / "data/raw/c.csv", planted_events(seed=1))
    run(project)
    assert [Path(file["path"]).name for file in manifest(project)["logs"]] == [
        "a.csv.gz",
        "b.csv",
        "c.csv",
    ]


@pytest.mark.parametrize(
    ("section", "code", "message"),
    [
        ({"logs": ["data/raw/*.inter"]}, 3, "no file matches data/raw/*.inter"),
        ({"logs": ["nowhere"]}, 3, "there is nothing at nowhere"),
        ({"logs": ["data/raw"], "titles": "t.csv"}, 3, "list_raw.titles: t.csv does not exist"),
        ({"log": ["data/raw"]}, 2, "list_raw.log is not a known key (did you mean 'logs'?)"),
        ({"logs": "data/raw"}, 2, "list_raw.logs = 'data/raw'"),
    ],
)
def test_what_cannot_be_listed_ends_with_a_message_and_its_code(project, section, code, message):
    write_params(project, list_raw=section)
    done = run(project)
    assert done.returncode == code
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert not (project / "data/raw_manifest.json").exists()


def test_an_empty_log_is_skipped_and_counted(project):
    (project / "data/raw/a-hour.csv").touch()
    done = run(project, "--report", "report.json")
    assert done.returncode == 0
    assert "1 empty files are skipped: data/raw/a-hour.csv" in done.stderr
    assert manifest(project)["empty"] == ["data/raw/a-hour.csv"]
    report = json.loads((project / "report.json").read_text())
    assert (report["files"], report["empty_files"]) == (2, 1)


WRITER = """
import sys, time
with open(sys.argv[1], "ab", buffering=0) as log:
    for _ in range(100_000):  # half a line at a time
        log.write(b"u1,i1,17000")
        time.sleep(0.002)
        if sys.argv[2] == "pause":
            print("paused", flush=True)
            sys.stdin.readline()
        log.write(b"00000,view,5.0\\n")
        time.sleep(0.002)
"""


@contextmanager
def being_written(log: Path, mode: str) -> "Iterator[subprocess.Popen[str]]":
    """A process that appends to the log, until the end of the block."""
    command = [sys.executable, "-c", WRITER, str(log), mode]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as writer:
        try:
            yield writer
        finally:
            writer.kill()


def shop(folder: Path, rows: int) -> Path:
    """A project whose log has so many rows of 240 bytes; return the log."""
    log = folder / "raw/log.csv"
    log.parent.mkdir()
    row = f"u0,{'i' * 216},1700000000,view,5.0\n"
    log.write_text("user,item,time,event,rating\n" + row * rows)
    write_params(folder, list_raw={"logs": ["raw"], "titles": None}, ingest=ingest_section())
    return log


def ingested(folder: Path) -> pl.DataFrame:
    outputs = [f"--{name}=data/{name}" for name in ("events", "quarantine", "titles")]
    done = run_step("ingest", "--raw-manifest=data/raw_manifest.json", *outputs, cwd=folder)
    assert done.returncode == 0, done.stderr
    assert pl.read_parquet(folder / "data/quarantine/quarantine.parquet").is_empty()
    return pl.read_parquet(folder / "data/events/*/*.parquet", hive_partitioning=False)


def lines_listed(folder: Path, log: Path, size: int) -> int:
    start = (folder / log).read_bytes()[:size]
    assert start.endswith(b"\n")
    return start.count(b"\n") - 1  # without the header


def test_a_log_that_is_being_written_is_listed_and_read_as_it_was_listed(tmp_path, monkeypatch):
    log = shop(tmp_path, 100_000)
    assert log.stat().st_size > 24_000_000
    monkeypatch.chdir(tmp_path)
    size = log.stat().st_size
    with being_written(log, "go on"):
        for _ in range(20):
            while log.stat().st_size == size:
                time.sleep(0.001)
            size = log.stat().st_size
            (listed,) = list_raw_files(ListRawConfig(logs=("raw",)), ChecksumCache()).logs
            assert listed.size >= size - len("u1,i1,17000")
            lines_listed(tmp_path, log, listed.size)
        assert run(tmp_path).returncode == 0
        (listed,) = manifest(tmp_path)["logs"]
        assert ingested(tmp_path).height == lines_listed(tmp_path, log, listed["size"]) > 100_000


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere nobody says who writes a file")
def test_half_a_line_of_a_writer_that_pauses_is_left_to_a_later_run(tmp_path):
    log = shop(tmp_path, 10)
    with being_written(log, "pause") as writer:
        assert writer.stdout
        assert writer.stdin
        assert writer.stdout.readline() == "paused\n"
        assert run(tmp_path).returncode == 0
        assert ingested(tmp_path).height == 10
        writer.stdin.write("\n")
        writer.stdin.flush()
        assert writer.stdout.readline() == "paused\n"
        assert ingested(tmp_path).height == 10
        assert run(tmp_path).returncode == 0
        assert ingested(tmp_path).height == 11


def test_the_step_loads_nothing_heavy():
    heavy = {"polars", "numpy", "torch", "pyarrow", "mlflow", "dvc", "requests", "pandas"}
    code = (
        f"import sys, pipeline_steps.list_raw; sys.exit(str(sorted({heavy} & sys.modules.keys())))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=False
    )
    assert done.stderr.strip() == "[]"
