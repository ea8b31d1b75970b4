"""list_raw as a command: the manifest, the cache beside it, and its exit codes."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.raw_logs import (
    REPOSITORY,
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


def test_the_step_loads_nothing_heavy():
    heavy = {"polars", "numpy", "torch", "pyarrow", "mlflow", "dvc", "requests", "pandas"}
    code = (
        f"import sys, pipeline_steps.list_raw; sys.exit(str(sorted({heavy} & sys.modules.keys())))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=False
    )
    assert done.stderr.strip() == "[]"
