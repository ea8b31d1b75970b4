from datetime import UTC, date, datetime
from typing import Any

import polars as pl
import pytest

from diffrec_core.data.schema import SOURCE_ROW
from diffrec_core.data.tables import EVENTS, QUARANTINE
from diffrec_core.ingestion.layout import IngestConfig
from diffrec_core.ingestion.raw_manifest import EVERY_EVENT, Wanted
from diffrec_core.ingestion.raw_rows import EMPTY_LIST, PROBLEM, RawBatch
from diffrec_core.ingestion.timestamps import check_timestamp_format, check_timezone, microseconds
from diffrec_core.ingestion.validation import Rules, Validated, category, validate

FIELDS = ("user_id", "item_id", "timestamp", "event_type", "value")
GOOD = ("u", "i", "10", "view", "4.5")
NOW = datetime(2026, 1, 1, tzinfo=UTC)


def check(
    *rows: tuple[str | None, ...],
    problems: list[str | None] | None = None,
    times: pl.Series | None = None,
    wanted: Wanted = EVERY_EVENT,
    **section: Any,
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
    config = IngestConfig.parse({"columns": dict(zip(FIELDS, FIELDS, strict=True)), **section}, "")
    validated = validate(batch, "log.csv", Rules.of(config, wanted, NOW))
    found = validated.events.height + validated.quarantine.height + validated.set_aside.total()
    assert found == frame.height
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


@pytest.mark.parametrize(
    ("written", "id_"),
    [
        (" 007 ", "007"),
        ("4711.0", "4711"),
        ("4711.000", "4711"),
        ("-0.0", "0"),
        ("-0", "0"),
        ("1e+16", "10000000000000000"),
        ("1e3", "1e3"),
        ("1.50", "1.50"),
        ("v1.0", "v1.0"),
        ("007.0", "007.0"),
        ("9" * 30 + ".0", "9" * 30),
        ("\ufeffu", "u"),
        ("\u00a0\u200bu\r", "u"),
        ("Café", "Café"),
        ("nada", "nada"),
    ],
)
def test_ids_are_normalised(written, id_):
    validated = check(changed(user_id=written, item_id=written, event_type=written))
    assert validated.events.row(0)[:2] == (id_, id_)
    assert validated.events["event_type"].item() == id_
    assert validated.normalised.total() == (0 if written == id_ else 3)


@pytest.mark.parametrize("marker", ["NULL", "null", "\\N", "NaN", "None", "<NA>", " NULL "])
def test_null_markers_are_missing_values(marker):
    validated = check(changed(event_type=marker, value=marker))
    assert validated.events.row(0)[3:5] == (None, None)
    assert validated.normalised == {
        "event_type: null marker read as missing": 1,
        "value: null marker read as missing": 1,
    }
    for name in FIELDS[:3]:
        assert reasons(changed(**{name: marker})) == [f"{name} is missing"]


def test_null_markers_are_a_setting():
    assert reasons(changed(user_id="-1"), null_markers=["-1"]) == ["user_id is missing"]
    assert check(changed(user_id="NULL"), null_markers=["-1"]).events["user_id"].item() == "NULL"


@pytest.mark.parametrize("bad", ["a\x00b", "a\tb", "a\nb", "a\ufeffb", "a\x85b"])
def test_control_characters_in_ids_are_rejected(bad):
    (reason,) = reasons(changed(item_id=bad))
    assert reason == f"item_id holds a control character: '{bad}'"
    validated = check(changed(event_type=bad))
    assert validated.events["event_type"].item() is None
    assert validated.lost == {"event_type holds a control character": 1}


@pytest.mark.parametrize("missing", [None, ""])
def test_event_type_and_value_may_be_missing(missing):
    events = check(changed(event_type=missing, value=missing)).events
    assert events.row(0)[3:5] == (None, None)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"timestamp": "yesterday"}, "timestamp cannot be parsed: 'yesterday' is not seconds"),
        ({"timestamp": "inf"}, "timestamp cannot be parsed: 'inf' is not seconds"),
        ({"timestamp": "-1"}, "timestamp is out of range: '-1' is before 1970-01-01"),
        ({"timestamp": "1767312001"}, "timestamp is out of range: '1767312001' is in the future"),
        ({"timestamp": "1e300"}, "timestamp is out of range: '1e300' is in the future"),
    ],
)
def test_what_cannot_be_read_is_rejected_with_its_text(changes, reason):
    (found,) = reasons(changed(**changes))
    assert found.startswith(reason)


@pytest.mark.parametrize(
    ("written", "what"),
    [
        ("four", "value cannot be parsed"),
        ("4,5", "value cannot be parsed"),
        ("-inf", "value is not finite"),
        ("1e400", "value is not finite"),
    ],
)
def test_a_bad_value_costs_the_value_and_not_the_event(written, what):
    validated = check(changed(value=written), GOOD)
    assert validated.events["value"].to_list() == [None, 4.5]
    assert validated.lost == {what: 1}
    assert validated.lost_examples == [(2, f"{what}: '{written}'")]


def test_numbers_may_have_a_decimal_comma():
    events = check(changed(value="4,5", timestamp="10,25"), decimal=",").events
    assert events["value"].item() == 4.5
    assert events["timestamp"].item().microsecond == 250_000


def test_values_are_compared_as_they_are_written():
    assert check(changed(value="4.1")).events.filter(pl.col("value") >= 4.1).height == 1


