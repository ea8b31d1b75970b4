from datetime import UTC, date, datetime
from typing import Any

import polars as pl
import pytest

from diffrec_core.data.schema import SOURCE_ROW
from diffrec_core.data.tables import EVENTS, QUARANTINE
from diffrec_core.ingestion.raw_rows import PROBLEM, RawBatch
from diffrec_core.ingestion.timestamps import check_timestamp_format, microseconds
from diffrec_core.ingestion.validation import Validated, category, validate

FIELDS = ("user_id", "item_id", "timestamp", "event_type", "value")
GOOD = ("u", "i", "10", "view", "4.5")


def check(
    *rows: tuple[str | None, ...],
    problems: list[str | None] | None = None,
    timestamp_format: str = "seconds",
    times: pl.Series | None = None,
) -> Validated:
    frame = pl.DataFrame(rows, schema=dict.fromkeys(FIELDS, pl.String), orient="row")
    if times is not None:
        frame = frame.with_columns(times.alias("timestamp"))
    number = pl.Series(SOURCE_ROW, range(2, 2 + frame.height), dtype=pl.Int64)
    problem = pl.Series(PROBLEM, problems or [None] * frame.height, dtype=pl.String)
    texts = pl.Series([f"raw {row}" for row in number])
    batch = RawBatch(
        frame.insert_column(0, problem).insert_column(0, number), texts.filter, frame.height, 0, 0
    )
    validated = validate(batch, "log.csv", timestamp_format)
    assert validated.events.schema == EVENTS
    assert validated.quarantine.schema == QUARANTINE
    return validated


def reasons(*rows: tuple[str | None, ...], **options: Any) -> list[str]:
    return check(*rows, **options).quarantine["reason"].to_list()


def changed(**changes: str | None) -> tuple[str | None, ...]:
    return tuple((dict(zip(FIELDS, GOOD, strict=True)) | changes).values())


def test_a_good_row_becomes_an_event():
    validated = check(GOOD)
    time = datetime(1970, 1, 1, 0, 0, 10, tzinfo=UTC)
    assert validated.events.rows() == [("u", "i", time, "view", 4.5, "log.csv", 2)]
    assert validated.quarantine.is_empty()


def test_rejected_rows_keep_file_row_and_raw_text():
    validated = check(GOOD, changed(user_id=""), GOOD)
    assert validated.quarantine.rows() == [("log.csv", 3, "raw 3", "user_id is missing")]
    assert validated.events["source_row"].to_list() == [2, 4]


@pytest.mark.parametrize("missing", [None, "", " \t "])
@pytest.mark.parametrize("field", ["user_id", "item_id", "timestamp"])
def test_a_row_without_user_item_or_time_is_rejected(field, missing):
    assert reasons(changed(**{field: missing})) == [f"{field} is missing"]


def test_ids_are_kept_as_they_are_written():
    events = check(changed(user_id=" 007 ", item_id="1.0")).events
    assert events.row(0)[:2] == (" 007 ", "1.0")


@pytest.mark.parametrize("missing", [None, ""])
def test_event_type_and_value_may_be_missing(missing):
    events = check(changed(event_type=missing, value=missing)).events
    assert events.row(0)[3:5] == (None, None)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"timestamp": "yesterday"}, "timestamp cannot be parsed: 'yesterday' is not seconds"),
        ({"timestamp": "nan"}, "timestamp cannot be parsed: 'nan' is not seconds"),
        ({"timestamp": "-1"}, "timestamp is out of range: '-1' as seconds is not in 1970 to 2099"),
        ({"timestamp": "4102444800"}, "timestamp is out of range: '4102444800' as seconds"),
        ({"timestamp": "1e300"}, "timestamp is out of range: '1e300' as seconds"),
        ({"value": "four"}, "value cannot be parsed: 'four' is not a number"),
        ({"value": "4,5"}, "value cannot be parsed: '4,5' is not a number"),
        ({"value": "nan"}, "value is not finite: 'nan'"),
        ({"value": "-inf"}, "value is not finite: '-inf'"),
        ({"value": "1e39"}, "value is not finite: '1e39'"),  # beyond float32
    ],
)
def test_what_cannot_be_read_is_rejected_with_its_text(changes, reason):
    (found,) = reasons(changed(**changes))
    assert found.startswith(reason)


def test_the_range_of_timestamps_is_half_open():
    events = check(changed(timestamp="0"), changed(timestamp="4102444799.999999")).events
    assert events["timestamp"].to_list() == [
        datetime(1970, 1, 1, tzinfo=UTC),
        datetime(2099, 12, 31, 23, 59, 59, 999999, tzinfo=UTC),
    ]


def test_the_first_of_several_reasons_is_given():
    row = (None, "", "x", None, "y")
    assert reasons(row, problems=["quotes do not match"]) == ["quotes do not match"]
    assert reasons(row) == ["user_id is missing"]
    assert reasons(changed(timestamp="x", value="y")) == [
        "timestamp cannot be parsed: 'x' is not seconds"
    ]


def test_a_long_text_is_cut_in_the_reason():
    (reason,) = reasons(changed(value="x" * 1000))
    assert reason == f"value cannot be parsed: '{'x' * 100}…' is not a number"


