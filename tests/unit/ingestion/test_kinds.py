"""Kinds of dirt that public reports tell of: the same rows give the same in every format."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from diffrec_core.ingestion.layout import IngestConfig
from diffrec_core.ingestion.raw_manifest import EVERY_EVENT
from diffrec_core.ingestion.readers import open_log
from diffrec_core.ingestion.validation import Rules, category, validate
from tests.raw_logs import listed

FIELDS = ("user_id", "item_id", "timestamp", "event_type", "value")
GOOD = {"user_id": "u1", "item_id": "i1", "timestamp": "2024-03-01T10:00:00"}
TIME = datetime(2024, 3, 1, 10, tzinfo=UTC)

Row = dict[str, str | None]
WRITERS: dict[str, Callable[[pl.DataFrame, Path], Any]] = {
    "delimited": lambda frame, path: frame.write_csv(path, quote_style="always"),
    "jsonl": lambda frame, path: frame.write_ndjson(path),
    "parquet": lambda frame, path: frame.write_parquet(path),
}
ACCEPTED: dict[str, tuple[Row, dict[str, Any], dict[str, Any]]] = {
    "as it is": ({}, {}, {}),
    "blanks": ({"user_id": " u1  ", "item_id": "\ti1"}, {}, {}),
    "byte order mark": ({"user_id": "\ufeffu1"}, {}, {}),
    "no-break space": ({"item_id": "i1\u00a0"}, {}, {}),
    "float": ({"user_id": "4711.0"}, {}, {"user_id": "4711"}),
    "decimal": ({"user_id": "4711.0000"}, {}, {"user_id": "4711"}),
    "negative zero": ({"user_id": "-0.0"}, {}, {"user_id": "0"}),
    "large float": ({"user_id": "1e+17"}, {}, {"user_id": "1" + "0" * 17}),
    "looks like a float": ({"user_id": "1e3"}, {}, {"user_id": "1e3"}),
    "beyond 64 bits": ({"user_id": "9" * 30}, {}, {"user_id": "9" * 30}),
    "leading zeros": ({"user_id": "007"}, {}, {"user_id": "007"}),
    "line end in a text": ({"event_type": "a"}, {}, {"event_type": "a"}),
    "type with blanks": ({"event_type": " view "}, {}, {"event_type": "view"}),
    "type NULL": ({"event_type": "NULL"}, {}, {}),
    "value": ({"value": " 4.1 "}, {}, {"value": 4.1}),
    "value NULL": ({"value": "NULL"}, {}, {}),
    "value NaN": ({"value": "NaN"}, {}, {}),
    "value infinite": ({"value": "inf"}, {}, {}),
    "value of words": ({"value": "five"}, {}, {}),
    "decimal comma": ({"value": "4,5"}, {"decimal": ","}, {"value": 4.5}),
    "UTC": ({"timestamp": "2024-03-01 10:00:00 UTC"}, {}, {}),
    "offset": ({"timestamp": "2024-03-01 11:00:00+01:00"}, {}, {}),
    "zone": ({"timestamp": "2024-03-01 11:00:00"}, {"timezone": "Europe/Berlin"}, {}),
    "seconds": ({"timestamp": "1709287200"}, {"timestamp_format": "seconds"}, {}),
    "float seconds": ({"timestamp": "1709287200.0"}, {"timestamp_format": "seconds"}, {}),
    "nanoseconds": (
        {"timestamp": "1709287200000000999"},
        {"timestamp_format": "nanoseconds"},
        {},
    ),
    "one of several": (
        {"timestamp": "1709287200000"},
        {"timestamp_format": ["seconds", "milliseconds"]},
        {},
    ),
    "pattern": ({"timestamp": "01.03.2024 10:00"}, {"timestamp_format": "%d.%m.%Y %H:%M"}, {}),
}
REJECTED: dict[str, tuple[Row, dict[str, Any], str]] = {
    **{
        f"{field} {marker!r}": ({field: marker}, {}, f"{field} is missing")
        for field in FIELDS[:3]
        for marker in (None, "", "  ", "NULL", "null", "\\N", "NaN", "None", "<NA>")
    },
    "NUL": ({"user_id": "u\0"}, {}, "user_id holds a control character"),
    "tab inside": ({"item_id": "a\tb"}, {}, "item_id holds a control character"),
    "line end inside": ({"item_id": "a\nb"}, {}, "item_id holds a control character"),
    "no time": ({"timestamp": "soon"}, {}, "timestamp cannot be parsed"),
    "hour that is skipped": (
        {"timestamp": "2024-03-31 02:30:00"},
        {"timezone": "Europe/Berlin"},
        "timestamp cannot be parsed",
    ),
    "clock ahead": ({"timestamp": "2087-03-01"}, {}, "timestamp is out of range"),
    "too early": (
        {"timestamp": "1970-01-01"},
        {"not_before": "1990-01-01"},
        "timestamp is out of range",
    ),
    "other unit": (
        {"timestamp": "1709287200000"},
        {"timestamp_format": "seconds"},
        "timestamp is out of range",
    ),
}


def read(folder: Path, format_: str, row: Row, section: dict[str, Any]) -> Any:
    """Read a good row and one that is changed."""
    rows = [GOOD | {"event_type": None, "value": None}, GOOD | row]
    frame = pl.DataFrame(rows, schema=dict.fromkeys(FIELDS, pl.String))
    path = folder / "log"
    WRITERS[format_](frame, path)
    columns = dict(zip(FIELDS, FIELDS, strict=True))
    section = {"timestamp_format": "iso8601", **section, "format": format_, "columns": columns}
    config = IngestConfig.parse(section, "ingest")
    (batch,) = open_log(listed(path), config, columns, timezone=config.timezone).batches()
    rules = Rules.of(config, EVERY_EVENT, datetime(2026, 1, 1, tzinfo=UTC))
    validated = validate(batch, "log", rules)
    found = validated.events.height + validated.quarantine.height + validated.set_aside.total()
    assert batch.read == found == 2
    return validated


@pytest.mark.parametrize("format_", WRITERS)
@pytest.mark.parametrize("kind", ACCEPTED)
def test_what_is_meant_is_accepted(tmp_path, format_, kind):
    row, section, expected = ACCEPTED[kind]
    event = read(tmp_path, format_, row, section).events.row(-1, named=True)
    wanted = {**GOOD, "timestamp": TIME, "event_type": None, "value": None, **expected}
    assert {name: event[name] for name in FIELDS} == wanted


@pytest.mark.parametrize("format_", WRITERS)
@pytest.mark.parametrize("kind", REJECTED)
def test_what_is_damaged_is_rejected_by_name(tmp_path, format_, kind):
    row, section, reason = REJECTED[kind]
    reasons = read(tmp_path, format_, row, section).quarantine
    assert reasons.select(category(pl.col("reason"))).to_series().to_list()[-1:] == [reason]


def test_json_numbers_and_parquet_numbers_are_the_same_ids(tmp_path):
    numbers = [4711, 4711.0, 1e3, -0.0, 2.5]
    ids = ["4711", "4711", "1000", "0", "2.5"]
    (tmp_path / "log.json").write_text(json.dumps([{"u": number} for number in numbers]))
    pl.DataFrame({"u": numbers}, schema={"u": pl.Float64}).write_parquet(tmp_path / "log.parquet")
    columns = {"user_id": "u", "item_id": "u", "timestamp": "u", "event_type": None, "value": None}
    for format_, name in (("jsonl", "log.json"), ("parquet", "log.parquet")):
        config = IngestConfig.parse({"format": format_, "columns": GOOD}, "ingest")
        (batch,) = open_log(listed(tmp_path / name), config, columns).batches()
        rules = Rules.of(config, EVERY_EVENT, datetime(2026, 1, 1, tzinfo=UTC))
        assert validate(batch, "log", rules).events["user_id"].to_list() == ids
