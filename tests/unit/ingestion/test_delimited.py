from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from diffrec_core.common.errors import ConfigError, DataError
from diffrec_core.ingestion.delimited import Dialect, read_delimited
from diffrec_core.ingestion.raw_rows import RawBatch, Source

SOURCE = Source("log.csv", "ingest")
COLUMNS = {"user_id": "u", "item_id": "i"}


def write(folder: Path, text: str) -> Path:
    path = folder / "log.csv"
    path.write_bytes(text.encode())
    return path


def rows(batches: Any) -> list[tuple[Any, ...]]:
    return [row for batch in batches for row in batch.rows.iter_rows()]


def raw(batch: RawBatch, mask: list[bool]) -> list[str]:
    return batch.raw_text(pl.Series(mask)).to_list()


def delimited(path: Path, columns: dict[str, Any] | None = None, **changes: Any) -> Any:
    settings = {"delimiter": ",", "quote": '"', "header": True} | changes
    return read_delimited(path, columns or COLUMNS, SOURCE, **settings)


def test_columns_are_found_by_name_and_rows_keep_their_line_number(tmp_path):
    path = write(tmp_path, "x,i,u\n1,a,b\n\n2,c,d\n")
    (batch,) = delimited(path)
    assert batch.rows.columns == ["source_row", "problem", "user_id", "item_id"]
    assert batch.rows.rows() == [(2, None, "b", "a"), (4, None, "d", "c")]
    assert (batch.read, batch.blank, batch.position) == (2, 1, path.stat().st_size)
    assert raw(batch, [False, True]) == ["2,c,d"]


def test_unmapped_fields_are_null(tmp_path):
    path = write(tmp_path, "u,i\na,b\n")
    assert rows(delimited(path, COLUMNS | {"value": None})) == [(2, None, "a", "b", None)]


@pytest.mark.parametrize("delimiter", ["\t", "::", "|", " ", ";", "^", "]", "\\", "\x01", "§"])
def test_any_delimiter_splits(tmp_path, delimiter):
    lines = [["u", "i", "x"], ["a", "b", ""], ["", "c", "d"], ['"q"', "e", '"f"']]
    path = write(tmp_path, "".join(delimiter.join(line) + "\n" for line in lines))
    assert rows(delimited(path, delimiter=delimiter)) == [
        (2, None, "a", "b"),
        (3, None, "", "c"),
        (4, None, "q", "e"),
    ]


def test_without_a_header_columns_are_positions(tmp_path):
    path = write(tmp_path, "a::1::x\nb::2::y\n")
    columns = {"user_id": 2, "item_id": 0}
    assert rows(delimited(path, columns, delimiter="::", header=False)) == [
        (1, None, "x", "a"),
        (2, None, "y", "b"),
    ]


def test_without_a_header_the_usual_number_of_fields_is_expected(tmp_path):
    path = write(tmp_path, "broken\na,b,c\nd,e,f\ng,h,i,j\n")
    problems = [
        row[:2] for row in rows(delimited(path, {"user_id": 0, "item_id": 1}, header=False))
    ]
    assert problems == [
        (1, "wrong number of fields: 1 found, 3 expected"),
        (2, None),
        (3, None),
        (4, "wrong number of fields: 4 found, 3 expected"),
    ]


def test_a_wrong_number_of_fields_is_a_problem(tmp_path):
    path = write(tmp_path, "u,i\na,b\na\na,b,c\n,\n")
    assert rows(delimited(path)) == [
        (2, None, "a", "b"),
        (3, "wrong number of fields: 1 found, 2 expected", "a", None),
        (4, "wrong number of fields: 3 found, 2 expected", "a", "b"),
        (5, None, "", ""),
    ]


def test_quotes_hide_delimiters_and_double_inside(tmp_path):
    path = write(tmp_path, 'u,"i"\n"a,1",b\nc,"say ""hi"""\n"",""\nd,5" pipe\n"e","f"\n"""","g"\n')
    assert rows(delimited(path)) == [
        (2, None, "a,1", "b"),
        (3, None, "c", 'say "hi"'),
        (4, None, "", ""),
        (5, None, "d", '5" pipe'),
        (6, None, "e", "f"),
        (7, None, '"', "g"),
    ]


def test_quotes_that_do_not_match_are_a_problem(tmp_path):
    path = write(tmp_path, 'u,i\n"a,b\n"a"x,b\na,b\n')
    assert [row[:2] for row in rows(delimited(path))] == [
        (2, "quotes do not match"),
        (3, "quotes do not match"),
        (4, None),
    ]


def test_without_a_quote_character_quotes_mean_nothing(tmp_path):
    path = write(tmp_path, 'u,i\n"a,b"\n')
    assert rows(delimited(path, quote=None)) == [(2, None, '"a', 'b"')]


def test_a_line_that_is_not_utf8_keeps_its_problem(tmp_path):
    path = tmp_path / "log.csv"
    path.write_bytes(b"u,i\na,b\n\xff,b\n")
    problems = [row[1] for row in rows(delimited(path))]
    assert problems == [None, "not valid UTF-8: byte 0xff at position 0"]