def test_typed_times_need_no_format():
    zoned = pl.Series([datetime(2024, 1, 2, 3)], dtype=pl.Datetime("ms")).dt.replace_time_zone(
        "America/New_York"
    )
    (time,) = check(GOOD, times=zoned).events["timestamp"]
    assert time == datetime(2024, 1, 2, 8, tzinfo=UTC)
    for naive in (
        pl.Series([date(2024, 1, 2)]),
        pl.Series([datetime(2024, 1, 2)], dtype=pl.Datetime("ns")),
    ):
        (time,) = check(GOOD, times=naive, timestamp_format="iso8601").events["timestamp"]
        assert time == datetime(2024, 1, 2, tzinfo=UTC)


def test_typed_times_out_of_range_or_missing_are_rejected():
    times = pl.Series([datetime(1969, 12, 31), None, datetime(2100, 1, 1)])
    found = reasons(GOOD, GOOD, GOOD, times=times)
    assert [reason.split(":")[0] for reason in found] == [
        "timestamp is out of range",
        "timestamp is missing",
        "timestamp is out of range",
    ]


def test_categories_are_what_stands_before_the_first_colon():
    reason = pl.Series(["a b: 'x: y'", "c", "not valid UTF-8: byte 0xff at position 0"])
    found = reason.to_frame("reason").select(category(pl.col("reason"))).to_series().to_list()
    assert found == ["a b", "c", "not valid UTF-8"]


def read(text: str, timestamp_format: str) -> datetime | None:
    (value,) = microseconds(pl.Series([text]), timestamp_format)
    return None if value is None else datetime.fromtimestamp(value / 1e6, UTC)


class TestTimestamps:
    @pytest.mark.parametrize(
        ("text", "timestamp_format"),
        [
            ("881250949", "seconds"),
            ("881250949.0", "seconds"),
            ("8.81250949e8", "seconds"),
            (" 881250949 ", "seconds"),
            ("881250949000", "milliseconds"),
            ("881250949000000", "microseconds"),
            ("1997-12-04T15:55:49Z", "iso8601"),
            ("1997-12-04 15:55:49", "iso8601"),
            ("1997-12-04T15:55:49,000", "iso8601"),
            ("1997-12-04T15:55:49.000000000z", "iso8601"),
            ("1997-12-04t17:55:49+02:00", "iso8601"),
            ("1997-12-04 08:25:49 -0730", "iso8601"),
            ("1997-12-05T05:55:49+14", "iso8601"),
            ("04/12/1997 15:55:49", "%d/%m/%Y %H:%M:%S"),
            ("04/Dec/1997:16:55:49 +0100", "%d/%b/%Y:%H:%M:%S %z"),
            ("1997-12-04T15:55:49Z", "%Y-%m-%dT%H:%M:%S%z"),
            ("1997-12-04T17:55:49+02:00", "%Y-%m-%dT%H:%M:%S%z"),
        ],
    )
    def test_every_format_reads_the_same_moment(self, text, timestamp_format):
        assert read(text, timestamp_format) == datetime(1997, 12, 4, 15, 55, 49, tzinfo=UTC)

    @pytest.mark.parametrize(
        ("text", "timestamp_format", "microsecond"),
        [
            ("1700000000.123456", "seconds", 123456),
            ("1700000000123.456", "milliseconds", 123456),
            ("1700000000123456", "microseconds", 123456),
            ("2023-11-14T22:13:20.123456789", "iso8601", 123456),
            ("2023-11-14T22:13:20.1", "iso8601", 100000),
            ("2023-11-14 22:13:20.25", "%Y-%m-%d %H:%M:%S.%f", 250000),
        ],
    )
    def test_fractions_are_kept_to_the_microsecond(self, text, timestamp_format, microsecond):
        expected = datetime(2023, 11, 14, 22, 13, 20, microsecond, tzinfo=UTC)
        assert read(text, timestamp_format) == expected

    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("2024-02-29", datetime(2024, 2, 29, tzinfo=UTC)),
            ("2024-02-29T13:14", datetime(2024, 2, 29, 13, 14, tzinfo=UTC)),
            ("2023-02-29", None),
            ("2024-13-01", None),
            ("2024-01-02T24:00:00", None),
            ("2024-01-02T03:60:00", None),
            ("2024-01-02T03:04:05 UTC", None),
            ("2024-01-02T03:04:05+24:00", None),
            ("1700000000", None),
            ("", None),
        ],
    )
    def test_iso8601_may_be_a_date_and_must_exist(self, text, expected):
        assert read(text, "iso8601") == expected

    @pytest.mark.parametrize("text", ["", "abc", "1_000", "0x10", "1,5", "inf", "nan", "१"])
    def test_numbers_are_plain_numbers(self, text):
        assert read(text, "seconds") is None

    @pytest.mark.parametrize(
        "timestamp_format",
        ["seconds", "milliseconds", "microseconds", "iso8601", "%Y-%m-%d", "%s", "%y%m%d %H:%M"],
    )
    def test_formats_that_are_allowed(self, timestamp_format):
        assert check_timestamp_format(timestamp_format) == timestamp_format

    @pytest.mark.parametrize(
        ("timestamp_format", "message"),
        [
            ("second", "must be one of seconds, milliseconds"),
            ("ISO8601", "must be one of"),
            ("%Q", "cannot read what it writes"),
            ("%d/%m/%Y %H", "is not a pattern that can be read"),
            ("%H:%M", "has no year"),
            ("%Y-%m-%d %Z", "names of time zones"),
            ("%Y%m%d%H%M%S%f", "%f is read after a point only"),
        ],
    )
    def test_formats_that_are_refused(self, timestamp_format, message):
        with pytest.raises(ValueError, match=message):
            check_timestamp_format(timestamp_format)
