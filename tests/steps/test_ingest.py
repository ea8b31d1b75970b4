"""ingest as a command: its three outputs, its report, and what it refuses."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from diffrec_core.common.artifacts import read_manifest, sha256_file, verify_files
from diffrec_core.data.tables import EVENTS, QUARANTINE
from tests.raw_logs import (
    REPOSITORY,
    Event,
    ingest_section,
    planted_events,
    run_step,
    write_lines,
    write_log,
    write_params,
    write_titles,
)

EVENTS_LIST = planted_events()
OUTPUTS = ("events", "quarantine", "titles")
SCHEMAS = {"events": "events/2", "quarantine": "quarantine/1", "titles": "titles/1"}


def project(folder: Path, *, titles: bool = True, **section: Any) -> Path:
    """A folder with params.yaml; the logs are whatever lies in raw/."""
    titles_path = "titles.csv" if titles else None
    if titles:
        write_titles(folder / "titles.csv", EVENTS_LIST)
    write_params(
        folder,
        list_raw={"logs": ["raw"], "titles": titles_path},
        ingest=ingest_section(**section),
    )
    return folder


def ingest(folder: Path) -> "subprocess.CompletedProcess[str]":
    arguments = ["--raw-manifest", "manifest.json", "--report", "report.json"]
    for output in OUTPUTS:
        arguments += [f"--{output}", f"data/{output}"]
    return run_step("ingest", *arguments, cwd=folder)


def list_and_ingest(folder: Path) -> "subprocess.CompletedProcess[str]":
    listed = run_step("list_raw", "--out", "manifest.json", cwd=folder)
    assert listed.returncode == 0, listed.stderr
    return ingest(folder)


def report(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "report.json").read_text())


def events(folder: Path) -> pl.DataFrame:
    files = sorted((folder / "data/events").glob("date=*/part-0.parquet"))
    return pl.concat(pl.read_parquet(file, hive_partitioning=False) for file in files)


def quarantine(folder: Path) -> pl.DataFrame:
    return pl.read_parquet(folder / "data/quarantine/quarantine.parquet")


def test_a_log_becomes_events_quarantine_titles_and_a_report(tmp_path):
    folder = project(tmp_path / "a project")
    write_log(folder / "raw/log.csv", [*EVENTS_LIST, Event("u0_0", "", 1_700_000_000)])
    done = list_and_ingest(folder)
    assert done.returncode == 0, done.stderr
    found = events(folder)
    assert found.schema == EVENTS
    assert found["user_id"].to_list() == [event.user_id for event in EVENTS_LIST]
    assert found["source_row"].to_list() == list(range(2, 194))
    assert quarantine(folder).schema == QUARANTINE
    assert quarantine(folder).rows() == [
        ("raw/log.csv", 194, "u0_0,,1700000000,view,5.0", "item_id is missing")
    ]
    titles = pl.read_parquet(folder / "data/titles/titles.parquet")
    assert titles.filter(item_id="i0_3")["title"].to_list() == ["Title of i0_3, the"]
    facts = report(folder)
    assert facts["rows_per_second"] > 0
    assert facts["first_timestamp"] == "2023-11-14T22:13:20+00:00"
    assert facts["rejected_by_reason"] == {"item_id is missing": 1}
    assert facts["titles"] == {"titles": 20, "bad": 0, "duplicates": 0}
    counts = {"files": 1, "rows_read": 193, "blank_lines": 0, "accepted": 192, "rejected": 1}
    assert facts.items() >= {**counts, "users": 24, "items": 20}.items()


def test_every_output_has_a_manifest_of_its_schema_and_its_files(tmp_path):
    folder = project(tmp_path)
    write_log(folder / "raw/log.csv", EVENTS_LIST)
    list_and_ingest(folder)
    for output in OUTPUTS:
        manifest = read_manifest(folder / "data" / output, SCHEMAS[output])
        verify_files(folder / "data" / output, manifest["files"])
        assert manifest["inputs"] == {"raw_manifest": sha256_file(folder / "manifest.json")}
        assert manifest["params"]["columns"]["user_id"] == "user"
    files = {path.name for path in (folder / "data/events").rglob("*") if path.is_file()}
    assert files == {"manifest.json", "part-0.parquet"}


def test_the_same_input_gives_the_same_bytes(tmp_path):
    folder = project(tmp_path, max_rejected_share=1.0)
    write_log(folder / "raw/a.csv", EVENTS_LIST[::2])
    write_log(folder / "raw/b.csv.gz", EVENTS_LIST[1::2])
    write_lines(folder / "raw/c.csv", ["user,item,time,event,rating", *["bad"] * 50])
    checksums = []
    for _ in range(2):
        assert list_and_ingest(folder).returncode == 0
        files = sorted(path for path in (folder / "data").rglob("*") if path.is_file())
        checksums.append({str(path): sha256_file(path) for path in files})
        shutil.rmtree(folder / "data")
    assert checksums[0] == checksums[1]
    assert len(checksums[0]) > 10


@pytest.mark.parametrize(
    ("name", "section"),
    [
        ("log.tsv", {"delimiter": "\t"}),
        ("log.dat.gz", {"delimiter": "::", "header": False}),
        ("log.csv", {"timestamp_format": "iso8601"}),
        ("log.jsonl.gz", {"format": "jsonl", "timestamp_format": "milliseconds"}),
        ("log.parquet", {"format": "parquet"}),
    ],
)
def test_other_formats_need_other_params_only(tmp_path, name, section):
    folder = project(tmp_path, titles=False, **section)
    write_log(folder / "raw" / name, EVENTS_LIST, **section)
    done = list_and_ingest(folder)
    assert done.returncode == 0, done.stderr
    assert events(folder)["item_id"].to_list() == [event.item_id for event in EVENTS_LIST]
    assert pl.read_parquet(folder / "data/titles/titles.parquet").is_empty()


def test_too_many_rejected_rows_fail_the_stage_and_leave_the_quarantine(tmp_path):
    folder = project(tmp_path)
    write_log(folder / "raw/log.csv", [*EVENTS_LIST, *[Event("", "i", 1)] * 8])
    done = list_and_ingest(folder)
    assert done.returncode == 3
    for part in (
        "8 of 200 rows (4.00%) were rejected",
        "ingest.max_rejected_share allows 1.00%",
        "user_id is missing (8)",
        "raw/log.csv:194: user_id is missing",
        "data/quarantine",
    ):
        assert part in done.stderr
    assert quarantine(folder).height == 8
    assert not (folder / "data/events").exists()
    assert not list((folder / "data").glob(".*"))


def test_a_log_without_any_good_row_is_refused_whatever_is_allowed(tmp_path):
    folder = project(tmp_path, max_rejected_share=1.0)
    write_log(folder / "raw/log.csv", [Event("u", "i", -5)])
    done = list_and_ingest(folder)
    assert done.returncode == 3
    assert "timestamp is out of range: '-5' is before 1970-01-01" in done.stderr


def test_a_log_without_rows_is_refused(tmp_path):
    folder = project(tmp_path)
    write_log(folder / "raw/log.csv", [])
    done = list_and_ingest(folder)
    assert done.returncode == 3
    assert "hold no rows, only headers or blank lines" in done.stderr


def test_a_wrong_column_is_a_configuration_error_that_names_the_nearest(tmp_path):
    folder = project(tmp_path, columns={"user_id": "user", "item_id": "itm", "timestamp": "time"})
    write_log(folder / "raw/log.csv", EVENTS_LIST)
    done = list_and_ingest(folder)
    assert done.returncode == 2
    assert "ingest.columns.item_id = 'itm': raw/log.csv has no such column" in done.stderr
    assert "did you mean 'item'?" in done.stderr
    assert not (folder / "data/events").exists()


def test_one_broken_file_among_many_is_refused_by_its_name(tmp_path):
    folder = project(tmp_path)
    write_log(folder / "raw/2023-11-14.csv", planted_events(users_per_block=400))
    header = "user,item,time,event,rating"
    write_lines(folder / "raw/2023-11-15.csv", [header, *["bad"] * 20])
    write_lines(folder / "raw/2023-11-16.csv", [header, *["bad"] * 10])  # chance, or not worth it
    done = list_and_ingest(folder)
    assert done.returncode == 3
    for part in (
        "20 of 20 rows of raw/2023-11-15.csv (100.00%) were rejected",
        "ingest.max_rejected_share allows 1.00% of each file too",
        "raw/2023-11-15.csv:2: wrong number of fields",
        "data/quarantine",
    ):
        assert part in done.stderr
    assert quarantine(folder).height == 30
    assert not (folder / "data/events").exists()
    (folder / "raw/2023-11-15.csv").unlink()
    assert list_and_ingest(folder).returncode == 0
    assert report(folder)["rejected"] == 10


@pytest.mark.parametrize("change", ["edit", "shorten", "remove", "edit and append"])
def test_a_log_that_has_changed_since_it_was_listed_is_refused(tmp_path, change):
    folder = project(tmp_path)
    log = write_log(folder / "raw/log.csv", EVENTS_LIST)
    text = log.read_text()
    run_step("list_raw", "--out", "manifest.json", cwd=folder)
    edited = text.replace("u0_1", "u0_9")
    changed = {"edit": edited, "shorten": text[:-20], "edit and append": edited + "u,i,1,,\n"}
    log.write_text(changed.get(change, text))
    if change == "remove":
        log.unlink()
    done = ingest(folder)
    assert done.returncode == 3
    assert "raw/log.csv" in done.stderr
    assert "clear the task list_raw and all after it" in done.stderr
    assert not (folder / "data/events").exists()


@pytest.mark.parametrize(
    ("name", "section"),
    [("log.csv", {}), ("log.csv.gz", {}), ("log.jsonl", {"format": "jsonl"})],
)
def test_what_is_appended_after_the_listing_changes_nothing(tmp_path, name, section):
    folder = project(tmp_path, titles=False, **section)
    log = write_log(folder / "raw" / name, EVENTS_LIST, **section)
    more = write_log(folder / "more" / name, [Event("late", "later", 1_700_000_000)], **section)
    run_step("list_raw", "--out", "manifest.json", cwd=folder)
    log.write_bytes(log.read_bytes() + more.read_bytes())
    done = ingest(folder)
    assert done.returncode == 0, done.stderr
    assert "has grown since list_raw: the rest is left to a later run" in done.stderr
    assert events(folder)["user_id"].to_list() == [event.user_id for event in EVENTS_LIST]
    assert report(folder)["rows_read"] == len(EVENTS_LIST)


def test_a_last_line_that_was_listed_unfinished_is_left_to_a_later_run(tmp_path):
    folder = project(tmp_path, titles=False)
    log = write_log(folder / "raw/log.csv", EVENTS_LIST)
    text = log.read_text()
    log.write_text(text[:-4])
    run_step("list_raw", "--out", "manifest.json", cwd=folder)
    log.write_text(text)
    done = ingest(folder)
    assert done.returncode == 0, done.stderr
    assert report(folder)["rows_read"] == len(EVENTS_LIST) - 1
    assert quarantine(folder).is_empty()


def test_a_last_line_without_a_line_end_is_a_row(tmp_path):
    folder = project(tmp_path, titles=False)
    log = write_log(folder / "raw/log.csv", EVENTS_LIST)
    log.write_text(log.read_text().removesuffix("\n"))
    assert list_and_ingest(folder).returncode == 0
    assert report(folder)["rows_read"] == len(EVENTS_LIST)


@pytest.mark.parametrize("format", ["delimited", "jsonl", "parquet"])
def test_files_without_rows_stop_nothing_and_are_counted(tmp_path, format):
    folder = project(tmp_path, titles=False, format=format)
    suffix = {"delimited": ".csv", "jsonl": ".jsonl", "parquet": ".parquet"}[format]
    write_log(folder / f"raw/log{suffix}", EVENTS_LIST, format=format)
    (folder / f"raw/empty{suffix}").touch()
    write_lines(folder / "raw/nothing.gz", [])
    without_rows = ["raw/nothing.gz"]
    if format == "delimited":
        write_log(folder / "raw/header.csv", [])
        write_lines(folder / "raw/blank.csv", ["", " "])
        without_rows = ["raw/blank.csv", "raw/header.csv", "raw/nothing.gz"]
    if format == "parquet":
        (folder / "raw/nothing.gz").unlink()
        columns = pl.read_parquet(folder / "raw/log.parquet").clear()
        columns.write_parquet(folder / "raw/rows.parquet")
        without_rows = ["raw/rows.parquet"]
    done = list_and_ingest(folder)
    assert done.returncode == 0, done.stderr
    assert f"files hold no rows: {', '.join(without_rows)}" in done.stderr
    assert report(folder)["files_without_rows"] == len(without_rows)
    assert report(folder)["accepted"] == len(EVENTS_LIST)


def test_a_parquet_log_or_a_titles_file_that_has_grown_is_refused(tmp_path):
    folder = project(tmp_path, format="parquet")
    log = write_log(folder / "raw/log.parquet", EVENTS_LIST, format="parquet")
    run_step("list_raw", "--out", "manifest.json", cwd=folder)
    content = log.read_bytes()
    log.write_bytes(content + b"more")
    assert "log.parquet has changed since list_raw" in ingest(folder).stderr
    log.write_bytes(content)
    with (folder / "titles.csv").open("a") as titles:
        titles.write("i,T\n")
    assert "titles.csv has changed since list_raw" in ingest(folder).stderr


def test_a_missing_raw_manifest_says_which_stage_writes_it(tmp_path):
    done = ingest(project(tmp_path))
    assert done.returncode == 4
    assert "manifest.json is missing" in done.stderr


def test_latin1_lines_are_rejected_one_by_one(tmp_path):
    folder = project(tmp_path, titles=False)
    log = write_log(folder / "raw/log.csv", EVENTS_LIST)
    log.write_bytes(log.read_bytes() + "ü,i,1,,\n".encode("latin-1"))
    assert list_and_ingest(folder).returncode == 0
    (row,) = quarantine(folder).rows()
    assert row[1:] == (194, "\\xfc,i,1,,", "not valid UTF-8: byte 0xfc at position 0")


def test_nothing_half_written_stays_when_a_file_cannot_be_written(tmp_path):
    folder = project(tmp_path)
    write_log(folder / "raw/log.csv", planted_events(users_per_block=200))
    run_step("list_raw", "--out", "manifest.json", cwd=folder)
    command = [sys.executable, "-m", "pipeline_steps.ingest", "--raw-manifest=manifest.json"]
    command += [f"--{output}=data/{output}" for output in OUTPUTS]
    done = subprocess.run(
        ["bash", "-c", 'ulimit -f 8; exec "$@"', "-", *command],  # no file of more than 8 KiB
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 5, done.stderr
    assert "a file grew past the size limit" in done.stderr
    assert "Traceback" not in done.stderr
    assert sorted(path.name for path in (folder / "data").iterdir()) == ["titles"]
