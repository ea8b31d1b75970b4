import logging
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from diffrec_core.common.errors import ConfigError, DataError
from diffrec_core.ingestion.counts import IngestCounts
from diffrec_core.ingestion.event_store import EventSpill, quarantine_file, summarise
from diffrec_core.ingestion.ingest import TITLES, ingest_logs, read_titles
from diffrec_core.ingestion.layout import IngestConfig, TitlesFormat
from diffrec_core.ingestion.raw_manifest import EVERY_EVENT, Wanted
from diffrec_core.ingestion.validation import Rules
from tests.raw_logs import ingest_section, listed, planted_events, write_lines, write_log

LAYOUT = TitlesFormat.model_validate({"columns": {"item_id": "item", "title": "name"}})


def ingest(
    folder: Path, *logs: Path, wanted: Wanted = EVERY_EVENT, **section: Any
) -> tuple[IngestCounts, pl.DataFrame, list[tuple[int, int]]]:
    """The counts, the quarantine, and what progress was told; events lie in folder/events."""
    config = IngestConfig.parse(ingest_section(**section), "ingest")
    spill = EventSpill(folder / "events" / ".spill")
    told: list[tuple[int, int]] = []
    with quarantine_file(folder / "q.parquet") as quarantine:
        counts = ingest_logs(
            [listed(log) for log in logs],
            Rules.of(config, wanted, datetime(2026, 1, 1, tzinfo=UTC)),
            spill,
            quarantine,
            lambda *progress: told.append(progress),
        )
    spill.write_partitions(folder / "events")
    return counts, pl.read_parquet(folder / "q.parquet"), told


def test_files_are_read_one_after_the_other(tmp_path):
    events = planted_events()
    first = write_log(tmp_path / "a.csv.gz", events[:100])
    second = write_log(tmp_path / "b.csv", events[100:])
    counts, quarantine, told = ingest(tmp_path, first, second)
    assert (counts.files, counts.read, counts.accepted, counts.rejected) == (2, 192, 192, 0)
    assert {path: own.read for path, own in counts.by_file.items()} == {
        str(first): 100, str(second): 92,
    }  # fmt: skip
    assert quarantine.is_empty()
    sizes = [first.stat().st_size, second.stat().st_size]
    assert told == [(sizes[0], 100), (sum(sizes), 192)]
    summary = summarise(tmp_path / "events")
    assert (summary.rows, summary.users, summary.items) == (192, 24, 20)


def test_rejections_are_counted_by_category_with_the_first_as_examples(tmp_path):
    lines = ["user,item,time,event,rating", "", *["u,i,x,,", ",i,1,,", "u,i,1,,"] * 3, "u,i"]
    log = write_lines(tmp_path / "a.csv", lines)
    counts, quarantine, _ = ingest(tmp_path, log)
    assert (counts.read, counts.blank, counts.accepted, counts.rejected) == (10, 1, 3, 7)
    assert counts.reasons == {
        "timestamp cannot be parsed": 3,
        "user_id is missing": 3,
        "wrong number of fields": 1,
    }
    assert counts.examples[:2] == [
        f"{log}:3: timestamp cannot be parsed: 'x' is not seconds",
        f"{log}:4: user_id is missing",
    ]
    assert len(counts.examples) == 5
    assert quarantine["source_row"].to_list() == [3, 4, 6, 7, 9, 10, 12]
    assert quarantine["raw"].to_list()[-1] == "u,i"
    assert counts.to_json()["rejected_by_reason"] == dict(counts.reasons)


@pytest.mark.parametrize("format_", ["delimited", "jsonl", "parquet"])
@pytest.mark.parametrize(
    "timestamp_format", ["seconds", "milliseconds", "iso8601", "%d.%m.%Y %H:%M:%S"]
)
def test_every_format_gives_the_same_events(tmp_path, format_, timestamp_format):
    events = planted_events(events_per_user=3)
    log = write_log(tmp_path / "log", events, format=format_, timestamp_format=timestamp_format)
    counts, _, _ = ingest(tmp_path, log, format=format_, timestamp_format=timestamp_format)
    assert counts.accepted == len(events)
    files = sorted((tmp_path / "events").glob("date=*/*.parquet"))
    found = pl.concat(pl.read_parquet(file, hive_partitioning=False) for file in files)
    times = found["timestamp"].dt.epoch("s").to_list()
    assert list(zip(found["user_id"], found["item_id"], times, strict=True)) == [
        (event.user_id, event.item_id, event.timestamp) for event in events
    ]
    assert found["value"].to_list() == [event.value for event in events]
    assert set(found["event_type"]) == {"view"}


