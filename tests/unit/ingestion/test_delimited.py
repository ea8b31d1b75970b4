from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from diffrec_core.common.errors import ConfigError, DataError
from diffrec_core.ingestion.delimited import DelimitedReader
from diffrec_core.ingestion.dialect import Dialect
from diffrec_core.ingestion.layout import LogFormat
from diffrec_core.ingestion.raw_rows import RawBatch, Source
from tests.raw_logs import listed

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
    chunk_bytes = changes.pop("chunk_bytes", 2**20)
    layout = LogFormat(**changes)
    return DelimitedReader(listed(path), layout, columns or COLUMNS, SOURCE, chunk_bytes).batches()


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


def test_records_may_go_over_several_lines(tmp_path):
    lines = [
        "u,i,t",
        'a,1,"first',
        "x,y,z",
        "",
        'last"',
        'b,2,"say ""hi""',
        '"',
        '"c","3",plain',
    ]
    path = write(tmp_path, "\n".join(lines) + "\n")
    for chunk_bytes in (1, 9, 1000):
        batches = list(delimited(path, chunk_bytes=chunk_bytes))
        assert rows(batches) == [(2, None, "a", "1"), (6, None, "b", "2"), (8, None, "c", "3")]
        assert sum(batch.read for batch in batches) == 3
        assert sum(batch.blank for batch in batches) == 0
    assert raw(batches[0], [True, False, True]) == ["\n".join(lines[1:5]), lines[7]]


@pytest.mark.parametrize(
    "opening",
    ['x,"y,1', 'x,y,"1', '"x,y,1', 'x,"y"z,1', 'x,"",y",1'],
)
def test_a_quote_that_nothing_closes_damages_its_own_line(tmp_path, opening):
    lines = ["u,i,t", "a,b,1", opening, "c,d,2", "e,f,3", 'g,"h",4', "i,j,5"]
    path = write(tmp_path, "\n".join(lines))
    for chunk_bytes in (1, 1000):
        found = rows(delimited(path, chunk_bytes=chunk_bytes))
        assert [row[2] for row in found if row[1] is None] == ["a", "c", "e", "g", "i"]
        assert [row[0] for row in found if row[1] is not None] == [3]


def test_an_escape_goes_before_what_means_nothing(tmp_path):
    text = 'u,i,t\n"a \\"x\\"",1,\nb\\,c,2,\nd\\\ne,3,\n\\N,4,\n"f""g",5,"\\\\"\n"h"x,6,\n'
    assert rows(delimited(write(tmp_path, text), escape="\\")) == [
        (2, None, 'a "x"', "1"),
        (3, None, "b,c", "2"),
        (4, None, "d\ne", "3"),
        (6, None, "\\N", "4"),
        (7, None, 'f"g', "5"),
        (8, "quotes do not match", None, None),
    ]


def test_lines_before_the_header_and_comments_are_no_records(tmp_path):
    path = write(tmp_path, 'Export, "of\nMarch\n\n# a\nu,i\na,b\n#c,d\n\ne,f\n')
    for chunk_bytes in (1, 1000):
        batches = list(delimited(path, skip_lines=2, comment="#", chunk_bytes=chunk_bytes))
        assert rows(batches) == [(6, None, "a", "b"), (9, None, "e", "f")]
        assert sum(batch.blank for batch in batches) == 4


@pytest.mark.parametrize("header", ["u,i", "u,i,"])
def test_records_may_end_with_a_delimiter(tmp_path, header):
    path = write(tmp_path, f'{header}\na,b,\n"c","d",\ne,f\ng,h,i,\nj,k,l\n')
    assert rows(delimited(path, trailing_delimiter=True)) == [
        (2, None, "a", "b"),
        (3, None, "c", "d"),
        (4, "no delimiter at its end", "e", "f"),
        (5, "wrong number of fields: 3 found, 2 expected", "g", "h"),
        (6, "no delimiter at its end", "j", "k"),
    ]
    by_position = {"user_id": 0, "item_id": 1}
    path = write(tmp_path, "a::b::\nc::d::\n")
    layout = {"header": False, "delimiter": "::", "trailing_delimiter": True}
    assert [row[2:] for row in rows(delimited(path, by_position, **layout))] == [
        ("a", "b"),
        ("c", "d"),
    ]


def test_a_short_record_beside_a_long_one_is_not_taken_for_two_good_ones(tmp_path):
    found = rows(delimited(write(tmp_path, "u,i\na,b\nc\nd,e,f\n")))
    assert [row[1] is None for row in found] == [True, False, False]


def test_a_column_may_stand_in_the_names_of_folders(tmp_path):
    folder = tmp_path / "i=the%20item" / "e=__HIVE_DEFAULT_PARTITION__"
    folder.mkdir(parents=True)
    path = write(folder, "u\na\n")
    source = Source(str(path), "ingest")
    columns = COLUMNS | {"event_type": "e"}
    reader = DelimitedReader(listed(path), LogFormat(), columns, source)
    assert rows(reader.batches()) == [(2, None, "a", "the item", None)]
    assert reader.missing == {}


def test_an_optional_column_may_be_missing(tmp_path):
    path = write(tmp_path, "u,i\na,b\n")
    reader = DelimitedReader(listed(path), LogFormat(), COLUMNS | {"value": "rating"}, SOURCE)
    assert rows(reader.batches()) == [(2, None, "a", "b", None)]
    assert "columns.value = 'rating'" in str(reader.missing["value"])


def test_all_missing_columns_are_named_together(tmp_path):
    with pytest.raises(ConfigError, match=r"(?s)user_id = 'user'.*item_id = 'item'"):
        delimited(write(tmp_path, "u,i\n"), {"user_id": "user", "item_id": "item"})


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
    assert Dialect("::", '"').split(line).fields == fields


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
    assert Dialect(delimiter, '"').split(line).fields == by_character(line, delimiter)


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

        def find(self, text: str, start: int = 0, stop: int | None = None) -> int:  # type: ignore[override]
            end = super().find(text, start, stop)
            self.looked_at += (len(self) if end < 0 else end) - start + 1
            return end

    counted = Counted(line)
    counted.looked_at = 0
    Dialect(",", '"').split(counted)
    assert counted.looked_at <= 3 * len(line) + 3
