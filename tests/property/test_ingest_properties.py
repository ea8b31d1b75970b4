"""Whatever is in the logs: every row is accepted or rejected, once, and nothing breaks."""

import csv
import io
import json
import tempfile
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
from hypothesis import example, given, settings
from hypothesis import strategies as st

from diffrec_core.data.tables import EVENTS, QUARANTINE
from diffrec_core.ingestion.delimited import DelimitedReader
from diffrec_core.ingestion.dialect import Dialect
from diffrec_core.ingestion.event_store import EventSpill, summarise
from diffrec_core.ingestion.layout import IngestConfig, LogFormat
from diffrec_core.ingestion.raw_manifest import EVERY_EVENT
from diffrec_core.ingestion.raw_rows import Source
from diffrec_core.ingestion.readers import open_log
from diffrec_core.ingestion.text_lines import read_text, split_lines
from diffrec_core.ingestion.timestamps import microseconds
from diffrec_core.ingestion.validation import Rules, validate
from tests.raw_logs import listed

relaxed = settings(deadline=None, max_examples=60)
FIELDS = ("user_id", "item_id", "timestamp", "event_type", "value")
COLUMNS = dict(zip(FIELDS, FIELDS, strict=True))
FORMATS = st.sampled_from(["seconds", "milliseconds", "microseconds", "iso8601", "%d/%m/%Y %H:%M"])

# texts that are often almost right, so that every branch is taken
nasty = st.one_of(
    st.text(max_size=8),
    st.text(alphabet=',":\t\r\n \\u7e', max_size=8),
    st.sampled_from(["1", "1e9", "1.5", "-1", "nan", "inf", "1e400", "2024-01-02", "a", ""]),
    st.integers().map(str),
    st.floats().map(str),
    st.datetimes().map(lambda time: time.isoformat()),
)


def split_up(
    write: Callable[[Path], object], layout: Mapping[str, Any], timestamp_format: str
) -> tuple[int, list[int], list[tuple[int, str]]]:
    """Rows read, the accepted rows' numbers, and the rejected rows' numbers and texts."""
    events, quarantine, read, aside = ingested(write, layout, timestamp_format)
    assert quarantine["reason"].null_count() == 0
    assert events.drop("event_type", "value").null_count().row(0) == (0,) * 5
    assert read == events.height + quarantine.height + aside
    assert aside == 0
    return read, events["source_row"].to_list(), quarantine.select("source_row", "raw").rows()


def ingested(
    write: Callable[[Path], object], layout: Mapping[str, Any], timestamp_format: str
) -> tuple[pl.DataFrame, pl.DataFrame, int, int]:
    """Events, quarantine, records read and records set aside of one file."""
    section = {"columns": COLUMNS, "timestamp_format": timestamp_format, **layout}
    config = IngestConfig.parse(section, "ingest")
    rules = Rules.of(config, EVERY_EVENT, datetime(2026, 1, 1, tzinfo=UTC))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "log"
        write(path)
        batches = list(open_log(listed(path), config, COLUMNS).batches())
        found = [validate(batch, "log", rules) for batch in batches]
    return (
        pl.concat([EVENTS.to_frame(), *(each.events for each in found)]),
        pl.concat([QUARANTINE.to_frame(), *(each.quarantine for each in found)]),
        sum(batch.read for batch in batches),
        sum(each.set_aside.total() for each in found),
    )


def lines_of(data: bytes) -> dict[int, bytes]:
    """Line numbers and lines, as a slow reader sees them."""
    parts = data.split(b"\n")
    if not parts[-1]:
        parts.pop()
    return {at: line.removesuffix(b"\r") for at, line in enumerate(parts, start=1)}


def is_blank(line: bytes, delimiter: str | None = None) -> bool:
    """White space only; Python's own notion also counts four control characters, Unicode's not."""
    text = line.decode(errors="backslashreplace")
    space = all(letter.isspace() and letter not in "\x1c\x1d\x1e\x1f" for letter in text)
    return space and (delimiter is None or delimiter not in text)


@relaxed
@given(
    rows=st.lists(st.lists(nasty, min_size=4, max_size=6), max_size=12),
    delimiter=st.sampled_from([",", "\t", "::", "|", "é"]),
    quote=st.sampled_from(['"', None, "'"]),
    timestamp_format=FORMATS,
)
@example(rows=[['"', "\n", "1", "", ""]], delimiter=",", quote='"', timestamp_format="seconds")
@example(rows=[['"', "\n", '"', "1", "", ""]], delimiter=",", quote='"', timestamp_format="seconds")
def test_delimited_rows_with_any_text(rows, delimiter, quote, timestamp_format):
    body = "".join(delimiter.join(row) + "\n" for row in rows)
    data = (delimiter.join(FIELDS) + "\n" + body).encode()
    layout = {"delimiter": delimiter, "quote": quote}
    read, accepted, rejected = split_up(
        lambda path: path.write_bytes(data), layout, timestamp_format
    )
    lines = lines_of(data)
    records = [at for at in lines if at > 1 and not is_blank(lines[at], delimiter)]
    found = sorted([*accepted, *(row for row, _ in rejected)])
    assert read == len(found)
    assert set(found) <= set(records)
    for row, text in rejected:
        inside = [lines[at].decode() for at in range(row, row + text.count("\n") + 1)]
        assert text == "\n".join(inside)
    if quote is None:
        assert found == records