def test_a_report_shows_what_somebody_needs_who_mends_the_source(tmp_path):
    header = "user,item,time,event,rating"
    rows = ["u,i,17e8,view,5", "u,i,soon,view,5", ",i,17e8,view,5", " u,i,17e8,,x"]
    bad = write_lines(tmp_path / "bad.csv", [header, *rows, *["u,i,soon,view,5"] * 4])
    good = write_lines(tmp_path / "good.csv", [header, rows[0]])
    report = ingest(tmp_path, bad, good)[0].to_json()
    assert report["rejected_samples"]["timestamp cannot be parsed"] == [
        {
            "file": str(bad),
            "row": row,
            "reason": "timestamp cannot be parsed: 'soon' is not seconds",
            "text": rows[1],
        }
        for row in (3, 6, 7)
    ]
    assert [each["row"] for each in report["rejected_samples"]["user_id is missing"]] == [4]
    assert report["rejected_by_file"] == {
        str(bad): {
            "read": 8,
            "rejected": 6,
            "reasons": {"timestamp cannot be parsed": 5, "user_id is missing": 1},
        }
    }
    assert report["normalised"] == {"user_id: blanks around it removed": 1}
    assert report["values_lost"] == {"value cannot be parsed": 1}
    assert report["values_lost_samples"] == [f"{bad}:5: value cannot be parsed: 'x'"]
    assert report["event_types"] == {"view": 2}
    assert report["warnings"] == [
        "events kept without a bad value: value cannot be parsed (1); "
        f"{bad}:5: value cannot be parsed: 'x'"
    ]


def test_all_faults_of_all_files_are_in_one_message(tmp_path):
    header = "user,item,time,event,rating"
    logs = [
        write_lines(tmp_path / "a.csv", ["user,item,at,event,rating", "u,i,1,view,5"]),
        write_lines(tmp_path / "b.csv", [header, "u,i,1,view,5"]),
        write_lines(tmp_path / "c.csv", ["PK\x03\x04"]),
        write_lines(tmp_path / "d.csv", ["customer,sku,time,event,rating"]),
    ]
    with pytest.raises(ConfigError) as caught:
        ingest(tmp_path, *logs)
    message = str(caught.value)
    assert message.startswith("3 files cannot be read:")
    for part in ("'time': ", "c.csv cannot be read as text lines", "'user': ", "'item': "):
        assert part in message
    assert "b.csv" not in message


def test_damage_in_the_middle_stops_no_other_file_and_all_is_told_together(tmp_path):
    events = planted_events()
    logs = [write_log(tmp_path / f"{name}.csv.gz", events) for name in "abc"]
    for log in (logs[0], logs[2]):
        log.write_bytes(log.read_bytes()[:-10])
    with pytest.raises(DataError, match=r"(?s)2 files .*a.csv.gz is damaged.*c.csv.gz is damaged"):
        ingest(tmp_path, *logs)


def test_an_optional_column_that_some_files_lack_is_null_there(tmp_path, caplog):
    new = write_lines(tmp_path / "new.csv", ["user,item,time,event,rating", "u,i,1,view,5"])
    old = write_lines(tmp_path / "old.csv", ["user,item,time,event", "u,i,1,view"])
    with caplog.at_level(logging.WARNING):
        counts, _, _ = ingest(tmp_path, new, old)
    assert counts.accepted == 2
    assert f"1 files have no column for value, which is null: {old}" in caplog.text
    with pytest.raises(ConfigError, match=r"columns.value = 'rating'"):
        ingest(tmp_path / "again", old)


@pytest.mark.parametrize("section", ["ingest", "build_interactions"])
def test_an_event_type_that_never_occurs_is_said_with_those_that_do(tmp_path, caplog, section):
    log = write_log(tmp_path / "a.csv", planted_events()[:9])
    types = ["buy", "view"]
    with caplog.at_level(logging.WARNING):
        if section == "ingest":
            ingest(tmp_path, log, event_types=types)
        else:
            ingest(tmp_path, log, wanted=Wanted(event_types=("buy", "view")))
    assert f"{section}.event_types: no event has the type buy; found: view 9" in caplog.text


@pytest.mark.parametrize(
    ("times", "expected"),
    [
        ([1_700_000_000] * 3 + [1_700_000], "1 of 4 events (25.00%) lie far"),
        ([1_700_000_000] * 2 + [1_700_000] * 2, "1970-01-20 to 1970-01-20"),
        ([1_700_000_000, 0], "1 of 2 events (50.00%) lie far"),
        ([1_700_000_000 + 86_400 * 30 * at for at in range(30)], None),
        ([1_500_000_000 + 86_400 * 300 * at for at in range(7)] + [1_440_000_000], None),
        ([1_700_000_000], None),
    ],
)
def test_times_far_outside_of_the_bulk_of_a_file_are_told(tmp_path, caplog, times, expected):
    lines = [f"u,i,{min(time, 1_760_000_000)},view,5" for time in times]
    log = write_lines(tmp_path / "a.csv", ["user,item,time,event,rating", *lines])
    with caplog.at_level(logging.WARNING):
        ingest(tmp_path, log)
    assert (expected is None) == ("lie far" not in caplog.text)
    assert expected is None or expected in caplog.text


