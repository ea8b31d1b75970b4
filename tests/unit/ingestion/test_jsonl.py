import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from diffrec_core.common.errors import ConfigError, DataError
from diffrec_core.ingestion.jsonl import JsonReader
from diffrec_core.ingestion.layout import LogFormat
from diffrec_core.ingestion.raw_rows import EMPTY_LIST, RawBatch, Source
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


def read(path: Path, columns: dict[str, Any] | None = None, **changes: Any) -> Any:
    layout = LogFormat(format="jsonl")
    return JsonReader(listed(path), layout, columns or COLUMNS, SOURCE, **changes).batches()


def test_fields_are_texts_as_they_are_written(tmp_path):
    path = write(
        tmp_path,
        '{"u": "a", "i": 7}\n\n {"i": 1.50, "u": 123456789012345678901234567890} \r\n'
        '{"u": true, "i": -1e5}\n{"u": "\\u00e9\\ud83d\\ude00", "i": NaN}\n',
    )
    (batch,) = read(path)
    assert batch.rows.rows() == [
        (1, None, "a", "7"),
        (3, None, "123456789012345678901234567890", "1.50"),
        (4, None, "true", "-100000"),
        (5, None, "é😀", "NaN"),
    ]
    assert (batch.read, batch.blank) == (4, 1)
    assert raw(batch, [True, False, False, False]) == ['{"u": "a", "i": 7}']


def test_dotted_paths_lead_into_nested_objects(tmp_path):
    records = [{"user": {"id": "a"}, "i": 1}, {"user": "b", "i": 2}, {"user.id": "c", "i": 3}]
    path = write(tmp_path, "\n".join(map(json.dumps, records)))
    assert rows(read(path, {"user_id": "user.id", "item_id": "i"})) == [
        (1, None, "a", "1"),
        (2, None, None, "2"),
        (3, None, "c", "3"),
    ]


def test_lists_are_an_event_of_each_element(tmp_path):
    records = [
        {"s": 1, "events": [{"aid": 5, "t": 7}, {"aid": 6}]},
        {"s": 2, "events": []},
        {"s": 3, "events": [{"aid": 8, "t": None}]},
        {"s": 4, "orders": 1},
    ]
    path = write(tmp_path, "".join(f"{json.dumps(record)}\n" for record in records))
    columns = {"user_id": "s", "item_id": "events.aid", "timestamp": "events.t"}
    (batch,) = read(path, columns)
    assert batch.rows.rows() == [
        (1, None, "1", "5", "7"),
        (1, None, "1", "6", None),
        (2, EMPTY_LIST, None, None, None),
        (3, None, "3", "8", None),
        (4, None, "4", None, None),
    ]
    assert batch.read == 5
    assert raw(batch, [False, True, True, False, False]) == [
        json.dumps(records[0]), json.dumps(records[1]),
    ]  # fmt: skip


def test_lists_may_hold_single_values_or_lists(tmp_path):
    records = [{"u": 1, "i": [2, 3]}, {"u": [{"x": 4}, {"x": 5}], "i": [[6, 7], [8]]}]
    path = write(tmp_path, "\n".join(map(json.dumps, records)))
    assert [row[2:] for row in rows(read(path))] == [("1", "2"), ("1", "3"), (None, None)]
    columns = {"user_id": "u.x", "item_id": "i"}
    records = [{"u": {"x": 1}, "i": [[2], [3, 4]]}, {"u": [{"x": 5}, {"x": 6}], "i": [[7, 8], [9]]}]
    path = write(tmp_path, "\n".join(map(json.dumps, records)))
    expected = [("1", "2"), ("1", "3"), ("1", "4"), ("5", "7"), ("5", "8"), ("6", "9")]
    assert [row[2:] for row in rows(read(path, columns))] == expected


RECORDS = [{"u": f"a{at}", "i": {"x": [at], "]": "}\n{"}} for at in range(40)]


@pytest.mark.parametrize(
    "text",
    [
        json.dumps(RECORDS),
        json.dumps(RECORDS, indent=2),
        "[\n" + ",\n".join(map(json.dumps, RECORDS)) + "\n]\n",
        "\ufeff " + "\n".join(json.dumps(record, indent=1) for record in RECORDS),
        "".join(map(json.dumps, RECORDS)),
        json.dumps(RECORDS[:20]) + "\n" + json.dumps(RECORDS[20:]) + "\n",
    ],
    ids=["one line", "indented", "a line each", "pretty-printed", "concatenated", "arrays"],
)
def test_json_that_is_no_json_lines_is_read_value_by_value(tmp_path, text):
    path = write(tmp_path, text)
    columns = {"user_id": "u", "item_id": "i.x"}
    for chunk_bytes in (1, 50, 10_000):
        found = rows(read(path, columns, chunk_bytes=chunk_bytes))
        assert found == [(at + 1, None, f"a{at}", str(at)) for at in range(40)]