@relaxed
@given(body=st.lists(st.binary(max_size=20), max_size=8).map(b"\n".join), timestamp_format=FORMATS)
@example(body=b"a,b,1,,\n\xff,b,1,,\nx\x9c,b,1,,\n", timestamp_format="seconds")
def test_delimited_rows_of_any_bytes(body, timestamp_format):
    data = ",".join(FIELDS).encode() + b"\n" + body
    read, accepted, rejected = split_up(
        lambda path: path.write_bytes(data), {"quote": None}, timestamp_format
    )
    lines = lines_of(data)
    records = [at for at in lines if at > 1 and not is_blank(lines[at], ",")]
    assert read == len(records)
    assert sorted([*accepted, *(row for row, _ in rejected)]) == records
    for row, text in rejected:
        assert text == lines[row].decode(errors="backslashreplace")


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | nasty,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=4,
)
json_lines = st.one_of(
    st.fixed_dictionaries({}, optional=dict.fromkeys(FIELDS, json_values)).map(json.dumps),
    st.text(max_size=12).map(lambda text: text.replace("\n", "")),
    st.sampled_from(['{"user_id": "\\ud800"}', "[", "{}", '{"user_id": 1}{"user_id": 2}']),
)


@relaxed
@given(lines=st.lists(json_lines, max_size=12), timestamp_format=FORMATS)
def test_json_lines_of_any_kind(lines, timestamp_format):
    known = json.dumps(dict.fromkeys(FIELDS, "1"))
    data = "".join(f"{line}\n" for line in [known, *lines]).encode()
    events, quarantine, read, aside = ingested(
        lambda path: path.write_bytes(data), {"format": "jsonl"}, timestamp_format
    )
    numbered = lines_of(data)
    records = {at for at in numbered if not is_blank(numbered[at])}
    assert read == events.height + quarantine.height + aside >= len(records)
    found = {*events["source_row"], *quarantine["source_row"]}
    assert found <= records
    assert len(records - found) <= aside  # lists without elements
    rejected = quarantine.select("source_row", "raw").iter_rows()
    assert all(text == numbered[row].decode() for row, text in rejected)


@relaxed
@given(
    rows=st.lists(st.tuples(*[st.none() | nasty] * 3, *[st.none() | st.floats()] * 2), max_size=12),
    timestamp_format=FORMATS,
)
def test_parquet_rows_of_any_text(rows, timestamp_format):
    types = [pl.String, pl.String, pl.String, pl.Float64, pl.Float64]
    frame = pl.DataFrame(rows, schema=dict(zip(FIELDS, types, strict=True)), orient="row")
    read, accepted, rejected = split_up(
        frame.write_parquet, {"format": "parquet"}, timestamp_format
    )
    assert read == len(rows)
    assert sorted([*accepted, *(row for row, _ in rejected)]) == list(range(1, len(rows) + 1))
    for row, text in rejected:
        assert json.loads(text)["item_id"] == rows[row - 1][1]


# the same values in every format; a column of Parquet has one type, so ids are texts there
ids = st.one_of(
    st.text(alphabet=st.characters(codec="utf-8", exclude_characters="\r\n"), max_size=6),
    st.sampled_from(
        ["NULL", "NaN", "\\N", " u ", "4711.0", "4711", "-0.0", "1e+16", "1e3", "a\0b"]
    ),
    st.integers().map(str),
    st.floats(allow_nan=False, allow_infinity=False).map(str),
)
same_rows = st.lists(
    st.tuples(
        ids,
        ids,
        st.sampled_from(["2024-01-02", "2024-01-02 03:04:05.5 UTC", "2087-01-01", "soon", "NULL"]),
        ids,
        st.floats().map(str) | st.sampled_from(["", "4,5", "NaN", "NULL", "five"]),
    ),
    max_size=8,
)


@relaxed
@given(rows=same_rows)
def test_every_format_gives_the_same_events(rows):
    frame = pl.DataFrame(rows, schema=dict.fromkeys(FIELDS, pl.String), orient="row")
    head = {"user_id": "u", "item_id": "i", "timestamp": "2024-01-01"}
    frame = pl.concat([pl.DataFrame([head]), frame], how="diagonal")  # so that all fields occur
    write_as: dict[str, Callable[[Path], object]] = {
        "delimited": lambda path: frame.write_csv(path, quote_style="always"),
        "jsonl": frame.write_ndjson,
        "parquet": frame.write_parquet,
    }
    found = {}
    for format_, write in write_as.items():
        events, quarantine, read, aside = ingested(write, {"format": format_}, "iso8601")
        assert read == events.height + quarantine.height + aside == frame.height
        found[format_] = (
            events.drop("source_row").rows(),
            quarantine["reason"].to_list(),
        )
    assert found["delimited"] == found["jsonl"] == found["parquet"]