def counts_of(read: int, rejected: int) -> IngestCounts:
    return IngestCounts(
        files=1,
        read=read,
        accepted=read - rejected,
        rejected=rejected,
        reasons=Counter({"b": rejected // 2, "a": rejected - rejected // 2}),
        examples=["log.csv:7: a: 'x'"],
    )


class TestCheck:
    def test_a_share_up_to_the_limit_is_allowed(self):
        counts_of(100, 1).check(0.01, Path("q"))
        counts_of(100, 0).check(0, Path("q"))

    def test_a_larger_share_is_refused_with_counts_reasons_examples_and_the_place(self):
        with pytest.raises(DataError) as caught:
            counts_of(100, 4).check(0.01, Path("data/quarantine"))
        message = str(caught.value)
        assert "4 of 100 rows (4.00%) were rejected" in message
        assert "ingest.max_rejected_share allows 1.00%" in message
        assert "reasons: a (2), b (2)" in message
        assert "log.csv:7: a: 'x'" in message
        assert "data/quarantine" in message

    @pytest.mark.parametrize(
        ("read", "rejected", "share", "refused"),
        [
            (11, 11, 0.01, True),
            (10, 10, 0.01, False),  # as chance may have it
            (2000, 20, 0.01, False),
            (2000, 21, 0.01, True),
            (100, 100, 1.0, False),
        ],
    )
    def test_each_file_must_keep_the_limit_too(self, read, rejected, share, refused):
        counts = IngestCounts()
        counts.add_file("good.csv", counts_of(1_000_000, 0))
        counts.add_file("bad.csv", counts_of(read, rejected))
        if not refused:
            counts.check(share, Path("q"))
            return
        with pytest.raises(DataError, match=f"{rejected} of {read} rows of bad.csv"):
            counts.check(share, Path("q"))

    def test_the_message_names_the_settings_that_may_help(self):
        counts = counts_of(100, 4)
        counts.reasons = Counter({"not valid UTF-8": 3, "quotes do not match": 1})
        with pytest.raises(DataError, match=r"(?s)set `encoding` .*set `quote: null`"):
            counts.check(0.01, Path("q"))

    def test_rows_that_are_set_aside_are_no_damage(self):
        counts = IngestCounts(files=1, read=10, accepted=4, set_aside=Counter({"x": 6}))
        counts.check(0.0, Path("q"))

    def test_no_accepted_row_is_refused_whatever_is_allowed(self):
        with pytest.raises(DataError, match="3 of 3 rows"):
            counts_of(3, 3).check(1.0, Path("q"))

    def test_no_rows_are_refused(self):
        with pytest.raises(DataError, match="1 raw files hold no rows"):
            IngestCounts(files=1, blank=3).check(1.0, Path("q"))

    def test_rows_that_do_not_add_up_are_a_bug(self):
        with pytest.raises(RuntimeError, match=r"2 accepted \+ 0 set aside \+ 1 rejected"):
            IngestCounts(read=4, accepted=2, rejected=1).check(1.0, Path("q"))


class TestTitles:
    def test_the_first_title_of_an_item_counts_and_bad_rows_are_counted(self, tmp_path, caplog):
        lines = ["item,name", 'b,"One, two"', " a,Three", "b,Four", ",Five", "c,", "d", "", 'e,"x']
        path = write_lines(tmp_path / "titles.csv", lines)
        with caplog.at_level(logging.WARNING):
            titles = read_titles(listed(path), LAYOUT)
        assert titles.frame.schema == TITLES
        assert titles.frame.rows() == [("b", "One, two"), ("a", "Three")]
        assert titles.to_json() == {"titles": 2, "bad": 4, "duplicates": 1}
        assert "2 titles; 4 rows without a readable id and title and 1 repeated" in caplog.text

    def test_good_titles_are_read_without_a_word(self, tmp_path, caplog):
        path = write_lines(tmp_path / "titles.csv", ["item,name", "a,A"])
        with caplog.at_level(logging.WARNING):
            read_titles(listed(path), LAYOUT)
        assert not caplog.records

    def test_without_a_file_there_are_no_titles(self):
        assert read_titles(None, LAYOUT).frame.equals(TITLES.to_frame())

    def test_a_file_needs_a_layout(self, tmp_path):
        path = write_lines(tmp_path / "titles.csv", ["item,name"])
        with pytest.raises(ConfigError, match=r"ingest.titles is required to read .*titles.csv"):
            read_titles(listed(path), None)

    def test_a_wrong_column_names_its_section(self, tmp_path):
        path = write_lines(tmp_path / "titles.csv", ["item,title", "a,b"])
        with pytest.raises(ConfigError, match=r"ingest.titles.columns.title = 'name'"):
            read_titles(listed(path), LAYOUT)