def test_plausible_times_end_a_day_after_now_or_where_the_section_says():
    times = ["0", "1767312000"]
    events = check(*(changed(timestamp=time) for time in times)).events
    assert events["timestamp"].to_list() == [
        datetime(1970, 1, 1, tzinfo=UTC),
        datetime(2026, 1, 2, tzinfo=UTC),
    ]
    limits = {"not_before": "2001-01-01", "not_after": "2002-01-01"}
    rows = [changed(timestamp=time) for time in ("978307199", "978307200", "1009843200", "1.1e9")]
    found = check(*rows, **limits)
    assert found.events.height == 2
    assert found.quarantine["reason"].to_list() == [
        "timestamp is out of range: '978307199' is before 2001-01-01",
        "timestamp is out of range: '1.1e9' is after 2002-01-01",
    ]


def test_of_several_formats_the_first_plausible_one_counts():
    rows = [changed(timestamp=time) for time in ("1700000000", "1700000000000", "2023-11-14")]
    formats = ["milliseconds", "seconds", "iso8601"]
    events = check(*rows, timestamp_format=formats, not_before="2000-01-01").events
    assert {time.date() for time in events["timestamp"]} == {date(2023, 11, 14)}


class TestSetAside:
    def test_guests_and_searches_are_rejected_unless_they_are_expected(self):
        rows = [changed(user_id=None), changed(item_id=""), GOOD]
        assert reasons(*rows) == ["user_id is missing", "item_id is missing"]
        found = check(*rows, without_user="set_aside", without_item="set_aside")
        assert found.set_aside == {"without a user": 1, "without an item": 1}
        assert (found.events.height, found.quarantine.height) == (1, 0)

    def test_event_types_that_are_not_kept(self):
        rows = [GOOD, changed(event_type="buy"), changed(event_type=None), changed(user_id="")]
        found = check(*rows, event_types=["buy"])
        assert found.set_aside == {"event type not wanted": 3}
        assert found.events["event_type"].to_list() == ["buy"]

    def test_damage_that_the_run_is_not_about_is_no_loss(self):
        wanted = Wanted.parse({"event_types": ["buy"], "start": "2001-01-01"}, "")
        rows = [
            changed(item_id=None),
            GOOD,
            changed(event_type="buy", item_id=None),
            changed(event_type="buy", item_id=None, timestamp="1e9"),
        ]
        found = check(*rows, wanted=wanted)
        assert found.set_aside == {
            "damaged, of an event type that build_interactions does not keep": 1,
            "damaged, outside of the window of build_interactions": 1,
        }
        assert found.events.height == 1
        assert found.quarantine["source_row"].to_list() == [5]

    def test_a_header_between_the_rows_is_no_damage(self):
        assert check(FIELDS, GOOD).set_aside == {"header repeated between the rows": 1}

    def test_a_record_whose_list_is_empty(self):
        assert check(GOOD, problems=[EMPTY_LIST]).set_aside == {EMPTY_LIST: 1}


def test_the_first_of_several_reasons_is_given():
    row = (None, "", "x", None, "y")
    assert reasons(row, problems=["quotes do not match"]) == ["quotes do not match"]
    assert reasons(row) == ["user_id is missing"]
    assert reasons(changed(user_id="\0", timestamp="x")) == [
        "user_id holds a control character: '\0'"
    ]


def test_a_long_text_is_cut_in_the_reason():
    (reason,) = reasons(changed(timestamp="x" * 1000))
    assert reason == f"timestamp cannot be parsed: '{'x' * 100}…' is not seconds"


def test_typed_times_are_microseconds_and_need_no_format():
    times = pl.Series([1_700_000_000_000_000, None, -1, 10**17])
    found = check(GOOD, GOOD, GOOD, GOOD, times=times, timestamp_format="iso8601")
    assert found.events["timestamp"].item() == datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC)
    assert [reason.split(":")[0] for reason in found.quarantine["reason"]] == [
        "timestamp is missing",
        "timestamp is out of range",
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
            ("1997-12-04 15:55:49 UTC", "iso8601"),
            ("1997-12-04 15:55:49.0 GMT", "iso8601"),
            ("1997-12-04 15:55:49 +0000 UTC", "iso8601"),
            ("1997-12-04T16:55:49+01:00[Europe/Berlin]", "iso8601"),
            ("881250949000000000", "nanoseconds"),
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
            ("1700000000123456789", "nanoseconds", 123456),
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
            ("2024-01-02 03:04:05 PST", None),
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
        ["seconds", "nanoseconds", "microseconds", "iso8601", "%Y-%m-%d", "%s", "%y%m%d %H:%M"],
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

    @pytest.mark.parametrize(
        ("local", "utc"),
        [
            ("2024-03-01 00:30:00", datetime(2024, 2, 29, 23, 30, tzinfo=UTC)),
            ("2024-07-01 12:00:00.5", datetime(2024, 7, 1, 10, 0, 0, 500_000, tzinfo=UTC)),
            ("2024-07-01 12:00:00Z", datetime(2024, 7, 1, 12, tzinfo=UTC)),
            ("2024-07-01 12:00:00+05:00", datetime(2024, 7, 1, 7, tzinfo=UTC)),
            ("2024-10-27 02:30:00", datetime(2024, 10, 27, 0, 30, tzinfo=UTC)),  # the first
            ("2024-03-31 02:30:00", None),  # never
        ],
    )
    def test_a_zone_is_for_times_without_an_offset(self, local, utc):
        (value,) = microseconds(pl.Series([local]), "iso8601", "Europe/Berlin")
        assert (None if value is None else datetime.fromtimestamp(value / 1e6, UTC)) == utc
        if "+" not in local and "Z" not in local:
            (same,) = microseconds(pl.Series([local]), "%Y-%m-%d %H:%M:%S.%f", "Europe/Berlin")
            assert same == value

    def test_a_zone_that_there_is_not_is_refused(self):
        assert check_timezone("Europe/Berlin") == "Europe/Berlin"
        with pytest.raises(ValueError, match="is not the name of a time zone"):
            check_timezone("Mars/Olympus")