field = st.text(alphabet=st.characters(exclude_characters="\r\0", codec="utf-8"), max_size=6)


@relaxed
@given(
    rows=st.lists(st.lists(field | st.text('",; a\n', max_size=6), min_size=2, max_size=2)),
    delimiter=st.sampled_from([",", "\t", ";"]),
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC]),
    chunk_bytes=st.integers(1, 200),
)
def test_what_pythons_csv_module_writes_is_read_back(rows, delimiter, quoting, chunk_bytes):
    text = io.StringIO()
    writer = csv.writer(text, delimiter=delimiter, quoting=quoting, lineterminator="\n")
    writer.writerows([["a", "b"], *rows])
    dialect = Dialect(delimiter, '"')
    rest, found = text.getvalue().partition("\n")[2], []
    while rest:
        record = dialect.split(rest)
        found.append(record.fields)
        rest = rest[record.end + 1 :]
    assert found == rows
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "log"
        path.write_text(text.getvalue(), encoding="utf-8", newline="")
        layout = LogFormat(delimiter=delimiter)
        columns, source = {"a": "a", "b": "b"}, Source("log", "ingest")
        reader = DelimitedReader(listed(path), layout, columns, source, chunk_bytes)
        read = [row for batch in reader.batches() for row in batch.rows.iter_rows()]
    assert [row[1:] for row in read] == [(None, a, b) for a, b in rows]
    lines = [1 + "".join(row).count("\n") for row in rows]
    assert [row[0] for row in read] == [2 + sum(lines[:at]) for at in range(len(rows))]


@relaxed
@given(
    data=st.lists(st.binary(max_size=6), max_size=10).map(b"\n".join)
    | st.text(alphabet="a\r\né\u2028x\x01", max_size=30).map(str.encode),
    chunk_bytes=st.integers(1, 12),
)
def test_lines_are_those_of_a_slow_reader_in_chunks_of_any_size(data, chunk_bytes):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "log"
        path.write_bytes(b"-\n" + data)  # a first line, so that no magic number decides
        chunks = list(read_text(listed(path), chunk_bytes=chunk_bytes))
    found = [line for chunk in chunks for line in split_lines(chunk.data)["raw"]]
    expected = lines_of(b"-\n" + data).values()
    assert found == [line.decode(errors="backslashreplace") for line in expected]


moments = st.datetimes(datetime(1970, 1, 1), datetime(2099, 12, 31), timezones=st.just(UTC))
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)


@relaxed
@given(moment=moments, offset=st.integers(-14 * 60, 14 * 60))
def test_every_way_to_write_a_moment_is_read_as_that_moment(moment, offset):
    expected = (moment - EPOCH) // MICROSECOND
    local = moment.astimezone(datetime.strptime(_offset(offset), "%z").tzinfo)
    written = {
        "microseconds": [str(expected)],
        "milliseconds": [f"{expected // 1000}.{expected % 1000:03d}"],
        "seconds": [f"{expected // 10**6}.{expected % 10**6:06d}"],
        "iso8601": [moment.isoformat(), local.isoformat(" "), moment.isoformat()[:-6]],
        "%Y-%m-%d %H:%M:%S.%f %z": [local.strftime("%Y-%m-%d %H:%M:%S.%f %z")],
    }
    for timestamp_format, texts in written.items():
        found = microseconds(pl.Series(texts), timestamp_format).to_list()
        assert found == [expected] * len(texts), (timestamp_format, texts)


def _offset(minutes: int) -> str:
    return f"{'-' if minutes < 0 else '+'}{abs(minutes) // 60:02d}{abs(minutes) % 60:02d}"


event_rows = st.lists(
    st.tuples(moments, st.sampled_from("abc"), st.sampled_from("xyz"), st.sampled_from("fg")),
    min_size=1,
    max_size=20,
)


@settings(deadline=None, max_examples=25)
@given(rows=event_rows, batch=st.integers(1, 8), group_rows=st.integers(1, 8), data=st.data())
def test_partitions_are_the_sorted_events_by_day(rows, batch, group_rows, data):
    # few days, so that they hold several events
    numbered: Sequence[Any] = [
        (user, item, time.replace(year=2024, month=1, day=1 + time.day % 3), None, None, file, at)
        for at, (time, user, item, file) in enumerate(rows)
    ]
    shuffled = data.draw(st.permutations(numbered))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        spill = EventSpill(folder / ".spill")
        for start in range(0, len(shuffled), batch):
            spill.add(pl.DataFrame(shuffled[start : start + batch], schema=EVENTS, orient="row"))
        spill.write_partitions(folder, group_rows)
        assert summarise(folder).rows == len(rows)
        found = {
            path.parent.name: pl.read_parquet(path, hive_partitioning=False).rows()
            for path in folder.rglob("*.parquet")
        }
    expected: dict[str, list[Any]] = {}
    for row in sorted(numbered, key=lambda row: (row[2], row[0], row[1], row[5], row[6])):
        expected.setdefault(f"date={row[2].date()}", []).append(row)
    assert found == expected
