"""Proposals for unknown logs: look-alikes of public ones are read with what is proposed."""

import gzip
import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from ruamel.yaml import YAML

from diffrec_core.ingestion.inspection import inspect
from diffrec_core.ingestion.layout import IngestConfig
from diffrec_core.ingestion.proposal import proposal
from diffrec_core.ingestion.raw_manifest import EVERY_EVENT
from diffrec_core.ingestion.readers import open_log
from diffrec_core.ingestion.validation import Rules, validate
from tests.raw_logs import listed

ROWS = 60


def text(row: Callable[[int], str], header: str = "") -> bytes:
    return (header + "".join(f"{row(at)}\n" for at in range(ROWS))).encode()


def objects(row: Callable[[int], dict[str, Any]]) -> bytes:
    return text(lambda at: json.dumps(row(at)))


LOGS: dict[str, tuple[bytes, tuple[str, str, str | None, float | None]]] = {
    "ratings.dat": (
        text(lambda at: f"{at // 20 + 1}::{at * 37 % 3952}::{at % 5 + 1}::{978300760 + at}"),
        ("1", "0", None, 1.0),
    ),
    "reviews.json": (
        objects(
            lambda at: {
                "overall": 5.0,
                "reviewerID": f"A{at}",
                "asin": "B1",
                "reviewTime": "09 13, 2009",
                "unixReviewTime": 1252800000 + at,
            }
        ),
        ("A0", "B1", None, 5.0),
    ),
    "shop.csv": (
        text(
            lambda at: (
                f"2019-10-01 00:00:{at:02d} UTC,view,{44600062 + at},,35.79,{541312140 + at}"
            ),
            "event_time,event_type,product_id,category_code,price,user_id\n",
        ),
        ("541312140", "44600062", "view", None),
    ),
    "retail.csv": (
        text(
            lambda at: (
                f'5363{at},85123A,"CREAM, HOLDER",{at % 9 + 1},12/{at % 28 + 1}/2010 8:26,'
                "2.55,"
                f"{'' if at % 4 == 3 else f'{17850 + at}.0'},UK"
            ),
            "InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country\n",
        ).replace(b"CREAM", "CRÈME".encode("latin-1")),
        ("17850", "85123A", None, 1.0),
    ),
    "plays.tsv": (
        text(lambda at: f'user_{at:06d}\t2009-05-04T23:{at:02d}:57Z\tf1b1cf71\t"Deep\t\tSong {at}'),
        ("user_000000", "f1b1cf71", None, None),
    ),
    "checkins.txt.gz": (
        gzip.compress(
            text(lambda at: f"{at}\t2010-10-19T23:{at:02d}:27Z\t30.{at}1\t-97.{at}1\t{22847 + at}")
        ),
        ("0", "22847", None, None),
    ),
    "analytics.json": (
        objects(
            lambda at: {
                "event_timestamp": str(1612069510766593 + at),
                "event_name": "view_item",
                "user_pseudo_id": f"1.{at}",
                "items": [{"item_id": f"G{at}"}],
            }
        ),
        ("1.0", "G0", "view_item", None),
    ),
    "sessions.jsonl": (
        objects(
            lambda at: {
                "session": at,
                "events": [{"aid": 5, "ts": 1659304800025, "type": "clicks"}],
            }
        ),
        ("0", "5", "clicks", None),
    ),
    "preamble.csv": (
        b"Export of March\n\n"
        + text(
            lambda at: f"u{at};i{at};{at % 5},5;0{at % 9 + 1}.02.2024 10:00:00;",
            "customer;sku;rating;date\n",
        ),
        ("u0", "i0", None, 0.5),
    ),
}


@pytest.mark.parametrize("name", LOGS)
def test_what_is_proposed_reads_the_log(tmp_path, name):
    data, (user, item, event_type, value) = LOGS[name]
    path = tmp_path / name
    path.write_bytes(data)
    events, report = proposed(path)
    assert events.height + report.set_aside.total() == ROWS
    first = events.row(0)
    assert (first[0].removesuffix(".0"), first[1]) == (user.removesuffix(".0"), item)
    assert first[3:5] == (event_type, value)
    assert datetime(2000, 1, 1, tzinfo=UTC) < first[2] < datetime(2025, 1, 1, tzinfo=UTC)


def proposed(path: Path) -> tuple[Any, Any]:
    written = proposal(path, inspect(path))
    section = YAML(typ="safe").load(written)["ingest"]
    config = IngestConfig.parse(section, "ingest")
    (batch,) = open_log(listed(path), config, config.columns.model_dump()).batches()
    rules = Rules.of(config, EVERY_EVENT, datetime(2026, 1, 1, tzinfo=UTC))
    validated = validate(batch, "log", rules)
    assert validated.quarantine.is_empty(), validated.quarantine
    return validated.events, validated


def test_types_of_parquet_are_used(tmp_path):
    path = tmp_path / "log.parquet"
    times = pa.array([1_600_000_000 + at for at in range(ROWS)], pa.timestamp("s"))
    users = pa.array([{"id": at} for at in range(ROWS)])
    pq.write_table(pa.table({"ts": times, "user": users, "sku": ["a"] * ROWS}), path)
    path_to_user = inspect(path).mapping
    assert {name: column.name for name, column in path_to_user.items()} == {
        "item_id": "sku",
        "timestamp": "ts",
        "user_id": "user.id",
    }


def test_what_is_not_recognised_is_said(tmp_path):
    path = tmp_path / "log.csv"
    path.write_text("151603712,Skyrim,purchase,1.0\n" * 9)
    written = proposal(path, inspect(path))
    assert "timestamp: FILL_IN" in written
    assert "# note: timestamp: no column was recognised, please fill it in" in written