def test_a_damaged_value_ends_where_the_next_one_begins(tmp_path):
    lines = ["[", '{"u": 1, "i": 2},', '{"u": 3, "i": },', '{"u": 5, "i": 6}', "]"]
    found = rows(read(write(tmp_path, "\n".join(lines))))
    assert [(row[0], row[2]) for row in found] == [(1, "1"), (2, None), (3, "5")]
    assert found[1][1].startswith("not valid JSON: Expecting value at position 14")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[{"u": 1, "i": 2}, {"u": 3, "i": }, {"u": 5, "i": 6}]', "is damaged: after 1 JSON"),
        ('[{"u": 1, "i": 2},\n{"u": 3, "i": 4}', "its JSON array does not end"),
        ('[{"u": 1, "i": 2}, {"u": 3, "i"', "its JSON array does not end"),
    ],
)
def test_damage_that_may_hide_more_is_an_error(tmp_path, text, message):
    with pytest.raises(DataError, match=message):
        list(read(write(tmp_path, text)))


def test_missing_and_null_fields_are_null(tmp_path):
    path = write(tmp_path, '{"u": "a"}\n{"u": "a", "i": null}\n{"u": "a", "i": 1}')
    columns = COLUMNS | {"value": None, "event_type": "e"}
    assert rows(read(path, columns)) == [
        (1, None, "a", None, None, None),
        (2, None, "a", None, None, None),
        (3, None, "a", "1", None, None),
    ]


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("{", "not valid JSON: Expecting property name"),
        ("user=1", "not valid JSON: Expecting value at position 0"),
        ('{"u": 1} x', "not valid JSON: text after the object at position 8"),
        ('{"u": 1}{"u": 2}', "not valid JSON: text after the object at position 8"),
        ("[1]", "not a JSON object"),
        ("7", "not a JSON object"),
        ('{"u": {"a": 1}, "i": 1}', 'u is not a single value: {"a": "1"}'),
        ('{"u": [1, 2], "i": [1]}', "lists of different lengths: 1, 2 elements"),
        ('{"u": [{"a": 1}], "i": 1}', 'u is not a single value: {"a": "1"}'),
        ('{"u": "\\ud800", "i": 1}', "not valid JSON: an escape sequence is half"),
        ("[" * 100_000, "not valid JSON: nested too deeply"),
    ],
)
def test_a_line_that_is_no_object_of_single_values_is_a_problem(tmp_path, line, problem):
    path = write(tmp_path, f'{{"u": 1, "i": 2}}\n{line}\n{{"u": 3, "i": 4}}\n')
    good, bad, better = rows(read(path))
    assert good == (1, None, "1", "2")
    assert better == (3, None, "3", "4")
    assert bad[0] == 2
    assert bad[1].startswith(problem)


def test_a_required_field_that_no_record_has_is_refused(tmp_path):
    path = write(tmp_path, '{"user": {"id": 1, "name": "x"}, "i": 2}\n')
    with pytest.raises(ConfigError) as caught:
        list(read(path, {"user_id": "user.di", "item_id": "i"}))
    message = str(caught.value)
    assert "ingest.columns.user_id = 'user.di'" in message
    assert "did you mean 'user.id'?" in message
    assert "its columns: 'i', 'user.id', 'user.name'" in message


def test_a_required_field_that_is_always_null_is_not_a_missing_column(tmp_path):
    path = write(tmp_path, '{"u": null, "i": 2}\n')
    assert rows(read(path)) == [(1, None, None, "2")]


def test_the_first_readable_batch_is_the_one_that_is_checked(tmp_path):
    path = write(tmp_path, "garbage\n" * 10 + '{"u": 1, "i": 2}\n' * 2)
    assert len(rows(read(path, chunk_bytes=5))) == 12


def test_batches_do_not_change_the_rows(tmp_path):
    path = write(tmp_path, '{"u": 1, "i": 2}\n\nnot json\n' * 20)
    whole = rows(read(path))
    assert len(whole) == 40
    assert rows(read(path, chunk_bytes=7)) == whole
