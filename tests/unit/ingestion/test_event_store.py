import logging
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from diffrec_core.common.artifacts import sha256_file
from diffrec_core.data.tables import EVENTS, QUARANTINE
from diffrec_core.ingestion.event_store import EventSpill, quarantine_file, summarise

NOON = datetime(2024, 1, 2, 12, tzinfo=UTC)


def events(*rows: tuple[datetime, str, str, str, int]) -> pl.DataFrame:
    """Rows of (timestamp, user, item, file, row)."""
    full = [(user, item, time, None, 1.0, file, row) for time, user, item, file, row in rows]
    return pl.DataFrame(full, schema=EVENTS, orient="row")


def write(folder: Path, batches: list[pl.DataFrame], group_rows: int = 1000) -> dict[str, str]:
    """The checksums of what is written from some batches."""
    spill = EventSpill(folder / ".spill")
    for batch in batches:
        spill.add(batch)
    spill.write_partitions(folder, group_rows)
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): sha256_file(path) for path in files}


def rows(path: Path) -> list[tuple[str, str, str, int]]:
    frame = pl.read_parquet(path, hive_partitioning=False)
    assert frame.schema == EVENTS
    return frame.select("user_id", "item_id", "source_file", "source_row").rows()


def test_every_utc_day_is_a_partition_sorted_by_time_user_item_file_and_row(tmp_path):
    midnight = datetime(2024, 1, 3, tzinfo=UTC)
    batch = events(
        (NOON, "b", "i", "f", 1),
        (NOON, "a", "j", "f", 2),
        (midnight, "a", "i", "f", 3),
        (NOON, "a", "i", "g", 4),
        (NOON, "a", "i", "f", 10),
        (NOON, "a", "i", "f", 9),
        (midnight - timedelta(microseconds=1), "a", "i", "f", 5),
        (NOON - timedelta(hours=1), "z", "z", "z", 6),
    )
    assert sorted(write(tmp_path, [batch])) == [
        "date=2024-01-02/part-0.parquet",
        "date=2024-01-03/part-0.parquet",
    ]
    assert rows(tmp_path / "date=2024-01-02/part-0.parquet") == [
        ("z", "z", "z", 6),
        ("a", "i", "f", 9),
        ("a", "i", "f", 10),
        ("a", "i", "g", 4),
        ("a", "j", "f", 2),
        ("b", "i", "f", 1),
        ("a", "i", "f", 5),
    ]
    assert rows(tmp_path / "date=2024-01-03/part-0.parquet") == [("a", "i", "f", 3)]


@pytest.mark.parametrize("group_rows", [1, 7, 1000])
def test_batches_their_order_and_groups_do_not_change_a_byte(tmp_path, group_rows):
    batch = events(
        *((NOON + timedelta(hours=7 * (n * 37 % 60)), f"u{n % 5}", "i", "f", n) for n in range(60))
    )
    whole = write(tmp_path / "whole", [batch])
    assert len(whole) == 18
    parts = [batch.slice(at, 13) for at in range(0, 60, 13)][::-1]
    assert write(tmp_path / "parts", [*parts, batch.clear()], group_rows) == whole


def test_a_folder_whose_name_looks_like_a_pattern(tmp_path):
    folder = tmp_path / "a [1] *"
    assert len(write(folder, [events((NOON, "a", "i", "f", 1))])) == 1
    assert summarise(folder).rows == 1


def test_a_summary_counts_what_was_written(tmp_path):
    later = NOON + timedelta(days=2)
    write(tmp_path, [events((NOON, "a", "i", "f", 1), (later, "a", "j", "f", 2))])
    summary = summarise(tmp_path)
    assert (summary.rows, summary.users, summary.items) == (2, 1, 2)
    assert (summary.first, summary.last) == (NOON, later)
    assert summary.to_json()["last_timestamp"] == "2024-01-04T12:00:00+00:00"


def test_lost_rows_are_a_bug(tmp_path):
    write(tmp_path, [events((NOON, "a", "i", "f", 1))])
    summarise(tmp_path).check(1, ["seconds"])
    with pytest.raises(RuntimeError, match="2 rows were accepted but 1 events written"):
        summarise(tmp_path).check(2, ["seconds"])


def test_a_log_that_ends_in_1970_is_suspicious(tmp_path, caplog):
    write(tmp_path, [events((datetime(1970, 1, 20, tzinfo=UTC), "a", "i", "f", 1))])
    with caplog.at_level(logging.WARNING):
        summarise(tmp_path).check(1, ["milliseconds"])
    assert "lies in 1970: is ingest.timestamp_format = 'milliseconds' the right unit" in caplog.text


def test_quarantine_keeps_the_order_of_its_batches(tmp_path):
    path = tmp_path / "quarantine.parquet"
    batches = [[("b", 7, "raw é", "x: y")], [], [("a", 1, "", "z"), ("a", 2, "r", "z")]]
    with quarantine_file(path) as quarantine:
        for batch in batches:
            quarantine.add(pl.DataFrame(batch, schema=QUARANTINE, orient="row"))
    frame = pl.read_parquet(path)
    assert frame.schema == QUARANTINE
    assert frame.rows() == [row for batch in batches for row in batch]


def test_an_empty_quarantine_is_an_empty_table(tmp_path):
    with quarantine_file(tmp_path / "q.parquet"):
        pass
    assert pl.read_parquet(tmp_path / "q.parquet").equals(QUARANTINE.to_frame())
