from typing import Any

import polars as pl
import pytest

from diffrec_core.common.config import load_section
from diffrec_core.common.errors import ConfigError
from diffrec_core.ingestion.layout import IngestConfig, LogFormat
from diffrec_core.ingestion.readers import open_log
from tests.raw_logs import listed

COLUMNS = {"user_id": "u", "item_id": "i"}


@pytest.mark.parametrize("format_", ["delimited", "jsonl", "parquet"])
def test_the_configured_format_is_read(tmp_path, format_):
    path = tmp_path / "log"
    frame = pl.DataFrame({"u": ["a"], "i": ["b"]})
    write_as = {
        "delimited": frame.write_csv,
        "jsonl": frame.write_ndjson,
        "parquet": frame.write_parquet,
    }
    write_as[format_](path)
    (batch,) = open_log(listed(path), LogFormat(format=format_), COLUMNS).batches()
    assert batch.rows.select("user_id", "item_id").rows() == [("a", "b")]


def section(**changes: Any) -> dict[str, Any]:
    columns = {"user_id": "u", "item_id": "i", "timestamp": "t"}
    return {"ingest": {"columns": columns, **changes}}


def load(params: dict[str, Any]) -> IngestConfig:
    return load_section(params, "ingest", IngestConfig)


def test_a_section_needs_little_more_than_columns():
    config = load(section())
    assert (config.format, config.delimiter, config.header) == ("delimited", ",", True)
    assert (config.timestamp_format, config.max_rejected_share) == (("seconds",), 0.01)
    assert config.columns.value is None


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format": "csv"}, "ingest.format = 'csv'"),
        ({"delimiter": ""}, "ingest.delimiter = ''"),
        ({"delimiter": "\\t"}, r"is not the tab character: write it in double quotes, \"\\t\""),
        ({"delimiter": "\n"}, "holds a line end or the quote"),
        ({"delimiter": '"'}, "holds a line end or the quote"),
        ({"quote": "''"}, "ingest.quote"),
        ({"escape": ","}, "escape = ',' is the quote, the delimiter or a line end"),
        ({"encoding": "utf-9"}, "ingest.encoding = 'utf-9': is not an encoding of text"),
        ({"encoding": "base64"}, "ingest.encoding = 'base64': is not an encoding of text"),
        ({"timezone": "Berlin"}, "ingest.timezone = 'Berlin': is not the name of a time zone"),
        ({"timestamp_format": []}, "ingest.timestamp_format = "),
        ({"timestamp_format": ["seconds", "x"]}, r"_format = \['seconds', 'x'\]: must be one of"),
        ({"not_before": "2024-01-01", "not_after": "2023-01-01"}, "must be before not_after"),
        ({"event_types": ["buy"]}, "ingest: event_types needs columns.event_type"),
        ({"header": False}, r"columns.user_id = 'u': without a header, columns are positions"),
        ({"max_rejected_share": 1.5}, "ingest.max_rejected_share = 1.5"),
        ({"timestamp_format": "second"}, "timestamp_format = 'second': must be one of seconds"),
        ({"timestamp": "seconds"}, "ingest.timestamp is not a known key"),
        ({"columns": {"user_id": "u", "item_id": "i"}}, "ingest.columns.timestamp is required"),
        (
            {"columns": {"user_id": "u", "item_id": 1, "timestamp": "t"}},
            "columns.item_id = 1: must be the name of a column",
        ),
        (
            {"columns": {"user_id": "u", "item_id": "u", "timestamp": "t"}},
            "columns.user_id and columns.item_id are both 'u'",
        ),
        (
            {"titles": {"columns": {"item_id": "i", "title": 0}}},
            "ingest.titles: columns.title = 0: must be the name of a column",
        ),
        ({"titles": {"columns": {"item_id": "i"}}}, "ingest.titles.columns.title is required"),
    ],
)
def test_a_bad_section_is_refused_with_its_key(changes, message):
    with pytest.raises(ConfigError, match=message):
        load(section(**changes))


def test_positions_are_for_delimited_text_without_a_header():
    columns = {"user_id": 0, "item_id": 1, "timestamp": 2}
    assert load(section(columns=columns, header=False)).columns.item_id == 1
    with pytest.raises(ConfigError, match="must be the name of a column"):
        load(section(columns=columns, header=False, format="parquet"))