def test_a_header_after_blank_lines_with_spaces_and_a_byte_order_mark(tmp_path):
    path = write(tmp_path, "\ufeff\n\n u , i \r\na,b\r\n")
    (batch,) = delimited(path)
    assert batch.rows.rows() == [(4, None, "a", "b")]
    assert (batch.read, batch.blank) == (1, 2)


def test_delimiters_alone_are_a_record(tmp_path):
    (batch,) = delimited(write(tmp_path, "u\ti\n\t\n \n"), delimiter="\t")
    assert (batch.read, batch.blank) == (1, 1)


def test_batches_do_not_change_the_rows(tmp_path):
    path = write(tmp_path, "\n" * 30 + "u,i\n" + '"a",b\nc\n\nd,"e"\n' * 20)
    whole = rows(delimited(path))
    assert len(whole) == 60
    for chunk_bytes in (1, 7, 50):
        batches = list(delimited(path, chunk_bytes=chunk_bytes))
        assert rows(batches) == whole
        assert sum(batch.read for batch in batches) == 60
        assert sum(batch.blank for batch in batches) == 50


def test_a_missing_column_names_the_key_the_file_and_the_nearest(tmp_path):
    path = write(tmp_path, "user_id,itemid,time\na,b,1\n")
    with pytest.raises(ConfigError) as caught:
        list(delimited(path, {"user_id": "user_id", "item_id": "item_id"}))
    message = str(caught.value)
    assert "params.yaml: ingest.columns.item_id = 'item_id': log.csv has no such" in message
    assert "did you mean 'itemid'?" in message
    assert "its columns: 'user_id', 'itemid', 'time'" in message


def test_a_column_that_is_there_twice_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="has 2 columns of this name"):
        list(delimited(write(tmp_path, "u,i,u\na,b,c\n")))


def test_a_position_beyond_the_fields_is_refused(tmp_path):
    path = write(tmp_path, "a,b\n")
    with pytest.raises(ConfigError, match=r"ingest.columns.item_id = 2: log.csv has 2 columns"):
        list(delimited(path, {"user_id": 0, "item_id": 2}, header=False))


@pytest.mark.parametrize("text", ["", "\n \n"])
def test_a_file_without_a_header_line_is_no_rows(tmp_path, text):
    assert rows(delimited(write(tmp_path, text))) == []


def test_a_header_with_broken_quotes_is_refused(tmp_path):
    with pytest.raises(DataError, match="quotes do not match in its header"):
        list(delimited(write(tmp_path, '"u,i\na,b\n')))


def test_a_header_alone_is_no_rows(tmp_path):
    assert rows(delimited(write(tmp_path, "u,i"))) == []


@pytest.mark.parametrize(
    ("line", "fields"),
    [
        ("", [""]),
        ("a", ["a"]),
        ("a::b", ["a", "b"]),
        ("::", ["", ""]),
        ('"a::b"::c', ["a::b", "c"]),
        ('a::"b"', ["a", "b"]),
        ('"a""b"', ['a"b']),
        ('a:b::"c', None),
        ('"a" ::b', None),
        ('a"b::c"', ['a"b', 'c"']),
    ],
)
def test_a_line_with_a_delimiter_of_two_characters(line, fields):
    assert Dialect("::", '"').split_line(line) == fields


def by_character(line: str, delimiter: str) -> list[str] | None:
    """What a line holds, by a machine of four states that reads one character at a time."""
    fields, field, state, at = [], "", "start", 0
    while at < len(line):
        if state != "quoted" and line.startswith(delimiter, at):
            fields.append(field)
            field, state, at = "", "start", at + len(delimiter)
            continue
        character = line[at]
        if state == "closed" and character != '"':
            return None
        if character == '"' and state in ("start", "quoted", "closed"):
            field += '"' if state == "closed" else ""
            state = "closed" if state == "quoted" else "quoted"
        else:
            field += character
            state = "bare" if state == "start" else state
        at += 1
    return None if state == "quoted" else [*fields, field]


@settings(max_examples=500, deadline=None)
@given(
    delimiter=st.sampled_from([",", "\t", "::", "aab"]),
    line=st.text(alphabet='",:ab\t x', max_size=20),
)
def test_a_line_is_taken_apart_as_character_by_character(delimiter, line):
    assert Dialect(delimiter, '"').split_line(line) == by_character(line, delimiter)


@pytest.mark.parametrize(
    "line",
    [
        '"' * 200_001,
        '"' + '""' * 100_000 + "x",
        '"a""b' * 40_000,
        '"",' * 60_000 + '"',
        "," * 200_000,
    ],
)
def test_no_line_is_looked_at_more_than_a_few_times(line):
    """What a regular expression with nested repeats would do; steps are counted, not time."""

    class Counted(str):
        __slots__ = ("looked_at",)

        def find(self, text: str, start: int = 0) -> int:  # type: ignore[override]
            end = super().find(text, start)
            self.looked_at += (len(self) if end < 0 else end) - start + 1
            return end

    counted = Counted(line)
    counted.looked_at = 0
    Dialect(",", '"').split_line(counted)
    assert counted.looked_at <= 2 * len(line) + 2
