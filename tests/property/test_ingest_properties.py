"""Whatever is in the logs: every row is accepted or rejected, once, and nothing breaks."""

import csv
import io
import json
import tempfile
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
from hypothesis import example, given, settings
from hypothesis import strategies as st

from diffrec_core.data.tables import EVENTS
from diffrec_core.ingestion.delimited import Dialect, read_delimited
from diffrec_core.ingestion.event_store import EventSpill, summarise
from diffrec_core.ingestion.raw_rows import Source
from diffrec_core.ingestion.readers import LogFormat, read_batches
from diffrec_core.ingestion.text_lines import read_line_chunks
from diffrec_core.ingestion.timestamps import microseconds
from diffrec_core.ingestion.validation import validate

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
    write: Callable[[Path], object], layout: LogFormat, timestamp_format: str
) -> tuple[int, list[int], list[tuple[int, str]]]:
    """Rows read, the accepted rows' numbers, and the rejected rows' numbers and texts."""
    accepted: list[int] = []
    rejected: list[tuple[int, str]] = []
    read = 0
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "log"
        write(path)
        for batch in read_batches(path, layout, COLUMNS, Source("log", "ingest")):
            validated = validate(batch, "log", timestamp_format)
            read += batch.read
            accepted += validated.events["source_row"].to_list()
            rejected += validated.quarantine.select("source_row", "raw").rows()
            assert validated.quarantine["reason"].null_count() == 0
            assert validated.events.drop("event_type", "value").null_count().row(0) == (0,) * 5
    return read, accepted, rejected


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
def test_delimited_rows_with_any_text(rows, delimiter, quote, timestamp_format):
    body = "".join(delimiter.join(row) + "\n" for row in rows)
    data = (delimiter.join(FIELDS) + "\n" + body).encode()
    layout = LogFormat(delimiter=delimiter, quote=quote)
    read, accepted, rejected = split_up(
        lambda path: path.write_bytes(data), layout, timestamp_format
    )
    lines = lines_of(data)
    records = [at for at in lines if at > 1 and not is_blank(lines[at], delimiter)]
    assert read == len(records)
    assert sorted([*accepted, *(row for row, _ in rejected)]) == records
    assert all(text == lines[row].decode() for row, text in rejected)


@relaxed
@given(body=st.lists(st.binary(max_size=20), max_size=8).map(b"\n".join), timestamp_format=FORMATS)
@example(body=b"a,b,1,,\n\xff,b,1,,\nx\x9c,b,1,,\n", timestamp_format="seconds")
def test_delimited_rows_of_any_bytes(body, timestamp_format):
    data = ",".join(FIELDS).encode() + b"\n" + body
    read, accepted, rejected = split_up(
        lambda path: path.write_bytes(data), LogFormat(), timestamp_format
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
    read, accepted, rejected = split_up(
        lambda path: path.write_bytes(data), LogFormat(format="jsonl"), timestamp_format
    )
    numbered = lines_of(data)
    records = [at for at in numbered if not is_blank(numbered[at])]
    assert read == len(records)
    assert sorted([*accepted, *(row for row, _ in rejected)]) == records
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
        frame.write_parquet, LogFormat(format="parquet"), timestamp_format
    )
    assert read == len(rows)
    assert sorted([*accepted, *(row for row, _ in rejected)]) == list(range(1, len(rows) + 1))
    for row, text in rejected:
        assert json.loads(text)["item_id"] == rows[row - 1][1]


field = st.text(alphabet=st.characters(exclude_characters="\r\n\0", codec="utf-8"), max_size=6)


@relaxed
@given(
    rows=st.lists(st.lists(field | st.text('",; a', max_size=6), min_size=2, max_size=2)),
    delimiter=st.sampled_from([",", "\t", ";"]),
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC]),
    chunk_bytes=st.integers(1, 200),
)
def test_what_pythons_csv_module_writes_is_read_back(rows, delimiter, quoting, chunk_bytes):
    text = io.StringIO()
    writer = csv.writer(text, delimiter=delimiter, quoting=quoting, lineterminator="\n")
    writer.writerows([["a", "b"], *rows])
    dialect = Dialect(delimiter, '"')
    lines = text.getvalue().split("\n")[1:-1]
    assert [dialect.split_line(line) for line in lines] == rows
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "log"
        path.write_text(text.getvalue(), encoding="utf-8", newline="")
        batches = read_delimited(
            path,
            {"a": "a", "b": "b"},
            Source("log", "ingest"),
            delimiter=delimiter,
            quote='"',
            header=True,
            chunk_bytes=chunk_bytes,
        )
        found = [row for batch in batches for row in batch.rows.iter_rows()]
    kept = [(at, *row) for at, row in enumerate(rows, start=2)]
    assert found == [(at, None, a, b) for at, a, b in kept]


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
        chunks = list(read_line_chunks(path, chunk_bytes))
    found = {row: raw for chunk in chunks for row, raw, _ in chunk.lines.iter_rows()}
    expected = lines_of(b"-\n" + data)
    assert found == {at: line.decode(errors="backslashreplace") for at, line in expected.items()}
    assert sum(chunk.count for chunk in chunks) == len(expected)


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
